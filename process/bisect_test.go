package process

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// late is the error of a store that has not answered in time.
var late = &event.Error{Code: event.DependencyDown, Op: "memory", Err: fmt.Errorf("no answer: %w", context.DeadlineExceeded)}

// moves reports whether a change moves the shipment with that id, "" for any.
func moves(id string) func(event.Change) bool {
	return func(c event.Change) bool { return c.Shipment != nil && (id == "" || c.Shipment.ID == id) }
}

// set changes the store under its lock.
func (d *fixture) set(fn func(m *fakeStore)) {
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	fn(d.store)
}

// TestFaultOfOneEventCostsItsNeighboursNothing has a store that works, but not for one
// event of a batch: that one spends its attempt and says why, the others are done.
func TestFaultOfOneEventCostsItsNeighboursNothing(t *testing.T) {
	for name, test := range map[string]struct {
		spoil    func(m *fakeStore)
		code     event.Code
		recorded bool // in the ledger
	}{
		"its shipment can't be read":   {func(m *fakeStore) { m.odd = "s5" }, event.Internal, true},
		"its ledger row can't be read": {func(m *fakeStore) { m.odd = "k5" }, event.Internal, false},
		"its commit takes too long": {func(m *fakeStore) {
			m.whole = func(changes []event.Change) error {
				if slices.ContainsFunc(changes, moves("s5")) {
					return late
				}
				return nil
			}
		}, event.Timeout, true},
	} {
		t.Run(name, func(t *testing.T) {
			d := newFixture(t)
			test.spoil(d.store)
			l, stop := running(t, d)
			var batch []event.Delivery
			for i := range 9 {
				batch = append(batch, d.arrives(fmt.Sprintf("k%d", i), fmt.Sprintf("s%d", i), "in_transit", noon))
			}
			l.batches <- batch
			for range batch {
				s := l.next(t)
				want := event.Verdict{Action: event.Ack}
				if s.Key == "k5" {
					want = event.Verdict{Action: event.Retry, Code: test.code}
				}
				if s.Action != want.Action || s.Code != want.Code {
					t.Errorf("%s was settled with %+v, want %+v", s.Key, s.Verdict, want)
				}
			}
			stop()
			if !test.recorded {
				return
			}
			if r := d.record(t, "k5"); r.Status != event.Failed || len(r.Attempts) != 1 || r.Attempts[0].Code != test.code || r.Message == "" {
				t.Errorf("ledger row is %+v", r)
			}
		})
	}
}

// TestBatchTooLargeForTheStoreIsBisected gives it a store that gets four changes done
// in its time and no more: no event is at fault.
func TestBatchTooLargeForTheStoreIsBisected(t *testing.T) {
	for _, err := range []error{late, event.Errorf(event.Timeout, "memory", "gave up")} {
		d := newFixture(t)
		d.store.whole = func(changes []event.Change) error {
			if len(changes) > 4 {
				return err
			}
			return nil
		}
		l, stop := running(t, d)
		var batch []event.Delivery
		for i := range 16 {
			batch = append(batch, d.arrives(fmt.Sprintf("k%d", i), fmt.Sprintf("s%d", i), "in_transit", noon))
		}
		l.batches <- batch
		for range batch {
			if s := l.next(t); s.Action != event.Ack {
				t.Errorf("%s was settled with %+v after %v", s.Key, s.Verdict, err)
			}
		}
		stop()
		for _, in := range batch {
			if r := d.record(t, in.Key); len(r.Attempts) != 1 {
				t.Errorf("%s has attempts %+v", in.Key, r.Attempts)
			}
		}
	}
}

// TestOutageThatAnswersPingsCostsNoAttempt has a store in trouble that a ping does not
// show. However long it lasts, no event spends an attempt.
func TestOutageThatAnswersPingsCostsNoAttempt(t *testing.T) {
	for name, trouble := range map[string]func([]event.Change) error{
		"no write gets through": func([]event.Change) error { return late },
		"the store says that it is full": func(changes []event.Change) error {
			if slices.ContainsFunc(changes, moves("")) {
				return event.Errorf(event.DependencyDown, "memory", "no space left")
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newFixture(t)
			d.store.whole = trouble
			l, stop := running(t, d)
			in := d.arrives("a", "s", "in_transit", noon)
			in.Attempt = 2
			l.batches <- []event.Delivery{in, d.arrives("b", "s2", "in_transit", noon)}
			d.waits(t, "records", manyFailures+2)
			if n := len(l.settled); n != 0 {
				t.Fatalf("%d deliveries were settled", n)
			}
			d.set(func(m *fakeStore) { m.whole = nil })
			for range 2 {
				if s := l.next(t); s.Action != event.Ack {
					t.Errorf("settled %+v after the outage", s)
				}
			}
			stop()
			if r := d.record(t, "b"); len(r.Attempts) != 1 {
				t.Errorf("attempts are %+v: an outage must not cost one", r.Attempts)
			}
		})
	}
}

// TestUnreadableLedgerRowStillEnds: an event whose row can't be read becomes a dead
// letter all the same, and the reconciler verifies those around it.
func TestUnreadableLedgerRowStillEnds(t *testing.T) {
	d, s := newFixture(t), newFakeBroker()
	r := &Reconciler{
		Queue: s, DeadLetters: d.store, Ended: d.store, Publisher: s, Handler: d.Handler,
		Every: time.Second, Grace: time.Minute, missing: map[uint64]time.Time{},
	}
	before, odd, after := d.arrives("before", "s", "in_transit", noon), d.arrives("odd", "s", "in_transit", noon), d.arrives("after", "s", "in_transit", noon)
	d.handle(t, before, after)
	s.settledSeq = []event.Delivery{before, odd, after}
	s.stream[odd.Sequence] = odd
	d.store.odd = "odd"
	for _, want := range []uint64{before.Sequence, after.Sequence} {
		if _, err := r.step(t.Context()); err != nil || s.verified != want {
			t.Fatalf("verified up to %d, want %d: %v", s.verified, want, err)
		}
		if want == before.Sequence && !exhaust(t, d, s, event.Advisory{Sequence: odd.Sequence, Deliveries: 5}) {
			t.Fatal("the advisory was not settled")
		}
	}
	if l := d.store.onlyLetter(t); l.Code != event.AttemptsExhausted || l.Sequence != odd.Sequence || len(l.Body) == 0 {
		t.Errorf("dead letter is %+v", l)
	}
}
