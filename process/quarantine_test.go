package process

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// applications has a store note which events each commit applies.
func applications(d *fixture) (commits *[]string) {
	commits = &[]string{}
	d.store.whole = func(changes []event.Change) error {
		var keys []string
		for _, c := range changes {
			for _, r := range c.Records {
				if c.Shipment != nil {
					keys = append(keys, r.Key)
				}
			}
		}
		if len(keys) > 0 {
			*commits = append(*commits, strings.Join(keys, " "))
		}
		return nil
	}
	return commits
}

// works has a worker handle a batch, each event of which has to be acknowledged.
func (d *fixture) works(t *testing.T, batch []event.Delivery) {
	t.Helper()
	l, stop := running(t, d)
	defer stop()
	l.batches <- batch
	for range batch {
		if s := l.next(t); s.Action != event.Ack {
			t.Errorf("%s was settled with %+v", s.Key, s.Verdict)
		}
	}
}

// TestSuspectedEventsAreHandledExclusively: those without a word on their attempt before,
// after the others, and each with its attempt in the ledger before it begins.
func TestSuspectedEventsAreHandledExclusively(t *testing.T) {
	d := newFixture(t)
	var batch []event.Delivery
	for _, key := range []string{"silent", "first", "second", "failed", "silent too"} {
		batch = append(batch, d.arrives(key, "s "+key, "in_transit", noon))
	}
	d.store.fail = failOn("failed", event.Throttled, 2)
	failed := batch[3]
	d.handle(t, failed)
	failed.Attempt = 2
	d.handle(t, failed)
	for i, attempt := range []int{3, 1, 2, 3, 5} {
		batch[i].Attempt = attempt
	}
	commits := applications(d)
	d.store.fail = func(c event.Change) error {
		r := c.Records[0]
		if stored := d.store.records[r.Identity].Attempts; r.Key == "silent" && (len(stored) != 3 || stored[2].Outcome != "") {
			t.Errorf("%s is applied while the ledger knows of the attempts %+v", r.Key, stored)
		}
		return nil
	}
	d.works(t, batch)
	if want := []string{"first second failed", "silent", "silent too"}; !slices.Equal(*commits, want) {
		t.Errorf("applied together were %q, want %q", *commits, want)
	}
}

// first is a store of which the first look at the ledger goes wrong.
type first struct {
	Store
	look  sync.Once
	wrong func() error
}

func (f *first) Records(ctx context.Context, ids []event.Identity) (found []event.Record, err error) {
	if f.look.Do(func() { err = f.wrong() }); err != nil {
		return nil, err
	}
	return f.Store.Records(ctx, ids)
}

// TestLateEventsAreSuspectedWhileTheLedgerCantBeRead: it can, once they are handled.
func TestLateEventsAreSuspectedWhileTheLedgerCantBeRead(t *testing.T) {
	for name, wrong := range map[string]func() error{
		"fails":  func() error { return event.Errorf(event.DependencyDown, "memory", "gone") },
		"panics": func() error { panic("in the middle of it") },
	} {
		t.Run(name, func(t *testing.T) {
			d := newFixture(t)
			var batch []event.Delivery
			for i, key := range []string{"late", "first", "second", "late too"} {
				batch = append(batch, d.arrives(key, "s "+key, "in_transit", noon))
				batch[i].Attempt = []int{5, 1, 2, 5}[i]
			}
			commits := applications(d)
			d.Store = &first{Store: d.store, wrong: wrong}
			d.works(t, batch)
			if want := []string{"first second", "late", "late too"}; !slices.Equal(*commits, want) {
				t.Errorf("applied together were %q, want %q", *commits, want)
			}
		})
	}
}

// gated is a store that waits for release before it applies the event of a key.
type gated struct {
	Store
	key              string
	entered, release chan struct{}
}

func (g *gated) Commit(ctx context.Context, changes []event.Change) ([]error, error) {
	if c := changes[0]; c.Shipment != nil && c.Records[0].Key == g.key {
		close(g.entered)
		<-g.release
	}
	return g.Store.Commit(ctx, changes)
}

