//go:build unix

package jetstream

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// TestStopsUnderLoadSpendNoAttempt stops a consuming process again and again while events
// come in, on a cluster, where a server that delivers learns late that the process is gone.
// What was delivered to it must have arrived there.
func TestStopsUnderLoadSpendNoAttempt(t *testing.T) {
	t.Parallel()
	servers := startCluster(t, 3)
	cfg := externalConfig(t, servers...)
	cfg.AckWait = 2 * time.Second
	ingest := cfg
	ingest.Consume = false
	in := open(t, ingest)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var published atomic.Uint64
	loaded := make(chan struct{})
	go func() {
		defer close(loaded)
		for i := 0; ctx.Err() == nil; i++ {
			if _, err := in.Publish(t.Context(), envelope(fmt.Sprint("e", i))); err == nil {
				published.Add(1)
			}
		}
	}()
	repeated := 0
	consume := func(b *Broker) {
		for {
			ds, err := b.Pull(t.Context(), 100)
			if errors.Is(err, event.ErrStopped) {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			for _, d := range ds {
				if d.Attempt > 1 {
					repeated++
				}
			}
			settle(t, b, event.Verdict{Action: event.Ack}, ds...)
		}
	}
	var last *Broker
	for n := range 12 {
		cfg.StateDir = t.TempDir()
		cfg.URLs = []string{servers[n%3].url()} // each of them, of which one leads
		last = open(t, cfg)
		done := make(chan struct{})
		go func() { defer close(done); consume(last) }()
		before := published.Load()
		eventually(t, "events to come in", func() bool { return published.Load() > before+50 })
		began := time.Now()
		if err := last.StopPulling(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 4*time.Second { // half of one, and the rest for a busy machine
			t.Errorf("the stop took %v", took)
		}
		<-done
		if n < 11 {
			closeBroker(t, last)
		}
	}
	cancel()
	<-loaded
	cfg.StateDir = t.TempDir()
	last = open(t, cfg)
	go func() {
		floorReaches(t, last, lastSeq(t, last))
		_ = last.StopPulling(t.Context())
	}()
	consume(last)
	if repeated > 0 {
		t.Errorf("%d events were delivered again: each has lost an attempt by a stop", repeated)
	}
}
