package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/process"
)

func TestFirstRun(t *testing.T) {
	t.Parallel()
	a := startApp(t, quick(t), nil)
	info, err := os.Stat(filepath.Join(a.cfg.DataDir, config.DemoSecretFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the demo secret is %v, %v; want a file of mode 0600", info, err)
	}
	line, key, shipment, err := demoLine(a.publicURL(), a.cfg.WithDemo())
	if err != nil {
		t.Fatal(err)
	}
	if out := paste(t, line); !strings.Contains(out, `"acknowledged":true`) || !strings.Contains(out, `"duplicate":false`) {
		t.Fatalf("the printed line\n%s\nanswered %s", line, out)
	}
	began := time.Now()
	a.ends(key, event.Processed)
	if took := time.Since(began); took > time.Second {
		t.Errorf("processed after %v, want within a second", took)
	}
	code, shown := a.cli("events", "show", key, "--json")
	if code != 0 || !strings.Contains(shown, `"status": "processed"`) && !strings.Contains(shown, `"status":"processed"`) {
		t.Errorf("events show: exit %d: %s", code, shown)
	}
	if code, shown = a.cli("shipments", "show", shipment); code != 0 || !strings.Contains(shown, shipment) {
		t.Errorf("shipments show: exit %d: %s", code, shown)
	}
	if code, shown = a.cli("health"); code != 0 || !strings.Contains(shown, "healthy") {
		t.Errorf("health: exit %d: %s", code, shown)
	}
	if out := paste(t, line); !strings.Contains(out, `"duplicate":true`) {
		t.Errorf("the line pasted again answered %s", out)
	}
	if code, shown = a.cli("status", "--json"); code != 0 || !strings.Contains(shown, `"healthy"`) {
		t.Errorf("status: exit %d: %s", code, shown)
	}
}

func TestTheSameEventAHundredTimesIsOneOutcome(t *testing.T) {
	t.Parallel()
	cfg := quick(t)
	a := startApp(t, cfg, nil)
	body := eventBody("once", "shp-once", "in_transit", time.Now())
	const copies = 100
	answers := make(chan answer, copies)
	for range copies {
		go func() {
			got, err := a.post(body)
			if err != nil {
				t.Error(err)
			}
			answers <- got
		}()
	}
	first := 0
	for range copies {
		got := <-answers
		if got.Status != http.StatusAccepted {
			t.Errorf("answer is %+v", got)
		}
		if !got.Duplicate {
			first++
		}
	}
	if first != 1 {
		t.Errorf("%d answers say that the event is new, want 1", first)
	}
	a.ends("once", event.Processed)
	a.halt()

	a = startApp(t, cfg, nil)
	if got := a.accept(body); !got.Duplicate {
		t.Errorf("after a restart the answer is %+v, want a duplicate", got)
	}
	var s shipment.Shipment
	if !a.get("/api/v1/shipments/shp-once", &s) || len(s.History) != 1 {
		t.Errorf("shipment is %+v, want one checkpoint", s)
	}
	if r := a.ends("once", event.Processed); len(r.Attempts) != 1 || r.Conflicts != 0 {
		t.Errorf("ledger row is %+v, want one attempt", r)
	}
}

func TestTheSameKeyWithAnotherBodyIsAVisibleConflict(t *testing.T) {
	t.Parallel()
	a := startApp(t, quick(t), nil)
	now := time.Now()
	a.accept(eventBody("twin", "shp-twin", "in_transit", now))
	a.ends("twin", event.Processed) // of two that come at once, either may be committed first
	if got := a.accept(eventBody("twin", "shp-twin", "delivered", now)); !got.Duplicate {
		t.Errorf("the twin's answer is %+v, want a duplicate", got)
	}
	eventually(t, "the conflict to show", func() bool {
		var r event.Record
		return a.get("/api/v1/events/twin", &r) && r.Conflicts == 1 && r.Status == event.Processed
	})
	var s shipment.Shipment
	if !a.get("/api/v1/shipments/shp-twin", &s) || s.State != shipment.InTransit || len(s.History) != 1 {
		t.Errorf("shipment is %s, want the first body's state", asJSON(s))
	}
}

// faulty is a store that fails changes with certain events.
type faulty struct {
	process.Store
	mu   sync.Mutex
	code map[string]event.Code // by idempotency key
	left map[string]int        // how often it still fails
}

func (f *faulty) set(key string, code event.Code, times int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.code[key], f.left[key] = code, times
}

func newFaulty() *faulty {
	return &faulty{code: map[string]event.Code{}, left: map[string]int{}}
}

func (f *faulty) wrap(inner process.Store) process.Store { f.Store = inner; return f }

func (f *faulty) Commit(ctx context.Context, changes []event.Change) ([]error, error) {
	errs := make([]error, len(changes))
	var passed []event.Change
	var at []int
	for i, c := range changes {
		if errs[i] = f.fault(c); errs[i] == nil {
			passed, at = append(passed, c), append(at, i)
		}
	}
	inner, err := f.Store.Commit(ctx, passed)
	if err != nil {
		return nil, err
	}
	for k, i := range at {
		errs[i] = inner[k]
	}
	return errs, nil
}

func (f *faulty) fault(c event.Change) error {
	if c.Shipment == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range c.Records {
		if f.left[r.Key] > 0 {
			f.left[r.Key]--
			return event.Errorf(f.code[r.Key], "store", "injected fault")
		}
	}
	return nil
}

// TestTransientFailureSucceedsAtTheThirdAttempt does so with 20 events: whatever a
// busy machine does to the others, one of them at least comes soon after its delay.
// An answer that the broker missed would cost the ack wait.
func TestTransientFailureSucceedsAtTheThirdAttempt(t *testing.T) {
	t.Parallel()
	faults, cfg := newFaulty(), quick(t)
	cfg.JetStream.AckWait = 30 * time.Second
	a := startApp(t, cfg, faults.wrap)
	var keys []string
	for i := range 20 {
		key := fmt.Sprintf("flaky-%d", i)
		keys = append(keys, key)
		faults.set(key, event.Throttled, 2)
		a.accept(eventBody(key, "shp-"+key, "in_transit", time.Now()))
	}
	policy := a.cfg.RetryPolicy()
	soonest := [3]time.Duration{1: time.Hour, 2: time.Hour} // by the attempt that failed
	for _, key := range keys {
		r := a.ends(key, event.Processed)
		if len(r.Attempts) != 3 {
			t.Fatalf("attempts are %+v, want 3", r.Attempts)
		}
		for n := 1; n < 3; n++ {
			waited := r.Attempts[n].StartedAt.Sub(r.Attempts[n-1].EndedAt)
			if low := policy.Delay(n); waited < low-5*time.Millisecond {
				t.Errorf("attempt %d of %s followed after %v, want %v at least", n+1, key, waited, low)
			}
			soonest[n] = min(soonest[n], waited)
		}
		if len(a.deadLetters(key)) != 0 {
			t.Errorf("there is a dead letter of %s", key)
		}
	}
	for n := 1; n < 3; n++ {
		low := policy.Delay(n)
		if high := low + time.Duration(policy.Jitter*float64(low)) + 100*time.Millisecond; soonest[n] > high {
			t.Errorf("attempt %d followed after %v at the soonest, want %v at most", n+1, soonest[n], high)
		}
	}
}

func TestPermanentFailureIsADeadLetterAtItsFirstAttempt(t *testing.T) {
	t.Parallel()
	faults := newFaulty()
	a := startApp(t, quick(t), faults.wrap)
	faults.set("hopeless", event.DomainInvalid, 1000)
	a.accept(eventBody("hopeless", "shp-hopeless", "in_transit", time.Now()))
	r := a.ends("hopeless", event.DeadLettered)
	letters := a.deadLetters("hopeless")
	if len(r.Attempts) != 1 || len(letters) != 1 || letters[0].Code != event.DomainInvalid {
		t.Errorf("attempts %+v, dead letters %+v", r.Attempts, letters)
	}
}

func TestExhaustedEventIsReplayedTwice(t *testing.T) {
	t.Parallel()
	faults := newFaulty()
	a := startApp(t, quick(t), faults.wrap)
	faults.set("broken", event.Throttled, 1000)
	body := eventBody("broken", "shp-broken", "in_transit", time.Now())
	a.accept(body)
	r := a.ends("broken", event.DeadLettered)
	if r.Code != event.AttemptsExhausted || len(r.Attempts) != 5 {
		t.Fatalf("ledger row is %+v, want five attempts", r)
	}
	letters := a.deadLetters("broken")
	if len(letters) != 1 || len(letters[0].Attempts) != 5 {
		t.Fatalf("dead letters are %s", asJSON(letters))
	}
	var letter event.DeadLetter
	if !a.get("/api/v1/dead-letters/"+letters[0].ID, &letter) || !bytes.Equal(letter.Body, body) || letter.Headers["Gw-Key"] != "broken" {
		t.Errorf("the dead letter is %s", asJSON(letter))
	}
	// The cause is still there: it dies again, as a letter of its own.
	if code, out := a.cli("dlq", "replay", letters[0].ID, "--yes"); code != 0 {
		t.Fatalf("dlq replay: exit %d: %s", code, out)
	}
	eventually(t, "a second dead letter", func() bool { return len(a.deadLetters("broken")) == 2 })
	second := a.deadLetters("broken")
	second = slices.DeleteFunc(second, func(l event.DeadLetter) bool { return l.ID == letters[0].ID })
	faults.set("broken", "", 0)
	for _, id := range []string{second[0].ID, letters[0].ID, letters[0].ID} {
		if code, out := a.cli("dlq", "replay", id, "--yes"); code != 0 {
			t.Fatalf("dlq replay: exit %d: %s", code, out)
		}
		a.ends("broken", event.Processed)
	}
	eventually(t, "the queue to be empty", a.idle)
	var s shipment.Shipment
	if !a.get("/api/v1/shipments/shp-broken", &s) || len(s.History) != 1 {
		t.Errorf("shipment is %+v, want one checkpoint", s)
	}
	for _, l := range a.deadLetters("broken") {
		replays := map[string]int{letters[0].ID: 3, second[0].ID: 1}[l.ID]
		if l.ReviewStatus != event.ReviewReplayed || len(l.Replays) != replays {
			t.Errorf("dead letter is %+v, want %d replays", l, replays)
		}
	}
}

// state returns the queue's figures.
func (a *testApp) state() event.QueueState {
	a.t.Helper()
	var s struct {
		Queue event.QueueState `json:"queue"`
	}
	a.get("/api/v1/status", &s)
	return s.Queue
}

// idle reports whether everything accepted is settled and verified.
func (a *testApp) idle() bool {
	s := a.state()
	return s.Unprocessed() == 0 && s.Verified == s.LastSeq
}

// forgetful is a store that once says of an event that it is stored, and has not.
type forgetful struct {
	process.Store
	key  string
	done atomic.Bool
}

func (f *forgetful) Commit(ctx context.Context, changes []event.Change) ([]error, error) {
	errs := make([]error, len(changes))
	for i, c := range changes {
		if len(c.Records) > 0 && c.Records[0].Key == f.key && f.done.CompareAndSwap(false, true) {
			continue
		}
		one, err := f.Store.Commit(ctx, []event.Change{c})
		if err != nil {
			return nil, err
		}
		errs[i] = one[0]
	}
	return errs, nil
}

// TestFullQueueGetsOverAnEventWithoutOutcome fills the queue with events, all of
// which are settled then, and the first of which left no trace. It can't be put
// back, for there is no room, and none can be made before it has its outcome.
func TestFullQueueGetsOverAnEventWithoutOutcome(t *testing.T) {
	t.Parallel()
	cfg := quick(t)
	cfg.JetStream.MaxBytes, cfg.JetStream.HighWaterBytes, cfg.JetStream.LowWaterBytes = 16<<20, 8<<20, 4<<20
	shut, store := &gate{}, &forgetful{key: "lost"}
	shut.shut.Store(true)
	a := startApp(t, cfg, func(inner process.Store) process.Store {
		store.Store = inner
		return shut.wrap(store)
	})
	a.accept(eventBody("lost", "shp-lost", "in_transit", time.Now()))
	filled := 0
	fill := func(more int) (answer, error) {
		filled++
		small := eventBody(fmt.Sprintf("fill-%d", filled), "shp-fill", "in_transit", time.Now())
		return a.post(bytes.Replace(small, []byte("[1,2,3]"), []byte(`"`+strings.Repeat("x", more)+`"`), 1))
	}
	for _, more := range []int{200 << 10, 4 << 10, 0} { // until not even a small one fits
		for got := (answer{Status: http.StatusAccepted}); got.Status == http.StatusAccepted; {
			var err error
			if got, err = fill(more); err != nil || filled > 1000 {
				t.Fatalf("the queue is not full after %d events: %+v, %v", filled, got, err)
			}
		}
	}
	shut.shut.Store(false)
	a.ends("lost", event.Processed)
	eventually(t, "room for events", func() bool {
		got, err := fill(0)
		return err == nil && got.Status == http.StatusAccepted
	})
	eventually(t, "the queue to be empty", a.idle)
}

func TestReloadChangesCouriers(t *testing.T) {
	t.Parallel()
	cfg := quick(t)
	secret := filepath.Join(t.TempDir(), "acme")
	if err := os.WriteFile(secret, []byte("first secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Couriers = map[string]config.Courier{config.DemoCourier: config.Courier{Secrets: []config.CourierSecret{{Secret: config.Secret("file:" + secret)}}}.WithDefaults()}
	a := startApp(t, cfg, nil)
	a.accept(eventBody("r1", "shp-r", "in_transit", time.Now()))

	wrong := cfg
	wrong.Couriers = map[string]config.Courier{config.DemoCourier: config.Courier{Secrets: []config.CourierSecret{{Secret: "env:NO_SUCH_VARIABLE"}}}.WithDefaults()}
	reload := func(c config.Config) error {
		a.reread = func() (config.Config, []string, error) { return c, nil, nil }
		_, err := a.Reload()
		return err
	}
	if err := reload(wrong); err == nil {
		t.Error("a wrong configuration was taken over")
	}
	a.accept(eventBody("r2", "shp-r", "in_transit", time.Now()))

	if err := os.WriteFile(secret, []byte("second secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := reload(cfg); err != nil {
		t.Fatal(err)
	}
	if got, err := a.post(eventBody("r3", "shp-r", "in_transit", time.Now())); err != nil || got.ErrorCode != "INVALID_SIGNATURE" {
		t.Errorf("the old secret after the reload: %+v, %v", got, err)
	}
}