// TestNothingIsHandledBesideASuspect has two workers at work on one handler.
func TestNothingIsHandledBesideASuspect(t *testing.T) {
	d := newFixture(t)
	suspect, other := d.arrives("suspect", "s1", "in_transit", noon), d.arrives("other", "s2", "in_transit", noon)
	suspect.Attempt = 3
	entered, release := make(chan struct{}), make(chan struct{})
	letGo := sync.OnceFunc(func() { close(release) })
	defer letGo()
	d.Store = &gated{Store: d.store, key: "suspect", entered: entered, release: release}
	one, _ := running(t, d)
	two, _ := running(t, d)
	one.batches <- []event.Delivery{suspect}
	<-entered
	two.batches <- []event.Delivery{other}
	for range 3 {
		select {
		case <-two.alive: // it holds the batch
		case s := <-two.settled:
			t.Fatalf("%s is handled beside the suspected one", s.Key)
		}
	}
	letGo()
	if s := one.next(t); s.Action != event.Ack {
		t.Errorf("the suspected event was settled with %+v", s.Verdict)
	}
	if s := two.next(t); s.Action != event.Ack {
		t.Errorf("the other event was settled with %+v", s.Verdict)
	}
}

// TestNothingIsReconciledBesideASuspect has the reconciler apply what the queue refuses.
func TestNothingIsReconciledBesideASuspect(t *testing.T) {
	d, s := newFixture(t), newFakeBroker()
	r, now := reconciler(d, s)
	s.refuses = event.Errorf(event.IntakeUnavailable, "shelf", "full")
	s.settledSeq = []event.Delivery{d.arrives("lost", "s", "in_transit", noon)}
	if _, err := r.step(t.Context()); err != nil { // the grace begins
		t.Fatal(err)
	}
	*now = now.Add(time.Minute)
	leave := d.quarantine.enter(true)
	ended := make(chan error, 1)
	go func() {
		_, err := r.step(t.Context())
		ended <- err
	}()
	select {
	case <-ended:
		t.Fatal("the reconciler did not wait")
	case <-time.After(50 * time.Millisecond):
	}
	leave()
	if err := <-ended; err != nil || d.record(t, "lost").Status != event.Processed {
		t.Errorf("ledger row is %+v, %v", d.record(t, "lost"), err)
	}
}

// TestEventExhaustedBesideOthersIsTriedOnceMore: its last delivery was not answered, and none
// was handled exclusively.
func TestEventExhaustedBesideOthersIsTriedOnceMore(t *testing.T) {
	d, s := newFixture(t), newFakeBroker()
	in := d.arrives("k", "s", "in_transit", noon)
	s.stream[in.Sequence] = in
	silence := event.Advisory{Sequence: in.Sequence, Deliveries: 5, Unanswered: true}
	if !exhaust(t, d, s, silence) {
		t.Error("the advisory was not settled")
	}
	if r := d.record(t, "k"); r.Status != event.Processed || len(r.Attempts) != 6 || len(d.store.letters) != 0 {
		t.Errorf("ledger row is %+v, dead letters %+v", r, d.store.letters)
	}
}

// TestEventTriedOnceMoreIsKeptAlive: another process that got its advisory as well would
// find the attempt that is under way, and dead-letter the event.
func TestEventTriedOnceMoreIsKeptAlive(t *testing.T) {
	d, s := newFixture(t), newFakeBroker()
	in := d.arrives("k", "s", "in_transit", noon)
	s.stream[in.Sequence] = in
	a := event.Advisory{Sequence: in.Sequence, Deliveries: 5, Unanswered: true}
	d.store.fail = func(event.Change) error {
		for range 3 {
			select {
			case held := <-s.kept:
				if !slices.Equal(held, []event.Advisory{a}) {
					t.Errorf("kept alive are %+v", held)
				}
			case <-time.After(10 * time.Second):
				t.Error("the advisory was not kept alive")
			}
		}
		return nil
	}
	if !exhaust(t, d, s, a) {
		t.Error("the advisory was not settled")
	}
}

