package process

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
)

// failOn returns a fault for changes that carry the event with this key.
func failOn(key string, code event.Code, times int) func(event.Change) error {
	return func(c event.Change) error {
		for _, r := range c.Records {
			if r.Key == key && times > 0 {
				times--
				return event.Errorf(code, "store", "injected")
			}
		}
		return nil
	}
}

func TestHandleProcessesABatchInFixedCalls(t *testing.T) {
	for _, size := range []int{1, 100} {
		d := newFixture(t)
		var batch []event.Delivery
		for i := range size {
			batch = append(batch, d.arrives(fmt.Sprintf("k%d", i), fmt.Sprintf("s%d", i%7), "in_transit", noon.Add(time.Duration(i)*time.Second)))
		}
		for i, v := range d.handle(t, batch...) {
			if v.Action != event.Ack {
				t.Fatalf("verdict %d is %+v, want ack", i, v)
			}
		}
		want := map[string]int{"records": 1, "shipments": 1, "commit": 1}
		for call, n := range want {
			if d.store.calls[call] != n {
				t.Errorf("%d events: %d %s calls, want %d", size, d.store.calls[call], call, n)
			}
		}
		r := d.record(t, "k0")
		if r.Status != event.Processed || len(r.Attempts) != 1 || r.Attempts[0].Outcome != event.Succeeded {
			t.Errorf("ledger row is %+v", r)
		}
		if d.cache.hashes[r.Identity] != r.BodyHash {
			t.Errorf("the cache does not know the processed event")
		}
	}
}

// TestHandleNotesWhatIsLeftOut: where an operator looks an event up.
func TestHandleNotesWhatIsLeftOut(t *testing.T) {
	d := newFixture(t)
	read := d.Read
	d.Read = func(env *event.Envelope, e *event.Event, faults event.Faults) event.Faults {
		faults = read(env, e, faults)
		e.LeftOut = event.Faults{{Path: "log[0].at", Message: "must be a time"}}
		return faults
	}
	d.handle(t, d.arrives("k", "s", "in_transit", noon))
	r := d.record(t, "k")
	if r.Status != event.Processed || r.Message != "" || r.Attempts[0].Message != "left out: log[0].at: must be a time" {
		t.Errorf("ledger row is %s, %q, with attempts %+v", r.Status, r.Message, r.Attempts)
	}
}

func TestHandleDecidesCopies(t *testing.T) {
	original := func(d *fixture) event.Delivery { return d.arrives("k", "s", "in_transit", noon) }
	tests := []struct {
		name      string
		copies    func(d *fixture) []event.Delivery
		conflicts int
	}{
		{"same body in one batch", func(d *fixture) []event.Delivery {
			return []event.Delivery{original(d), original(d), original(d)}
		}, 0},
		{"other body in one batch", func(d *fixture) []event.Delivery {
			return []event.Delivery{original(d), d.arrives("k", "s", "delivered", noon), d.arrives("k", "s", "returned", noon)}
		}, 2},
	}
	for _, tt := range tests {
		for _, oneByOne := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, one by one %v", tt.name, oneByOne), func(t *testing.T) {
				d := newFixture(t)
				batch := tt.copies(d)
				if oneByOne {
					for _, c := range batch {
						d.handle(t, c)
					}
				} else {
					d.handle(t, batch...)
				}
				r := d.record(t, "k")
				if r.Status != event.Processed || r.Conflicts != tt.conflicts || r.Sequence != 1 {
					t.Errorf("ledger row is %+v, want processed by the first with %d conflicts", r, tt.conflicts)
				}
				if s := d.shipment(t, "s"); s.State != shipment.InTransit || len(s.History) != 1 {
					t.Errorf("shipment is %+v, want the first body's state once", s)
				}
				if d.store.applied[r.Identity] != 1 {
					t.Errorf("applied %d times", d.store.applied[r.Identity])
				}
			})
		}
	}
}

