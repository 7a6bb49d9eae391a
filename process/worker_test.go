package process

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// fakeQueue is a queue of batches in memory that records what is settled.
type fakeQueue struct {
	batches chan []event.Delivery
	settled chan settlement
	alive   chan int
}

type settlement struct {
	event.Delivery
	event.Verdict
}

func newFakeQueue() *fakeQueue {
	return &fakeQueue{batches: make(chan []event.Delivery, 8), settled: make(chan settlement, 64), alive: make(chan int, 64)}
}

func (l *fakeQueue) Pull(ctx context.Context, _ int) ([]event.Delivery, error) {
	select {
	case b := <-l.batches:
		return b, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *fakeQueue) Settle(d event.Delivery, v event.Verdict) error {
	l.settled <- settlement{d, v}
	return nil
}

func (l *fakeQueue) KeepAlive(batch []event.Delivery) error {
	select {
	case l.alive <- len(batch):
	default:
	}
	return nil
}

// next waits for a settlement.
func (l *fakeQueue) next(t *testing.T) settlement {
	t.Helper()
	select {
	case s := <-l.settled:
		return s
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was settled")
		return settlement{}
	}
}

// running starts a worker on a desk and returns its queue, and a function that stops
// it and waits.
func running(t *testing.T, d *fixture) (l *fakeQueue, stop func()) {
	t.Helper()
	l = newFakeQueue()
	w := &Worker{
		Queue: l, Handler: d.Handler, Log: slog.New(slog.DiscardHandler), Heartbeat: &Heartbeat{},
		Config: WorkerConfig{BatchSize: 16, KeepAlive: 5 * time.Millisecond},
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Error("the worker did not stop")
		}
		if phase := w.Heartbeat.Read().Phase; phase != "stopped" {
			t.Errorf("the heartbeat says %s after the stop", phase)
		}
	})
	t.Cleanup(stop)
	return l, stop
}

func TestWorkerSettlesWhatTheHandlerDecides(t *testing.T) {
	d := newFixture(t)
	l, _ := running(t, d)
	l.batches <- []event.Delivery{d.arrives("a", "s", "in_transit", noon)}
	if s := l.next(t); s.Action != event.Ack || s.Key != "a" {
		t.Errorf("settled %+v", s)
	}
}

func TestWorkerHoldsTheBatchWhileTheStoreIsDown(t *testing.T) {
	d := newFixture(t)
	l, _ := running(t, d)
	d.goesDown(t)
	l.batches <- []event.Delivery{d.arrives("a", "s", "in_transit", noon)}
	for range 3 { // the batch is kept alive
		select {
		case <-l.alive:
		case <-time.After(10 * time.Second):
			t.Fatal("the batch was not kept alive")
		}
	}
	if n := len(l.settled); n != 0 {
		t.Fatalf("%d deliveries were settled during the outage", n)
	}
	d.store.mu.Lock()
	d.store.down = nil
	d.store.mu.Unlock()
	if s := l.next(t); s.Action != event.Ack {
		t.Errorf("settled %+v after the outage", s)
	}
	if r := d.record(t, "a"); len(r.Attempts) != 1 {
		t.Errorf("attempts are %+v: an outage must not cost one", r.Attempts)
	}
}

// TestWorkerPullsNothingBeforeTheStoreAnswers starts during an outage: what is
// pulled would spend an attempt at each such start.
func TestWorkerPullsNothingBeforeTheStoreAnswers(t *testing.T) {
	d := newFixture(t)
	d.store.down = event.Errorf(event.DependencyDown, "memory", "gone")
	l, _ := running(t, d)
	l.batches <- []event.Delivery{d.arrives("a", "s", "in_transit", noon)}
	d.waits(t, "ping", 3)
	if n := len(l.batches); n != 1 {
		t.Errorf("%d batches are left on the queue, want 1", n)
	}
	d.store.mu.Lock()
	d.store.down = nil
	d.store.mu.Unlock()
	if s := l.next(t); s.Action != event.Ack {
		t.Errorf("settled %+v after the outage", s)
	}
}

// waits waits until the store has been called so often.
func (d *fixture) waits(t *testing.T, call string, times int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d calls of %s", times, call), func() bool {
		d.store.mu.Lock()
		defer d.store.mu.Unlock()
		return d.store.calls[call] >= times
	})
}

// goesDown takes the store away from a worker that has reached it.
func (d *fixture) goesDown(t *testing.T) {
	t.Helper()
	d.waits(t, "ping", 1)
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	d.store.down = event.Errorf(event.DependencyDown, "memory", "gone")
}

func TestWorkerStopsDuringAnOutage(t *testing.T) {
	d := newFixture(t)
	l, stop := running(t, d)
	d.goesDown(t)
	l.batches <- []event.Delivery{d.arrives("a", "s", "in_transit", noon)}
	<-l.alive
	stop()
	if n := len(l.settled); n != 0 {
		t.Errorf("%d deliveries were settled", n)
	}
}

func TestPanickingEventIsRetriedAndItsNeighboursAreNot(t *testing.T) {
	d := newFixture(t)
	d.store.fail = func(c event.Change) error {
		for _, r := range c.Records {
			if r.Key == "poison" {
				panic("poison")
			}
		}
		return nil
	}
	l, _ := running(t, d)
	l.batches <- []event.Delivery{
		d.arrives("a", "s1", "in_transit", noon), d.arrives("poison", "s2", "in_transit", noon), d.arrives("b", "s3", "in_transit", noon),
	}
	for range 3 {
		s := l.next(t)
		want := event.Ack
		if s.Key == "poison" {
			want = event.Retry
		}
		if s.Action != want {
			t.Errorf("%s was settled with %v, want %v", s.Key, s.Action, want)
		}
	}
}

func TestPolicyDelays(t *testing.T) {
	p := Policy{MaxAttempts: 5, Base: time.Second, Multiplier: 2, Jitter: 0.2}
	want := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second}
	got := p.Delays()
	if len(got) != len(want) {
		t.Fatalf("delays are %v, want %v", got, want)
	}
	for i, d := range want {
		if got[i] != d {
			t.Errorf("delay %d is %v, want %v", i+1, got[i], d)
		}
		seen := map[time.Duration]bool{}
		for range 100 {
			j := p.jittered(i + 1)
			seen[j] = true
			if j < d || j > d*12/10 {
				t.Errorf("jittered delay %d is %v, want %v plus at most 20 %%", i+1, j, d)
			}
		}
		if len(seen) == 1 {
			t.Errorf("jittered delay %d is always %v", i+1, d)
		}
	}
}
