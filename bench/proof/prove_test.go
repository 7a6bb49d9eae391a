package proof

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/bench"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/ingest/payload"
)

var someFaults = bench.Faults{Seed: 9, Transient: 0.2, Permanent: 0.1}

// fakeLedger is an appliance that processes each event at once, with faults.
type fakeLedger struct {
	mu        sync.Mutex
	faults    bench.Faults
	records   map[string]*event.Record
	shipments map[string]*shipment.Shipment
	letters   []event.DeadLetter
	applied   uint64
	queue     event.QueueState
	err       error // of every look-up, when set
}

func newFakeLedger(faults bench.Faults) *fakeLedger {
	return &fakeLedger{faults: faults, records: map[string]*event.Record{}, shipments: map[string]*shipment.Shipment{}}
}

// process applies an event, unless it is known.
func (l *fakeLedger) process(e event.Event) {
	if l.records[e.Key] != nil {
		return
	}
	r := &event.Record{Status: event.Processed}
	l.records[e.Key] = r
	f := l.faults.Of(e.Key)
	for n := range f.Failures {
		r.Attempts = append(r.Attempts, event.Attempt{Number: n + 1, Outcome: event.WillRetry})
	}
	if f.Permanent {
		r.Status, r.Attempts = event.DeadLettered, []event.Attempt{{Number: 1, Outcome: event.GaveUp}}
		l.deadLetter(e.Key)
		return
	}
	r.Attempts = append(r.Attempts, event.Attempt{Number: f.Failures + 1, Outcome: event.Succeeded})
	l.applied++
	s := l.shipments[e.ShipmentID]
	if s == nil {
		s = &shipment.Shipment{}
		l.shipments[e.ShipmentID] = s
	}
	s.History = append(s.History, shipment.Checkpoint{At: e.OccurredAt, Status: e.Status, Key: e.Key})
	slices.SortFunc(s.History, func(a, b shipment.Checkpoint) int { return a.At.Compare(b.At) })
	s.RawStatus = s.History[len(s.History)-1].Status
}

func (l *fakeLedger) deadLetter(key string) {
	d := event.DeadLetter{Code: event.DomainInvalid}
	d.Key = key
	l.letters = append(l.letters, d)
}

func (l *fakeLedger) Figures(context.Context) (Figures, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := Figures{Queue: l.queue, Store: event.StoreCounts{Records: map[event.Status]int64{}}}
	for _, r := range l.records {
		f.Store.Records[r.Status]++
	}
	return f, nil
}

func (l *fakeLedger) Event(_ context.Context, key, courier string) (event.Record, error) {
	r := l.records[key]
	if r == nil || l.err != nil || courier != "demo" {
		return event.Record{}, l.absent()
	}
	return *r, nil
}

func (l *fakeLedger) Shipment(_ context.Context, id, courier string) (shipment.Shipment, error) {
	s := l.shipments[id]
	if s == nil || l.err != nil || courier != "demo" {
		return shipment.Shipment{}, l.absent()
	}
	return *s, nil
}

func (l *fakeLedger) absent() error {
	if l.err != nil {
		return l.err
	}
	return event.Errorf(event.NotFound, "", "it is not there")
}

func (l *fakeLedger) DeadLetters(_ context.Context, courier string) iter.Seq2[event.DeadLetter, error] {
	return func(yield func(event.DeadLetter, error) bool) {
		if l.err != nil || courier != "demo" {
			yield(event.DeadLetter{}, l.absent())
			return
		}
		for _, d := range l.letters {
			if !yield(d, nil) {
				return
			}
		}
	}
}

func (l *fakeLedger) Applied(context.Context) (uint64, error) { return l.applied, l.err }

// loaded is how many events every load has.
const loaded = 60