// TestTimesAheadOfTheReceipt are believed as far as the courier's setting says.
func TestTimesAheadOfTheReceipt(t *testing.T) {
	d := newFixture(t)
	d.MaxAhead = func(courier string) time.Duration { return map[string]time.Duration{"demo": time.Hour}[courier] }
	far := noon.Add(235 * 365 * 24 * time.Hour)
	d.handle(t, d.arrives("near", "s", "in_transit", noon.Add(time.Hour)), d.arrives("far", "s2", "in_transit", far))
	d.handle(t, d.arrives("next", "s2", "out_for_delivery", noon.Add(time.Second)))
	if c := d.shipment(t, "s").History[0]; !c.At.Equal(noon.Add(time.Hour)) || !c.ClaimedAt.IsZero() {
		t.Errorf("within the bound it is %+v", c)
	}
	if s := d.shipment(t, "s2"); s.State != shipment.OutForDelivery || !s.History[0].At.Equal(noon) || !s.History[0].ClaimedAt.Equal(far) {
		t.Errorf("beyond it the shipment is %s, %+v", s.State, s.History)
	}
}

func TestHandleWithoutCacheAsksTheLedger(t *testing.T) {
	d := newFixture(t)
	first := d.arrives("k", "s", "in_transit", noon)
	d.handle(t, first)
	d.cache.err = errors.New("cache gone")
	again := first
	again.Sequence, again.Attempt = 2, 1
	if v := d.handle(t, again); v[0].Action != event.Ack {
		t.Errorf("verdict is %+v, want ack", v[0])
	}
	if n := d.store.applied[first.Identity()]; n != 1 {
		t.Errorf("applied %d times, want 1", n)
	}
}

func TestTransientFailureIsRetriedWithPolicyDelay(t *testing.T) {
	d := newFixture(t)
	d.store.fail = failOn("k", event.Throttled, 2)
	in := d.arrives("k", "s", "in_transit", noon)
	for attempt := 1; attempt <= 2; attempt++ {
		in.Attempt = attempt
		v := d.handle(t, in)[0]
		low := time.Second << (attempt - 1)
		if v.Action != event.Retry || v.Code != event.Throttled || v.Delay < low || v.Delay > low*12/10 {
			t.Errorf("attempt %d: verdict %+v, want a retry after %v plus at most 20 %%", attempt, v, low)
		}
		if r := d.record(t, "k"); r.Status != event.Failed || r.Attempts[attempt-1].Code != event.Throttled {
			t.Errorf("attempt %d: ledger row %+v", attempt, r)
		}
	}
	in.Attempt = 3
	if v := d.handle(t, in)[0]; v.Action != event.Ack {
		t.Fatalf("third attempt: %+v, want ack", v)
	}
	r := d.record(t, "k")
	if r.Status != event.Processed || r.Code != "" || len(r.Attempts) != 3 {
		t.Errorf("ledger row is %+v, want processed with three attempts", r)
	}
}

func TestPermanentFailureIsDeadAtItsFirstAttempt(t *testing.T) {
	d := newFixture(t)
	d.store.fail = failOn("bad", event.DomainInvalid, 100)
	verdicts := d.handle(t, d.arrives("good", "s", "in_transit", noon), d.arrives("bad", "s", "delivered", noon.Add(time.Hour)))
	if verdicts[0].Action != event.Ack || verdicts[1].Action != event.Dead || verdicts[1].Code != event.DomainInvalid {
		t.Fatalf("verdicts are %+v: a bad event must not take its neighbour with it", verdicts)
	}
	l := d.store.onlyLetter(t)
	if l.Code != event.DomainInvalid || len(l.Attempts) != 1 || l.Attempts[0].Outcome != event.GaveUp ||
		l.Headers["Gw-Key"] != "bad" || l.ShipmentID != "s" || l.ReviewStatus != event.ReviewPending {
		t.Errorf("dead letter is %+v", l)
	}
	if r := d.record(t, "bad"); r.Status != event.DeadLettered || r.EndedAt.IsZero() {
		t.Errorf("ledger row is %+v", r)
	}
	if s := d.shipment(t, "s"); s.State != shipment.InTransit {
		t.Errorf("shipment is %+v", s)
	}
}

func TestWhatIsNoEventOfOursIsDeadAndLeavesTheLedgerAlone(t *testing.T) {
	tests := map[event.Code]func(*event.Delivery){
		event.Forged:    func(d *event.Delivery) { d.Body = append([]byte(" "), d.Body...) },
		event.Malformed: func(d *event.Delivery) { d.Fault = errors.New("header Gw-Key is missing") },
	}
	for code, spoil := range tests {
		t.Run(string(code), func(t *testing.T) {
			d := newFixture(t)
			in := d.arrives("k", "s", "in_transit", noon)
			spoil(&in)
			if v := d.handle(t, in)[0]; v.Action != event.Dead || v.Code != code {
				t.Errorf("verdict is %+v", v)
			}
			if l := d.store.onlyLetter(t); l.Code != code || len(l.Body) == 0 {
				t.Errorf("dead letter is %+v", l)
			}
			if len(d.store.records) != 0 {
				t.Errorf("the ledger has rows: %+v", d.store.records)
			}
			if v := d.handle(t, d.arrives("k", "s", "in_transit", noon))[0]; v.Action != event.Ack {
				t.Errorf("the true event's verdict is %+v", v)
			}
		})
	}
}

