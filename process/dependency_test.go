package process

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/ingest/event"
)

// empty reports whether a commit is the write that changes nothing, see storeWorks.
func empty(changes []event.Change) bool {
	return len(changes) == 1 && len(changes[0].Records) == 1 && changes[0].Records[0].Version == 1<<62
}

// TestStoreThatTakesOnlyEmptyWritesCostsNoAttempt has a store in trouble that still takes
// a write which changes nothing. That says nothing against an event, however long it
// lasts and however few events there are.
func TestStoreThatTakesOnlyEmptyWritesCostsNoAttempt(t *testing.T) {
	for name, trouble := range map[string]error{
		"gives up":           event.Errorf(event.Timeout, "memory", "gave up"),
		"does not answer":    late,
		"asks for less":      event.Errorf(event.Throttled, "memory", "not so fast"),
		"says it is down":    event.Errorf(event.DependencyDown, "memory", "not now"),
		"says an odd number": event.Errorf(event.DependencyDown, "memory", "8000: AtlasError"),
	} {
		for size := 1; size <= 3; size += 2 {
			t.Run(fmt.Sprint(name, " ", size), func(t *testing.T) {
				t.Parallel()
				d := newFixture(t)
				// The trouble ends before an attempt: after one it would leave the evidence
				// that the store works.
				var over, ended bool
				d.store.whole = func(changes []event.Change) error {
					ended = ended || over && changes[0].Shipment != nil
					if ended || empty(changes) {
						return nil
					}
					return trouble
				}
				l, stop := running(t, d)
				var batch []event.Delivery
				for i := range size {
					batch = append(batch, d.arrives(fmt.Sprintf("k%d", i), fmt.Sprintf("s%d", i), "in_transit", noon))
				}
				l.batches <- batch
				d.waits(t, "records", manyFailures+3)
				if n := len(l.settled); n != 0 {
					t.Fatalf("%d deliveries were settled, such as %+v", n, <-l.settled)
				}
				d.set(func(*fakeStore) { over = true })
				for range batch {
					if s := l.next(t); s.Action != event.Ack {
						t.Errorf("%s was settled with %+v after the outage", s.Key, s.Verdict)
					}
				}
				stop()
				for _, in := range batch {
					if r := d.record(t, in.Key); len(r.Attempts) != 1 {
						t.Errorf("%s has attempts %+v: an outage must not cost one", in.Key, r.Attempts)
					}
				}
			})
		}
	}
}

// TestStoreThatAsksForLessGetsLess has one that takes two changes at once and no more.
func TestStoreThatAsksForLessGetsLess(t *testing.T) {
	d := newFixture(t)
	d.store.whole = func(changes []event.Change) error {
		if len(changes) > 2 {
			return event.Errorf(event.Throttled, "memory", "not so fast")
		}
		return nil
	}
	var batch []event.Delivery
	for i := range 16 {
		batch = append(batch, d.arrives(fmt.Sprintf("k%d", i), fmt.Sprintf("s%d", i), "in_transit", noon))
	}
	d.works(t, batch)
	for _, in := range batch {
		if r := d.record(t, in.Key); len(r.Attempts) != 1 {
			t.Errorf("%s has attempts %+v", in.Key, r.Attempts)
		}
	}
}

// TestChangeThatTheStoreRefusesWaits has an operator's rule in the store refuse the rows
// of one event, at each of the commits that an event can come to. The event waits and
// spends no attempt, and those beside it are stored meanwhile.
func TestChangeThatTheStoreRefusesWaits(t *testing.T) {
	refused := event.Errorf(event.DependencyDown, "memory", "the validator of collection c refuses it")
	for name, test := range map[string]struct {
		arrives func(d *fixture) event.Delivery
		change  func(event.Change) bool // of that event
		want    event.Action
	}{
		"its shipment": {
			arrives: func(d *fixture) event.Delivery { return d.arrives("odd", "s odd", "in_transit", noon) },
			change:  moves("s odd"), want: event.Ack,
		},
		"the open attempt of its second delivery": {
			arrives: func(d *fixture) event.Delivery {
				in := d.arrives("odd", "s odd", "in_transit", noon)
				in.Attempt = 2
				return in
			},
			change: func(c event.Change) bool {
				return len(c.Records) == 1 && c.Records[0].Key == "odd" && c.Shipment == nil
			},
			want: event.Ack,
		},
		"its dead letter": {
			arrives: func(d *fixture) event.Delivery {
				in := d.arrives("odd", "s odd", "in_transit", noon)
				in.Body = []byte(`{}`)
				d.Stamper.Stamp(&in.Envelope)
				return in
			},
			change: func(c event.Change) bool { return len(c.DeadLetters) == 1 }, want: event.Dead,
		},
		"the dead letter of a forged one": {
			arrives: func(d *fixture) event.Delivery {
				in := d.arrives("odd", "s odd", "in_transit", noon)
				in.Body = []byte(`forged`)
				return in
			},
			change: func(c event.Change) bool { return len(c.DeadLetters) == 1 }, want: event.Dead,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newFixture(t)
			refusals := 0
			d.store.refuse = func(c event.Change) error {
				if test.change(c) {
					refusals++
					return refused
				}
				return nil
			}
			odd := test.arrives(d)
			batch := []event.Delivery{d.arrives("a", "s a", "in_transit", noon), odd, d.arrives("b", "s b", "in_transit", noon)}
			if verdicts, err := d.Handle(t.Context(), batch); !isDown(err) || verdicts != nil || refusals != 1 {
				t.Fatalf("verdicts %+v after %d refusals, %v", verdicts, refusals, err)
			}
			d.store.refuse = nil
			for i, v := range d.handle(t, batch...) {
				if want := map[bool]event.Action{true: test.want, false: event.Ack}[i == 1]; v.Action != want {
					t.Errorf("the verdict on %s is %+v", batch[i].Key, v)
				}
			}
			if n := len(d.store.letters); n > 1 || n == 1 && test.want != event.Dead {
				t.Errorf("%d dead letters: %+v", n, d.store.letters)
			}
		})
	}
}

// TestRefusedChangeKeepsNoneFromBeingCounted: what stands beside it in a commit is
// processed, whatever its place, and is counted as that.
func TestRefusedChangeKeepsNoneFromBeingCounted(t *testing.T) {
	d := newFixture(t)
	var log strings.Builder
	d.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	d.store.fail = func(c event.Change) error {
		if c.Shipment.ID == "s0" {
			return event.Errorf(event.DependencyDown, "memory", "the validator refuses it")
		}
		return nil
	}
	var batch []event.Delivery
	for i := range 4 {
		batch = append(batch, d.arrives(fmt.Sprintf("k%d", i), fmt.Sprintf("s%d", i), "in_transit", noon))
	}
	if verdicts, err := d.Handle(t.Context(), batch); !isDown(err) || verdicts != nil {
		t.Fatalf("verdicts %+v, %v", verdicts, err)
	}
	if n := strings.Count(log.String(), "event processed"); n != 3 {
		t.Errorf("%d events are counted as processed, want 3", n)
	}
}
