package process

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/loss"
)

// fakeBroker is the broker's side of the dead-letterer and the reconciler: the stream by
// sequence, its advisories, and what comes back.
type fakeBroker struct {
	stream     map[uint64]event.Delivery
	advisories chan event.Advisory
	settled    chan bool
	kept       chan []event.Advisory
	settledSeq []event.Delivery // for PullSettled
	verified   uint64
	published  []event.Envelope
	refuses    error // what Publish fails with
	missing    []loss.Missing
	reported   []uint64 // missing sequences
	ended      []uint64 // missing sequences that turned out to have their outcome
}

func newFakeBroker() *fakeBroker {
	return &fakeBroker{stream: map[uint64]event.Delivery{}, advisories: make(chan event.Advisory, 8), settled: make(chan bool, 8), kept: make(chan []event.Advisory, 1)}
}

func (s *fakeBroker) PullAdvisories(ctx context.Context, _ int) ([]event.Advisory, error) {
	select {
	case a := <-s.advisories:
		return []event.Advisory{a}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *fakeBroker) SettleAdvisory(_ event.Advisory, done bool) error {
	s.settled <- done
	return nil
}

func (s *fakeBroker) KeepAdvisories(held []event.Advisory) error {
	select {
	case s.kept <- held:
	default:
	}
	return nil
}

func (s *fakeBroker) Load(_ context.Context, seq uint64) (event.Delivery, error) {
	d, ok := s.stream[seq]
	if !ok {
		return d, event.Errorf(event.NotFound, "shelf", "no message %d", seq)
	}
	return d, nil
}

func (s *fakeBroker) PullSettled(_ context.Context, limit int) ([]event.Delivery, error) {
	return s.settledSeq[:min(limit, len(s.settledSeq))], nil
}

func (s *fakeBroker) Verified(_ context.Context, seq uint64) error {
	s.verified = seq
	s.settledSeq = slices.DeleteFunc(s.settledSeq, func(d event.Delivery) bool { return d.Sequence <= seq })
	return nil
}

func (s *fakeBroker) ReportMissing(_ context.Context, seqs []uint64) error {
	s.reported = append(s.reported, seqs...)
	for _, seq := range seqs {
		s.missing = append(s.missing, loss.Missing{Sequence: loss.Range{First: seq, Last: seq}})
	}
	return nil
}

func (s *fakeBroker) MissingEvents() []loss.Missing { return s.missing }

func (s *fakeBroker) MissingChecked(_ loss.Missing, ended []uint64) error {
	s.missing = s.missing[1:]
	s.ended = append(s.ended, ended...)
	return nil
}

func (s *fakeBroker) Publish(_ context.Context, e *event.Envelope) (event.Receipt, error) {
	if s.refuses != nil {
		return event.Receipt{}, s.refuses
	}
	s.published = append(s.published, *e)
	return event.Receipt{Sequence: uint64(1000 + len(s.published))}, nil
}

// exhaust has an advisory for d moved and returns whether it was settled.
func exhaust(t *testing.T, d *fixture, s *fakeBroker, a event.Advisory) bool {
	t.Helper()
	m := &DeadLetterer{
		Queue: s, Handler: d.Handler, KeepAlive: 5 * time.Millisecond,
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	s.advisories <- a
	settled := <-s.settled
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return settled
}

func TestExhaustedEventBecomesADeadLetter(t *testing.T) {
	d, s := newFixture(t), newFakeBroker()
	d.store.fail = failOn("k", event.Throttled, 5)
	in := d.arrives("k", "s", "in_transit", noon)
	s.stream[in.Sequence] = in
	for in.Attempt = 1; in.Attempt <= 5; in.Attempt++ {
		d.handle(t, in)
	}
	for range 2 { // an advisory may come twice
		if !exhaust(t, d, s, event.Advisory{Sequence: in.Sequence, Deliveries: 5}) {
			t.Fatal("the advisory was not settled")
		}
	}
	l := d.store.onlyLetter(t)
	if l.Code != event.AttemptsExhausted || len(l.Attempts) != 5 || l.ShipmentID != "s" || string(l.Body) != string(in.Body) {
		t.Errorf("dead letter is %+v", l)
	}
	if r := d.record(t, "k"); r.Status != event.DeadLettered || r.Code != event.AttemptsExhausted {
		t.Errorf("ledger row is %+v", r)
	}
}

func TestUnreportedEventBecomesADeadLetter(t *testing.T) {
	d, s := newFixture(t), newFakeBroker()
	in := d.arrives("k", "s", "in_transit", noon)
	s.stream[in.Sequence] = in
	exhaust(t, d, s, event.Advisory{Sequence: in.Sequence, Deliveries: 5})
	l := d.store.onlyLetter(t)
	if len(l.Attempts) != 5 || l.Attempts[4].Outcome != event.WasLost {
		t.Errorf("attempts are %+v, want five interrupted ones", l.Attempts)
	}
}

func TestExhaustedEventWhoseReaderPanicsIsDeadLettered(t *testing.T) {
	d, s := newFixture(t), newFakeBroker()
	read := d.Read
	d.Read = func(env *event.Envelope, e *event.Event, faults event.Faults) event.Faults {
		faults = read(env, e, faults)
		if env.Key == "bad" {
			panic("in the middle of it")
		}
		return faults
	}
	for _, key := range []string{"bad", "good"} {
		in := d.arrives(key, "s", "in_transit", noon)
		s.stream[in.Sequence] = in
		if !exhaust(t, d, s, event.Advisory{Sequence: in.Sequence, Deliveries: 5}) {
			t.Errorf("the advisory of %q was not settled", key)
		}
		if r := d.record(t, key); r.Status != event.DeadLettered || r.EventID != in.EventID || (r.ShipmentID == "s") != (key == "good") {
			t.Errorf("ledger row of %q is %+v", key, r)
		}
	}
	if len(d.store.letters) != 2 {
		t.Errorf("%d dead letters, want 2", len(d.store.letters))
	}
}

func TestAdvisoryOfAProcessedEventChangesNothing(t *testing.T) {
	d, s := newFixture(t), newFakeBroker()
	in := d.arrives("k", "s", "in_transit", noon)
	s.stream[in.Sequence] = in
	d.handle(t, in)
	if !exhaust(t, d, s, event.Advisory{Sequence: in.Sequence, Deliveries: 5}) {
		t.Error("the advisory was not settled")
	}
	if r := d.record(t, "k"); r.Status != event.Processed || len(d.store.letters) != 0 {
		t.Errorf("ledger row is %+v, dead letters %+v", r, d.store.letters)
	}
}

func TestAdvisoryWaitsWhileTheStoreIsDown(t *testing.T) {
	d, s := newFixture(t), newFakeBroker()
	in := d.arrives("k", "s", "in_transit", noon)
	s.stream[in.Sequence] = in
	d.store.down = event.Errorf(event.DependencyDown, "memory", "gone")
	if exhaust(t, d, s, event.Advisory{Sequence: in.Sequence, Deliveries: 5}) {
		t.Error("the advisory was settled without a dead letter")
	}
}

func TestTerminationWithoutItsLetterIsConfirmed(t *testing.T) {
	d, s := newFixture(t), newFakeBroker()
	in := d.arrives("k", "s", "in_transit", noon)
	s.stream[in.Sequence] = in
	exhaust(t, d, s, event.Advisory{Sequence: in.Sequence, Deliveries: 1, Terminated: true, Reason: string(event.Forged)})
	if l := d.store.onlyLetter(t); l.Code != event.Forged {
		t.Errorf("dead letter is %+v", l)
	}
}

func TestReplayGoesThroughTheNormalPath(t *testing.T) {
	d, s := newFixture(t), newFakeBroker()
	d.store.fail = failOn("k", event.DomainInvalid, 2)
	in := d.arrives("k", "s", "in_transit", noon)
	d.handle(t, in)
	letter := d.store.onlyLetter(t)
	replayer := &Replayer{DeadLetters: d.store, Publisher: s, Stamper: d.Stamper, Log: slog.New(slog.DiscardHandler), Now: d.Now}
	want := []event.Action{event.Dead, event.Ack, event.Ack} // fails again, succeeds, has succeeded
	for i, action := range want {
		link, err := replayer.Replay(t.Context(), letter.ID)
		if err != nil {
			t.Fatal(err)
		}
		again := event.Delivery{Envelope: s.published[i], Sequence: link.Sequence, Attempt: 1}
		if v := d.handle(t, again)[0]; v.Action != action {
			t.Errorf("replay %d: verdict %+v, want %v", i+1, v, action)
		}
		if v := d.handle(t, again)[0]; v.Action != event.Ack {
			t.Errorf("replay %d delivered twice: verdict %+v, want ack", i+1, v)
		}
	}
	r := d.record(t, "k")
	if r.Status != event.Processed || len(r.Attempts) != 3 || d.store.applied[r.Identity] != 1 {
		t.Errorf("ledger row is %+v, applied %d times", r, d.store.applied[r.Identity])
	}
	if l := d.store.letters[letter.ID]; l.ReviewStatus != event.ReviewReplayed || len(l.Replays) != 3 {
		t.Errorf("dead letter is %+v", l)
	}
}

func TestReplayOfAForgeryIsRefused(t *testing.T) {
	d, s := newFixture(t), newFakeBroker()
	in := d.arrives("k", "s", "in_transit", noon)
	in.Body = append(in.Body, ' ')
	d.handle(t, in)
	replayer := &Replayer{DeadLetters: d.store, Publisher: s, Stamper: d.Stamper, Log: slog.New(slog.DiscardHandler), Now: d.Now}
	if _, err := replayer.Replay(t.Context(), d.store.onlyLetter(t).ID); event.CodeOf(err) != event.Forged {
		t.Errorf("error is %v, want FORGED", err)
	}
	if len(s.published) != 0 {
		t.Error("the forgery is on the queue")
	}
}

// reconciler returns one that has not looked yet, and its clock.
func reconciler(d *fixture, s *fakeBroker) (r *Reconciler, now *time.Time) {
	at := noon
	d.Now = func() time.Time { return at }
	return &Reconciler{
		Queue: s, DeadLetters: d.store, Ended: d.store, Publisher: s, Handler: d.Handler,
		Every: time.Second, Grace: time.Minute, missing: map[uint64]time.Time{},
	}, &at
}

func TestReconcilerRequeuesWhatHasNoOutcome(t *testing.T) {
	d, s := newFixture(t), newFakeBroker()
	r, now := reconciler(d, s)
	done, lost, dead := d.arrives("done", "s", "in_transit", noon), d.arrives("lost", "s", "in_transit", noon), d.arrives("dead", "s", "in_transit", noon)
	dead.Body = append(dead.Body, ' ')
	d.handle(t, done, dead)
	s.settledSeq = []event.Delivery{done, lost, dead}

	step := func(wantVerified uint64, wantPublished int) {
		t.Helper()
		if _, err := r.step(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s.verified != wantVerified || len(s.published) != wantPublished {
			t.Fatalf("verified up to %d with %d requeued, want %d and %d", s.verified, len(s.published), wantVerified, wantPublished)
		}
	}
	step(1, 0) // the lost one has its grace
	step(1, 0)
	*now = now.Add(time.Minute)
	step(3, 1)
	back := event.Delivery{Envelope: s.published[0], Sequence: 1001, Attempt: 1}
	if v := d.handle(t, back)[0]; v.Action != event.Ack || d.record(t, "lost").Status != event.Processed {
		t.Errorf("what was requeued came to %+v", v)
	}
	verified, checked, requeued, waiting := r.Counts()
	if verified != 3 || checked != 3 || requeued != 1 || waiting != 0 {
		t.Errorf("counts are %d, %d, %d, %d", verified, checked, requeued, waiting)
	}
}

// TestMissingEventsAreReportedAndLookedUp has sequences at which the stream has
// nothing: of an event that was processed, of one that is a dead letter, and of one
// that has no outcome.
func TestMissingEventsAreReportedAndLookedUp(t *testing.T) {
	d, s := newFixture(t), newFakeBroker()
	r, _ := reconciler(d, s)
	done, dead, here := d.arrives("done", "s", "in_transit", noon), d.arrives("dead", "s", "in_transit", noon), d.arrives("here", "s", "in_transit", noon)
	dead.Body = append(dead.Body, ' ')
	d.handle(t, done, dead, here)
	gone := here.Sequence + 1
	gap := func(seq uint64, gap event.Gap) event.Delivery { return event.Delivery{Sequence: seq, Gap: gap} }
	s.settledSeq = []event.Delivery{
		gap(done.Sequence, event.GapMissing), gap(dead.Sequence, event.GapMissing), here, gap(gone, event.GapMissing), gap(gone+5, event.GapKnown),
	}
	if _, err := r.step(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []uint64{done.Sequence, dead.Sequence, gone}; !slices.Equal(s.reported, want) || s.verified != gone+5 {
		t.Errorf("reported %v, verified up to %d, want %v and %d", s.reported, s.verified, want, gone+5)
	}
	if len(s.published) > 0 {
		t.Errorf("requeued %+v", s.published)
	}
	d.store.down = event.Errorf(event.DependencyDown, "memory", "away")
	if err := r.checkMissing(t.Context()); event.CodeOf(err) != event.DependencyDown || len(s.missing) != 3 {
		t.Errorf("with the store away: %v, %d are left to look up", err, len(s.missing))
	}
	d.store.down = nil
	if err := r.checkMissing(t.Context()); err != nil || !slices.Equal(s.ended, []uint64{done.Sequence, dead.Sequence}) {
		t.Errorf("looked up: %v have an outcome, %v", s.ended, err)
	}
}

// TestLetterOfAnotherEventIsNoOutcome has a stream that was cut and uses the
// sequence of a dead letter again.
func TestLetterOfAnotherEventIsNoOutcome(t *testing.T) {
	d, s := newFixture(t), newFakeBroker()
	r, now := reconciler(d, s)
	dead, again := d.arrives("dead", "s", "in_transit", noon), d.arrives("again", "s", "in_transit", noon)
	dead.Body = append(dead.Body, ' ')
	again.Sequence = dead.Sequence
	d.handle(t, dead)
	for sequence, published := range map[*event.Delivery]int{&dead: 0, &again: 1} {
		s.settledSeq, s.published = []event.Delivery{*sequence}, nil
		for range 2 {
			r.reached = 0 // as after a wait
			if _, err := r.step(t.Context()); err != nil {
				t.Fatal(err)
			}
			*now = now.Add(time.Minute)
		}
		if len(s.published) != published {
			t.Errorf("%d of %s requeued, want %d", len(s.published), sequence.Key, published)
		}
	}
}

// TestReconcilerAppliesWhatTheQueueRefuses has a stream that is full of history, of
// which none can go before its first event has an outcome.
func TestReconcilerAppliesWhatTheQueueRefuses(t *testing.T) {
	d, s := newFixture(t), newFakeBroker()
	r, now := reconciler(d, s)
	s.refuses = event.Errorf(event.IntakeUnavailable, "shelf", "full")
	lost, forged, done := d.arrives("lost", "s", "in_transit", noon), d.arrives("forged", "s", "in_transit", noon), d.arrives("done", "s", "in_transit", noon)
	forged.Body = append(forged.Body, ' ')
	d.handle(t, done)
	s.settledSeq = []event.Delivery{lost, forged, done}
	if _, err := r.step(t.Context()); err != nil || s.verified != 0 {
		t.Fatalf("within the grace: verified up to %d, %v", s.verified, err)
	}
	*now = now.Add(time.Minute)
	d.store.fail = failOn("lost", event.Throttled, 1)
	if _, err := r.step(t.Context()); event.CodeOf(err) == "" || s.verified != 0 {
		t.Fatalf("with a store that fails: verified up to %d, %v", s.verified, err)
	}
	d.store.fail = func(event.Change) error { panic("in the middle of it") }
	if _, err := r.step(t.Context()); !errors.Is(err, errPanicked) || s.verified != 0 {
		t.Fatalf("with a store that panics: verified up to %d, %v", s.verified, err)
	}
	d.store.fail = nil
	if _, err := r.step(t.Context()); err != nil || s.verified != 3 {
		t.Fatalf("verified up to %d, %v", s.verified, err)
	}
	row := d.record(t, "lost")
	if row.Status != event.Processed || d.store.applied[row.Identity] != 1 {
		t.Errorf("ledger row is %+v, applied %d times", row, d.store.applied[row.Identity])
	}
	if l := d.store.onlyLetter(t); l.Code != event.Forged || l.Sequence != forged.Sequence {
		t.Errorf("dead letter is %+v", l)
	}
}

func TestDeadLetterID(t *testing.T) {
	t.Parallel()
	sent := event.Envelope{Courier: "demo", Key: "demo:evt_1", ReceivedAt: noon, Body: []byte(`{"eventId":"evt_1"}`)}
	e := sent
	id := deadLetterID(7, &e)
	if !strings.HasPrefix(id, "7-") || id != deadLetterID(7, &sent) {
		t.Errorf("the id %q is not the same each time", id)
	}
	e.ReceivedAt = e.ReceivedAt.Add(time.Second)
	if other := deadLetterID(7, &e); other == id {
		t.Errorf("another message at the same position has the same id %q", id)
	}
}

// TestConclusions has one case for each conclusion, and those that are close to another.
func TestConclusions(t *testing.T) {
	t.Parallel()
	d := newFixture(t).arrives("k", "s", "in_transit", noon)
	d.Attempt = 5
	row := func(status event.Status, attempts ...event.Attempt) event.Record {
		return event.Record{Sequence: d.Sequence, BodyHash: event.BodyHash(d.Body), Status: status, Attempts: attempts}
	}
	reported, open := event.Attempt{Number: 4, Outcome: event.WillRetry}, event.Attempt{Number: 5}
	later := row(event.Processing)
	later.Sequence++
	for name, tt := range map[string]struct {
		facts
		want conclusion
	}{
		"gone":                        {facts{gone: true}, reportGone},
		"gone, and given up":          {facts{gone: true, advisory: event.Advisory{Terminated: true}}, reportGone},
		"given up by a worker":        {facts{advisory: event.Advisory{Terminated: true}}, confirmLetter},
		"forged":                      {facts{}, deadLetterForged},
		"row unreadable":              {facts{genuine: true, unreadable: errPanicked}, deadLetterUnreadable},
		"processed":                   {facts{genuine: true, row: row(event.Processed)}, nothingToDo},
		"processed, unanswered":       {facts{genuine: true, row: row(event.Processed), advisory: event.Advisory{Unanswered: true}}, nothingToDo},
		"a later entry":               {facts{genuine: true, row: later}, nothingToDo},
		"failed":                      {facts{genuine: true, row: row(event.Failed, reported)}, deadLetterExhausted},
		"unanswered":                  {facts{genuine: true, row: row(event.Failed, reported), advisory: event.Advisory{Unanswered: true}}, retryOnce},
		"unanswered, no row":          {facts{genuine: true, row: event.Record{BodyHash: event.BodyHash(d.Body)}, advisory: event.Advisory{Unanswered: true}}, retryOnce},
		"unanswered, begun":           {facts{genuine: true, row: row(event.Processing, open), advisory: event.Advisory{Unanswered: true}}, deadLetterUnread},
		"unanswered, begun, retried":  {facts{genuine: true, row: row(event.Processing, open), advisory: event.Advisory{Unanswered: true}, retried: true}, deadLetterUnread},
		"unanswered, retried":         {facts{genuine: true, row: row(event.Failed, reported), advisory: event.Advisory{Unanswered: true}, retried: true}, deadLetterExhausted},
		"answered, last attempt open": {facts{genuine: true, row: row(event.Processing, open)}, deadLetterExhausted},
	} {
		f := tt.facts
		f.delivery = d
		if got := classify(f); got != tt.want {
			t.Errorf("%s: concluded %d, want %d", name, got, tt.want)
		}
	}
}