// TestForgeriesCostOneCommit: many of them must not keep the workers busier than as
// many events would.
func TestForgeriesCostOneCommit(t *testing.T) {
	d := newFixture(t)
	batch := []event.Delivery{d.arrives("true", "s", "in_transit", noon)}
	for i := range 100 {
		forged := d.arrives(fmt.Sprintf("k%d", i), "s", "in_transit", noon)
		forged.Body = append([]byte(" "), forged.Body...)
		batch = append(batch, forged)
	}
	for i, v := range d.handle(t, batch...) {
		want := event.Verdict{Action: event.Dead, Code: event.Forged}
		if i == 0 {
			want = event.Verdict{Action: event.Ack}
		}
		if v != want {
			t.Errorf("verdict %d is %+v, want %+v", i, v, want)
		}
	}
	if n := d.store.calls["commit"]; n != 2 { // the letters, and the true event
		t.Errorf("%d commits, want 2", n)
	}
	if n := len(d.store.letters); n != 100 {
		t.Errorf("%d dead letters, want 100", n)
	}
}

func TestStampedButInvalidBodyIsDead(t *testing.T) {
	d := newFixture(t)
	in := d.arrives("k", "", "in_transit", noon)
	if v := d.handle(t, in)[0]; v.Action != event.Dead || v.Code != event.DomainInvalid {
		t.Errorf("verdict is %+v", v)
	}
	if r := d.record(t, "k"); r.Status != event.DeadLettered {
		t.Errorf("ledger row is %+v", r)
	}
}

func TestStoreDownDecidesNothing(t *testing.T) {
	d := newFixture(t)
	in := d.arrives("k", "s", "in_transit", noon)
	d.store.down = event.Errorf(event.Timeout, "memory", "no answer")
	if _, err := d.Handle(t.Context(), []event.Delivery{in}); event.CodeOf(err) != event.DependencyDown {
		t.Fatalf("error is %v, want a dependency that is down", err)
	}
	d.store.down = nil
	d.handle(t, in)
	if r := d.record(t, "k"); len(r.Attempts) != 1 || r.Status != event.Processed {
		t.Errorf("ledger row is %+v: an outage must not cost an attempt", r)
	}
}

func TestInterruptedAttemptsAreShown(t *testing.T) {
	d := newFixture(t)
	in := d.arrives("k", "s", "in_transit", noon)
	in.Attempt = 3 // the workers of the first two never reported
	d.handle(t, in)
	r := d.record(t, "k")
	if len(r.Attempts) != 3 || r.Attempts[0].Outcome != event.WasLost || r.Attempts[1].Number != 2 || r.Attempts[2].Outcome != event.Succeeded {
		t.Errorf("attempts are %+v", r.Attempts)
	}
}

func TestTwoWorkersOnOneShipmentLoseNoUpdate(t *testing.T) {
	d := newFixture(t)
	const workers, each = 4, 25
	done := make(chan error, workers)
	batches := make([][]event.Delivery, workers)
	for w := range workers {
		for i := range each {
			batches[w] = append(batches[w], d.arrives(fmt.Sprintf("k%d-%d", w, i), "s", "in_transit", noon.Add(time.Duration(w*each+i)*time.Minute)))
		}
	}
	for _, batch := range batches {
		go func() {
			for _, one := range batch {
				for attempt := 1; ; attempt++ {
					one.Attempt = attempt
					v, err := d.Handle(context.Background(), []event.Delivery{one})
					if err != nil {
						done <- err
						return
					}
					if v[0].Action == event.Ack {
						break
					}
				}
			}
			done <- nil
		}()
	}
	for range workers {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if s := d.shipment(t, "s"); len(s.History) != workers*each {
		t.Errorf("%d checkpoints, want %d", len(s.History), workers*each)
	}
}