// TestOpenLastAttemptBesideOthersIsNoEvidence: a store that refused two events four times was
// at their fifth attempt when the process ended, over either of them or neither.
func TestOpenLastAttemptBesideOthersIsNoEvidence(t *testing.T) {
	d, s := newFixture(t), newFakeBroker()
	batch := []event.Delivery{d.arrives("one", "s1", "in_transit", noon), d.arrives("two", "s2", "in_transit", noon)}
	refusal := event.Errorf(event.Throttled, "memory", "not now")
	d.store.fail = func(event.Change) error { return refusal }
	for attempt := 1; attempt <= 5; attempt++ {
		for i := range batch {
			batch[i].Attempt = attempt
		}
		if others, _ := d.suspects(t.Context(), batch); len(others) != len(batch) {
			t.Fatalf("at attempt %d not suspected are %d", attempt, len(others))
		}
		if attempt == 5 {
			d.store.whole = func(changes []event.Change) error {
				if slices.ContainsFunc(changes, moves("")) {
					panic("the end of the process")
				}
				return nil
			}
			func() {
				defer func() { _ = recover() }()
				d.handle(t, batch...)
			}()
			break
		}
		d.handle(t, batch...)
	}
	d.store.whole, d.store.fail = nil, nil
	for _, in := range batch {
		s.stream[in.Sequence] = in
		exhaust(t, d, s, event.Advisory{Sequence: in.Sequence, Deliveries: 5, Unanswered: true})
		if r := d.record(t, in.Key); r.Status != event.Processed || len(r.Attempts) != 6 {
			t.Errorf("ledger row is %+v", r)
		}
	}
}

// TestEventTriedOnceMoreOutlivesAnOutage: an answer that took too long, just when the outage
// ended, is not its fault. One that the store never answers for is dead-lettered.
func TestEventTriedOnceMoreOutlivesAnOutage(t *testing.T) {
	for _, c := range []struct {
		late int // answers
		want event.Status
	}{{manyFailures - 1, event.Processed}, {manyFailures, event.DeadLettered}} {
		d, s := newFixture(t), newFakeBroker()
		d.store.whole = func(changes []event.Change) error {
			if slices.ContainsFunc(changes, moves("s")) && c.late > 0 {
				c.late--
				return late
			}
			return nil
		}
		in := d.arrives("k", "s", "in_transit", noon)
		s.stream[in.Sequence] = in
		if !exhaust(t, d, s, event.Advisory{Sequence: in.Sequence, Deliveries: 5, Unanswered: true}) {
			t.Error("the advisory was not settled")
		}
		if r := d.record(t, "k"); r.Status != c.want || len(r.Attempts) != 6 {
			t.Errorf("ledger row is %+v, want it %s", r, c.want)
		}
	}
}

func TestEventTriedOnceMoreThatFailsOrPanicsIsDeadLettered(t *testing.T) {
	for name, fail := range map[string]func(event.Change) error{
		"fails": failOn("k", event.Throttled, 9), "panics": func(event.Change) error { panic("in the middle of it") },
	} {
		d, s := newFixture(t), newFakeBroker()
		d.store.fail = fail
		in := d.arrives("k", "s", "in_transit", noon)
		s.stream[in.Sequence] = in
		if !exhaust(t, d, s, event.Advisory{Sequence: in.Sequence, Deliveries: 5, Unanswered: true}) {
			t.Errorf("%s: the advisory was not settled", name)
		}
		if l := d.store.onlyLetter(t); l.Code != event.AttemptsExhausted || l.ShipmentID != "s" || len(l.Attempts) != 6 {
			t.Errorf("%s: dead letter is %+v", name, l)
		}
	}
}

// TestEventBegunExclusivelyIsDeadLetteredUnread, without being tried or read again: the process
// ended over it at its last delivery, or while it was tried once more.
func TestEventBegunExclusivelyIsDeadLetteredUnread(t *testing.T) {
	for _, attempt := range []int{5, 6} {
		d, s := newFixture(t), newFakeBroker()
		in := d.arrives("k", "s", "in_transit", noon)
		s.stream[in.Sequence] = in
		j := &job{Delivery: in, hash: event.BodyHash(in.Body)}
		j.Attempt = attempt
		startAttempt(j, d.Now())
		if err := commitOne(t.Context(), d.store, event.Change{Records: []event.Record{j.record}}); err != nil {
			t.Fatal(err)
		}
		d.Read = func(*event.Envelope, *event.Event, event.Faults) event.Faults {
			t.Error("the event is read again")
			return nil
		}
		exhaust(t, d, s, event.Advisory{Sequence: in.Sequence, Deliveries: 5, Unanswered: true})
		if l := d.store.onlyLetter(t); l.Code != event.AttemptsExhausted || len(l.Attempts) != attempt || l.Attempts[attempt-1].Outcome != event.WasLost {
			t.Errorf("dead letter is %+v", l)
		}
		if d.store.applied[in.Identity()] != 0 {
			t.Error("the event was applied")
		}
	}
}
