package process

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// TestHeartbeatSaysSinceWhenAndWhyAWorkerHolds, however often it tries meanwhile.
func TestHeartbeatSaysSinceWhenAndWhyAWorkerHolds(t *testing.T) {
	for name, arrives := range map[string]bool{"with a batch": true, "before any": false} {
		t.Run(name, func(t *testing.T) {
			d, l, heartbeat := newFixture(t), newFakeQueue(), &Heartbeat{}
			w := &Worker{
				Queue: l, Handler: d.Handler, Log: slog.New(slog.DiscardHandler), Heartbeat: heartbeat,
				Config: WorkerConfig{BatchSize: 16, KeepAlive: time.Second},
			}
			began := time.Now()
			down := func(err error) {
				d.store.mu.Lock()
				defer d.store.mu.Unlock()
				d.store.down = err
			}
			down(event.Errorf(event.DependencyDown, "memory", "gone"))
			if arrives {
				w.reached = true // so that it pulls
				l.batches <- []event.Delivery{d.arrives("a", "s", "in_transit", noon)}
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- w.Run(ctx) }()
			wait := func(what string, ok func(*Hold) bool) {
				t.Helper()
				eventually(t, what, func() bool { return ok(heartbeat.Read().Held) })
			}
			var first *Hold
			wait("the worker to hold", func(h *Hold) bool { first = h; return h != nil })
			if first.Since.Before(began) || !strings.Contains(first.Cause.Error(), "gone") {
				t.Errorf("holds since %v because of %v", first.Since, first.Cause)
			}
			wait("another try", func(h *Hold) bool { return h != nil && h != first })
			if again := heartbeat.Read().Held; again != nil && !again.Since.Equal(first.Since) {
				t.Errorf("the hold began at %v, and after another try at %v", first.Since, again.Since)
			}
			down(nil)
			wait("the end of the hold", func(h *Hold) bool { return h == nil })
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}
