package jetstream

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/fincart/courier-gateway/ingest/event"
)

func TestEmbeddedFollowsTheConfiguration(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	b := open(t, cfg)
	publishN(t, b, 3)
	closeBroker(t, b)

	cfg.MaxBytes, cfg.DuplicateWindow, cfg.AckWait, cfg.MaxDeliver = 96<<20, time.Minute, 10*time.Second, 3
	cfg.Delays = cfg.Delays[:2]
	b = open(t, cfg)
	info, err := b.topo.Load().processors.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stream, consumer := b.topo.Load().events.CachedInfo().Config, info.Config
	if diffs := append(streamDiffs(stream, cfg.eventsConfig()), consumerDiffs(consumer, cfg.processorsConfig())...); len(diffs) > 0 {
		t.Errorf("not changed: %s", diffs)
	}
	if s, err := b.State(t.Context()); err != nil || s.Pending != 3 {
		t.Errorf("the change cost events: %+v, %v", s, err)
	}
}

// TestLimitIsLowered: a smaller MaxBytes than the store was made with, and than it
// holds, takes effect without losing an event.
func TestLimitIsLowered(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	b := open(t, cfg)
	large := envelope("large")
	large.Body = make([]byte, 2<<20)
	for i := range 10 {
		large.Key = strconv.Itoa(i)
		if _, err := b.Publish(t.Context(), large); err != nil {
			t.Fatal(err)
		}
	}
	closeBroker(t, b)
	cfg.MaxBytes, cfg.HistoryHighBytes, cfg.HistoryLowBytes = 16<<20, 16<<20, 8<<20
	b = open(t, cfg)
	if _, err := b.Publish(t.Context(), envelope("more")); event.CodeOf(err) != event.IntakeUnavailable {
		t.Errorf("a stream over its limit answers %v", err)
	}
	if d, err := b.Load(t.Context(), 1); err != nil || len(d.Body) != len(large.Body) {
		t.Errorf("the first event: %d bytes, %v", len(d.Body), err)
	}
}

func TestExternalIsNeverChanged(t *testing.T) {
	t.Parallel()
	cfg := externalConfig(t, startServer(t, nil))
	closeBroker(t, open(t, cfg))
	other := cfg
	other.MaxBytes, other.DuplicateWindow = 96<<20, time.Minute
	_, err := Open(t.Context(), other, testDeps())
	if err == nil {
		t.Fatal("a stream of another shape was taken")
	}
	for _, want := range []string{"EVENTS", "max_bytes is 67108864, want 100663296", "duplicate_window is 2m0s, want 1m0s"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error doesn't say %q: %v", want, err)
		}
	}
	other = cfg
	other.AckWait = time.Minute
	if _, err = Open(t.Context(), other, testDeps()); err == nil || !strings.Contains(err.Error(), "ack_wait is 30s, want 1m0s") {
		t.Errorf("consumer of another shape: %v", err)
	}
	open(t, cfg) // nothing was changed
}

func TestStreamOfAnotherKindIsRefused(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	if err := os.MkdirAll(cfg.StoreDir, 0o700); err != nil {
		t.Fatal(err)
	}
	server := newEmbedded(cfg, testDeps().Logger)
	if err := server.start(); err != nil {
		t.Fatal(err)
	}
	defer server.stop()
	conn, err := nats.Connect("", nats.InProcessServer(server))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := natsjs.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	queue := cfg.eventsConfig()
	queue.Retention = natsjs.WorkQueuePolicy
	if _, err := js.CreateStream(t.Context(), queue); err != nil {
		t.Fatal(err)
	}
	server.stop()
	if _, err := Open(t.Context(), cfg, testDeps()); err == nil || !strings.Contains(err.Error(), "retention is WorkQueue, want Limits") {
		t.Errorf("work queue taken for our stream: %v", err)
	}
}

func TestUnreachableBrokerIsAnError(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.Mode, cfg.URLs = ModeExternal, []string{"nats://127.0.0.1:1"}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, cfg, testDeps()); err == nil || !strings.Contains(err.Error(), "nats://127.0.0.1:1") {
		t.Errorf("Open: %v", err)
	}
}

func TestWrongCredentialsFailAtOnce(t *testing.T) {
	t.Parallel()
	cfg := externalConfig(t, startServer(t, []string{"--user", "u", "--pass", "p"}))
	start := time.Now()
	if _, err := Open(t.Context(), cfg, testDeps()); err == nil || time.Since(start) > 10*time.Second {
		t.Errorf("Open: %v after %v", err, time.Since(start))
	}
	cfg.URLs[0] = strings.Replace(cfg.URLs[0], "nats://", "nats://u:p@", 1)
	publish(t, open(t, cfg), envelope("k"))
}

func TestEmbeddedHasNoPort(t *testing.T) {
	t.Parallel()
	b := open(t, testConfig(t))
	b.server.mu.Lock()
	defer b.server.mu.Unlock()
	if addr := b.server.srv.Addr(); addr != nil {
		t.Errorf("the embedded broker listens on %v", addr)
	}
	if _, err := nats.Connect(nats.DefaultURL, nats.Timeout(100*time.Millisecond)); err == nil {
		t.Log("some other server listens on the default port")
	}
}