// underLoad returns an appliance with these faults that has taken the events of a load,
// some of them twice and none in its order, and a proof of them by someFaults.
func underLoad(t *testing.T, faults bench.Faults) (*fakeLedger, *Prover) {
	t.Helper()
	g, err := bench.NewGenerator(bench.GeneratorConfig{
		Seed: 7, Source: "demo", Start: time.Date(2026, 2, 26, 12, 0, 0, 0, time.UTC), Step: 2 * time.Hour, Interleave: 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	l := newFakeLedger(faults)
	p := &Prover{Ledger: l, Courier: "demo", Events: g, Acknowledged: &Set{}, Unsure: &Set{}, Exclusive: true, Faults: someFaults, Check: 10_000}
	for i := range uint64(loaded + loaded/5) {
		n := i * 37 % loaded // visits all, and some again
		var e event.Event
		if faults := payload.DecodeCanonical(g.AppendBody(nil, n), &e, nil); len(faults) > 0 {
			t.Fatal(faults)
		}
		l.process(e.Clone())
		p.Acknowledged.Add(n)
	}
	return l, p
}

func prove(t *testing.T, p *Prover) Proof {
	t.Helper()
	got, err := p.Prove(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestProofOfAGoodAppliance(t *testing.T) {
	t.Parallel()
	for check, method := range map[uint64]string{10_000: "every event looked up", 20: "counts of a ledger with nothing else in it"} {
		_, p := underLoad(t, someFaults)
		p.Check = check
		got := prove(t, p)
		if !got.Exact || !strings.HasPrefix(got.Method, method[:12]) || got.NotTerminal+got.Twice+got.Stray+got.Unexplained+got.Disordered > 0 || len(got.Findings) > 0 {
			t.Errorf("%+v", got)
		}
		if got.Acknowledged != loaded || got.LookedUp != min(check, loaded) || got.Transient == 0 || got.Recovered != got.Transient || got.Permanent == 0 || got.Shipments == 0 {
			t.Errorf("%+v", got)
		}
	}
}

// Each way in which an appliance may fail shows in the proof.
func TestProofFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	l, p := underLoad(t, someFaults)
	keyWith := func(f bench.Fault) string {
		for e := range p.Acknowledged.All {
			if key := p.Events.Key(e); someFaults.Of(key) == f {
				return key
			}
		}
		return ""
	}
	healthy, twice := keyWith(bench.Fault{}), keyWith(bench.Fault{Failures: 2})
	hopeless := l.letters[0].Key
	shipment := p.Events.ShipmentID(0)
	for name, c := range map[string]struct {
		spoil func()
		shows func(Proof) bool
	}{
		"an event was lost": {
			func() { delete(l.records, healthy) },
			func(p Proof) bool { return p.NotTerminal == 1 },
		},
		"an event is still under way": {
			func() { l.records[healthy].Status = event.Failed },
			func(p Proof) bool { return p.NotTerminal == 1 },
		},
		"an event was processed twice": {
			func() {
				r := l.records[healthy]
				r.Attempts = append(r.Attempts, event.Attempt{Number: 2, Outcome: event.Succeeded})
			},
			func(p Proof) bool { return p.Twice == 1 },
		},
		"an event was applied once more": {
			func() { l.applied++ },
			func(p Proof) bool { return p.Twice == 1 },
		},
		"an event has two rows": {
			func() { l.records["demo:other"] = &event.Record{Status: event.Processed} },
			func(p Proof) bool { return p.Twice == 1 },
		},
		"a dead letter has two": {
			func() { l.deadLetter(hopeless) },
			func(p Proof) bool { return p.Twice > 0 },
		},
		"an event died without a fault": {
			func() { l.records[healthy].Status = event.DeadLettered; l.deadLetter(healthy) },
			func(p Proof) bool { return p.Unexplained == 1 },
		},
		"an event survived its fault": {
			func() { l.letters = l.letters[1:] },
			func(p Proof) bool { return p.Unexplained == 1 },
		},
		"an event failed once instead of twice": {
			func() {
				r := l.records[twice]
				r.Attempts = r.Attempts[1:]
			},
			func(p Proof) bool { return p.Unexplained == 1 && p.Recovered == p.Transient-1 },
		},
		"a shipment is in another state": {
			func() { l.shipments[shipment].RawStatus = "lost" },
			func(p Proof) bool { return p.Disordered == 1 },
		},
		"a shipment has an event twice": {
			func() {
				s := l.shipments[shipment]
				s.History = append(s.History, s.History[0])
			},
			func(p Proof) bool { return p.Disordered == 1 },
		},
	} {
		l, p = underLoad(t, someFaults) // the same again: keys and faults depend on the seed
		c.spoil()
		if got := prove(t, p); !c.shows(got) || len(got.Findings) == 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// An appliance that lets every event pass has recovered from nothing.
func TestProofOfFaultsThatDoNothing(t *testing.T) {
	t.Parallel()
	_, p := underLoad(t, bench.Faults{})
	p.Faults.Permanent = 0
	got := prove(t, p)
	if got.Transient == 0 || got.Recovered != 0 || got.Unexplained != got.Transient || got.NotTerminal+got.Twice > 0 {
		t.Errorf("%+v", got)
	}
}

func TestProofCountsStrays(t *testing.T) {
	t.Parallel()
	l, p := underLoad(t, someFaults)
	// The answers to three events were lost: two of them are stored.
	p.Acknowledged = &Set{}
	for e := range uint64(loaded) {
		if e < 3 {
			p.Unsure.Add(e)
		} else {
			p.Acknowledged.Add(e)
		}
	}
	key := p.Events.Key(0)
	if someFaults.Of(key).Permanent {
		t.Fatal("choose another seed")
	}
	delete(l.records, key)
	l.applied--
	if got := prove(t, p); got.Stray != 2 || got.NotTerminal != 0 || got.Twice != 0 || got.Disordered != 0 || !got.Exact {
		t.Errorf("%+v", got)
	}
}

// Of an appliance that holds other events too, only the acknowledged ones count.
func TestProofOfARunningAppliance(t *testing.T) {
	t.Parallel()
	_, p := underLoad(t, someFaults)
	p.Exclusive, p.Faults, p.Check = false, bench.Faults{}, 50
	got := prove(t, p)
	if got.Exact || got.LookedUp != 50 || got.Ledger != nil || got.Transient == 0 || got.Recovered != got.Transient || got.NotTerminal != 0 {
		t.Errorf("%+v", got)
	}
}

// Of a backlog that did not drain, a sample of the ledger may show good rows only.
func TestProofOfABacklogThatDidNotDrain(t *testing.T) {
	t.Parallel()
	_, p := underLoad(t, someFaults)
	p.Exclusive, p.Check = false, 10
	got, err := p.Prove(t.Context(), &NotDrainedError{time.Second, 70, 100})
	if err != nil || got.NotTerminal != 30 || len(got.Findings) != 1 || !strings.Contains(got.Findings[0], "70 of 100 queued events") {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestProofNeedsAnAnswer(t *testing.T) {
	t.Parallel()
	l, p := underLoad(t, someFaults)
	l.err = errors.New("down")
	if got, err := p.Prove(t.Context(), nil); !errors.Is(err, l.err) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestWatcherThinsItsSamples(t *testing.T) {
	t.Parallel()
	w := NewWatcher(newFakeLedger(someFaults), Figures{})
	for i := range maxSamples {
		w.samples = append(w.samples, Sample{At: float64(i)})
	}
	if _, err := w.sample(t.Context()); err != nil {
		t.Fatal(err)
	}
	if all := w.Samples(); len(all) != maxSamples/2+1 || w.every != 2*watchEvery || all[1].At != 2 {
		t.Errorf("%d samples, every %v, the second at %v", len(all), w.every, all[1].At)
	}
}

func TestDrainedWaitsForTheReconciler(t *testing.T) {
	t.Parallel()
	l := &reconciling{fakeLedger: newFakeLedger(someFaults), asked: make(chan struct{}, 1000), verified: make(chan struct{})}
	w := NewWatcher(l, Figures{})
	w.every = time.Millisecond
	late, ok := errors.AsType[*NotDrainedError](w.WaitDrained(t.Context(), 20*time.Millisecond))
	if !ok || late.Open() != 1 || late.queued != 10 {
		t.Errorf("not verified: %v", late)
	}
	done := make(chan error, 1)
	for len(l.asked) > 0 {
		<-l.asked
	}
	go func() { done <- w.WaitDrained(t.Context(), time.Minute) }()
	<-l.asked
	close(l.verified)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// reconciling is an appliance whose reconciler finds the last outcome when verified is
// closed.
type reconciling struct {
	*fakeLedger
	asked, verified chan struct{}
}

func (r *reconciling) Figures(context.Context) (Figures, error) {
	f := Figures{Queue: event.QueueState{LastSeq: 10, Verified: 9, At: time.Now()}}
	select {
	case <-r.verified:
		f.Queue.Verified = 10
	default:
	}
	r.asked <- struct{}{}
	return f, nil
}

func TestSet(t *testing.T) {
	t.Parallel()
	var s Set
	want := []uint64{0, 63, 64, 1000}
	for _, i := range append(want, want...) {
		s.Add(i)
	}
	if got := slices.Collect(s.All); !slices.Equal(got, want) || s.Len() != 4 || s.Has(1) || s.Has(5000) {
		t.Errorf("%v, %d", got, s.Len())
	}
}

func TestDrained(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		samples   []Sample
		most      uint64
		perSecond float64
	}{
		{"nothing seen", nil, 0, 0},
		{"never any", []Sample{{At: 1}, {At: 2}}, 0, 0},
		{"once", []Sample{{At: 0}, {At: 2, Unprocessed: 3000}, {At: 3, Unprocessed: 900}, {At: 4}, {At: 9}}, 3000, 1500},
		{"the larger one of two", []Sample{{At: 1, Unprocessed: 10}, {At: 2}, {At: 3, Unprocessed: 400}, {At: 5}}, 400, 200},
		{"not to its end", []Sample{{At: 1, Unprocessed: 10}, {At: 2, Unprocessed: 5}}, 10, 0},
	} {
		if most, perSecond := Drained(tt.samples); most != tt.most || perSecond != tt.perSecond {
			t.Errorf("%s: %d, %g/s, want %d, %g/s", tt.name, most, perSecond, tt.most, tt.perSecond)
		}
	}
}
