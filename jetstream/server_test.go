package jetstream

import (
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

func TestFillingASlotAllocates(t *testing.T) {
	s, e := newSlot(0, "in.0-0"), envelope("k")
	fill := func() {
		if err := s.fill(e, "demo:k"); err != nil {
			t.Fatal(err)
		}
		s.clear()
	}
	fill()
	if n := testing.AllocsPerRun(100, fill); n > 1 {
		t.Errorf("%v allocations, want one: the time as text", n)
	}
}

// TestEmbeddedServerStopsUnderLoad stops the server under the publishers' feet,
// several times.
func TestEmbeddedServerStopsUnderLoad(t *testing.T) {
	t.Parallel()
	b := open(t, testConfig(t))
	l := startLoad(t, b, 20)
	for range 3 {
		l.more(t, 300)
		b.server.Stop()
		eventually(t, "the loss is noticed", func() bool { return !b.Healthy() })
		if err := b.server.Start(); err != nil {
			t.Fatal(err)
		}
	}
	l.more(t, 300)
	l.end()
	l.checkAllStored(t, b)
}

func TestPublishWithoutAStreamSaysSo(t *testing.T) {
	onBackends(t, func(t *testing.T, cfg Config) {
		b := open(t, cfg)
		if err := b.conns.js.DeleteStream(t.Context(), eventsStream); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err := b.Publish(t.Context(), envelope("k"))
		if event.CodeOf(err) != event.IntakeUnavailable || !strings.Contains(err.Error(), "no stream takes it") || time.Since(start) > cfg.PublishTimeout/2 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}
