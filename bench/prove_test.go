package bench

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

var someFaults = Faults{Seed: 9, Transient: 0.2, Permanent: 0.1}

// underLoad returns a double and the load that it has taken.
func underLoad(t *testing.T, m Mix) (*double, *load) {
	t.Helper()
	d := newDouble(t, someFaults)
	return d, put(t, d, m)
}

// put puts a double under load.
func put(t *testing.T, d *double, m Mix) *load {
	t.Helper()
	l := newTestLoad(t, d.at(t), loadConfig{connections: 4, requests: 60}, m)
	if err := l.lean(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

func newProver(t *testing.T, d *double, l *load) *prover {
	t.Helper()
	at, err := newSite(t.Context(), siteConfig{url: d.URL})
	if err != nil {
		t.Fatal(err)
	}
	a := newAdmin(at, "", 4)
	t.Cleanup(a.close)
	return &prover{
		admin: a, courier: "demo", plan: l.plan, acked: &l.rec.acked, unsure: &l.rec.unsure,
		own: true, faults: someFaults, check: 10_000, atOnce: 4,
	}
}

func prove(t *testing.T, p *prover) Proof {
	t.Helper()
	proof, err := p.prove(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return proof
}

func TestProofOfAGoodAppliance(t *testing.T) {
	t.Parallel()
	d, l := underLoad(t, Mix{Duplicates: 0.2, Invalid: 0.1, OutOfOrder: 0.3})
	for check, method := range map[uint64]string{10_000: "every event looked up", 20: "counts of a ledger with nothing else in it"} {
		p := newProver(t, d, l)
		p.check = check
		got := prove(t, p)
		if !got.Exact || !strings.HasPrefix(got.Method, method[:12]) || got.NotTerminal+got.Twice+got.Stray+got.Unexplained+got.Disordered > 0 || len(got.Findings) > 0 {
			t.Errorf("%+v", got)
		}
		if got.Acknowledged != l.rec.acked.n || got.LookedUp != min(check, l.rec.acked.n) || got.Transient == 0 || got.Recovered != got.Transient || got.Permanent == 0 || got.Shipments == 0 {
			t.Errorf("%+v", got)
		}
	}
}

// Each way in which an appliance may fail shows in the proof.
func TestProofFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	d, l := underLoad(t, Mix{})
	plan, events := l.plan, l.plan.events
	keyWith := func(f Fault) string {
		for e := range l.rec.acked.all {
			if key := events.Key(e); someFaults.Of(key) == f {
				return key
			}
		}
		return ""
	}
	healthy, twice := keyWith(Fault{}), keyWith(Fault{Failures: 2})
	hopeless := d.letters[0].Key
	shipment := events.shipmentID(0)
	for name, c := range map[string]struct {
		spoil func()
		shows func(Proof) bool
	}{
		"an event was lost": {
			func() { delete(d.records, healthy) },
			func(p Proof) bool { return p.NotTerminal == 1 },
		},
		"an event is still under way": {
			func() { d.records[healthy].Status = event.Failed },
			func(p Proof) bool { return p.NotTerminal == 1 },
		},
		"an event was processed twice": {
			func() {
				r := d.records[healthy]
				r.Attempts = append(r.Attempts, event.Attempt{Number: 2, Outcome: event.Succeeded})
			},
			func(p Proof) bool { return p.Twice == 1 },
		},
		"an event was applied once more": {
			func() { d.applied++ },
			func(p Proof) bool { return p.Twice == 1 },
		},
		"an event has two rows": {
			func() { d.records["demo:other"] = &event.Record{Status: event.Processed} },
			func(p Proof) bool { return p.Twice == 1 },
		},
		"a dead letter has two": {
			func() { d.bury(hopeless) },
			func(p Proof) bool { return p.Twice > 0 },
		},
		"an event died without a fault": {
			func() { d.records[healthy].Status = event.DeadLettered; d.bury(healthy) },
			func(p Proof) bool { return p.Unexplained == 1 },
		},
		"an event survived its fault": {
			func() { d.letters = d.letters[1:] },
			func(p Proof) bool { return p.Unexplained == 1 },
		},
		"an event failed once instead of twice": {
			func() {
				r := d.records[twice]
				r.Attempts = r.Attempts[1:]
			},
			func(p Proof) bool { return p.Unexplained == 1 && p.Recovered == p.Transient-1 },
		},
		"a shipment is in another state": {
			func() { d.shipments[shipment].RawStatus = "lost" },
			func(p Proof) bool { return p.Disordered == 1 },
		},
		"a shipment has an event twice": {
			func() {
				s := d.shipments[shipment]
				s.History = append(s.History, s.History[0])
			},
			func(p Proof) bool { return p.Disordered == 1 },
		},
	} {
		d, l = underLoad(t, Mix{}) // the same again: keys and faults depend on the seed
		l.plan = plan
		c.spoil()
		if got := prove(t, newProver(t, d, l)); !c.shows(got) || len(got.Findings) == 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// An appliance that lets every event pass has recovered from nothing.
func TestProofOfFaultsThatDoNothing(t *testing.T) {
	t.Parallel()
	d := newDouble(t, Faults{})
	p := newProver(t, d, put(t, d, Mix{}))
	p.faults.Permanent = 0
	got := prove(t, p)
	var judged criteria
	judged.books(DefaultThresholds, &got)
	if missed := missedIDs(judged); !slices.Equal(missed, []string{"SC-004", "faults"}) || got.Transient == 0 || got.Recovered != 0 || got.Unexplained != got.Transient {
		t.Errorf("missed are %v: %+v", missed, got)
	}
}

func TestProofCountsStrays(t *testing.T) {
	t.Parallel()
	d, l := underLoad(t, Mix{})
	// The answers to three events were lost: two of them are stored.
	for e := range uint64(3) {
		l.rec.unsure.set(e)
		l.rec.acked.words[0] &^= 1 << e
		l.rec.acked.n--
	}
	key := l.plan.events.Key(0)
	if someFaults.Of(key).Permanent {
		t.Fatal("choose another seed")
	}
	delete(d.records, key)
	d.applied--
	if got := prove(t, newProver(t, d, l)); got.Stray != 2 || got.NotTerminal != 0 || got.Twice != 0 || got.Disordered != 0 || !got.Exact {
		t.Errorf("%+v", got)
	}
}

func TestProofOfSomebodyElsesAppliance(t *testing.T) {
	t.Parallel()
	d, l := underLoad(t, Mix{})
	p := newProver(t, d, l)
	p.own, p.faults, p.check = false, Faults{}, 50
	got := prove(t, p)
	if got.Exact || got.LookedUp != 50 || got.Ledger != nil || got.Transient == 0 || got.Recovered != got.Transient || got.NotTerminal != 0 {
		t.Errorf("%+v", got)
	}
}

func TestProofNeedsAnAnswer(t *testing.T) {
	t.Parallel()
	d, l := underLoad(t, Mix{})
	p := newProver(t, d, l)
	inner := d.Config.Handler
	d.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/api/v1/events/") {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		inner.ServeHTTP(w, r)
	})
	if got, err := p.prove(t.Context()); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := p.admin.counter(t.Context(), "no_such_total"); !errors.Is(err, errAbsent) {
		t.Errorf("a metric that is not there: %v", err)
	}
}

func TestWatcherThinsItsSamples(t *testing.T) {
	t.Parallel()
	d := newDouble(t, Faults{})
	at, err := newSite(t.Context(), siteConfig{url: d.URL})
	if err != nil {
		t.Fatal(err)
	}
	w, err := newWatcher(t.Context(), newAdmin(at, "", 1))
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxSamples {
		w.samples = append(w.samples, Sample{At: float64(i)})
	}
	if _, err := w.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(w.all()) != maxSamples/2+1 || w.pace() != 2*watchEvery || w.all()[1].At != 2 {
		t.Errorf("%d samples, every %v, the second at %v", len(w.all()), w.pace(), w.all()[1].At)
	}
}

func TestDrainedWaitsForTheReconciler(t *testing.T) {
	t.Parallel()
	d := newDouble(t, Faults{})
	asked := make(chan struct{}, 1000)
	verified := make(chan struct{})
	d.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s := event.QueueState{LastSeq: 10, Verified: 9, At: time.Now()}
		select {
		case <-verified:
			s.Verified = 10
		default:
		}
		asked <- struct{}{}
		reply200(w, &map[string]any{"queue": s, "store": event.StoreCounts{}})
	})
	at, err := newSite(t.Context(), siteConfig{url: d.URL})
	if err != nil {
		t.Fatal(err)
	}
	w, err := newWatcher(t.Context(), newAdmin(at, "", 1))
	if err != nil {
		t.Fatal(err)
	}
	w.every = time.Millisecond
	late, ok := errors.AsType[*notDrained](w.drained(t.Context(), 20*time.Millisecond))
	if !ok || late.open() != 1 || late.queued != 10 {
		t.Errorf("not verified: %v", late)
	}
	done := make(chan error, 1)
	for len(asked) > 0 {
		<-asked
	}
	go func() { done <- w.drained(t.Context(), time.Minute) }()
	<-asked
	close(verified)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
