package jetstream

import (
	"context"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/jetstream/embedded"
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
	info, err := b.topo.now().processors.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stream, consumer := b.topo.now().events.CachedInfo().Config, info.Config
	if diffs := append(streamDiffs(stream, cfg.eventsConfig()), consumerDiffs(consumer, cfg.processorsConfig(), 1, cfg.PullBuffer)...); len(diffs) > 0 {
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
	_, err := openOn(t.Context(), other, testDeps())
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
	if _, err = openOn(t.Context(), other, testDeps()); err == nil || !strings.Contains(err.Error(), "ack_wait is 30s, want 1m0s") {
		t.Errorf("consumer of another shape: %v", err)
	}
	open(t, cfg) // nothing was changed
}

// TestAnotherShapeIsNamed: what exists on the broker is as we want it but for one
// thing that breaks a promise.
func TestAnotherShapeIsNamed(t *testing.T) {
	t.Parallel()
	server := startServer(t, nil)
	cfg := externalConfig(t, server)
	conn, err := nats.Connect(server.url())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := natsjs.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	for want, bend := range map[string]func(s *natsjs.StreamConfig, c *natsjs.ConsumerConfig){
		"persist_mode is Async, want Default": func(s *natsjs.StreamConfig, _ *natsjs.ConsumerConfig) { s.PersistMode = natsjs.AsyncPersistMode },
		"sources is 1, want 0": func(s *natsjs.StreamConfig, _ *natsjs.ConsumerConfig) {
			s.Sources = []*natsjs.StreamSource{{Name: "OTHER"}}
		},
		"mirror is true, want false": func(s *natsjs.StreamConfig, _ *natsjs.ConsumerConfig) {
			s.Subjects, s.Discard, s.Mirror = nil, natsjs.DiscardNew, &natsjs.StreamSource{Name: "OTHER"}
		},
		"subject_transform is true": func(s *natsjs.StreamConfig, _ *natsjs.ConsumerConfig) {
			s.SubjectTransform = &natsjs.SubjectTransformConfig{Source: "events.*", Destination: "events.one"}
		},
		"headers_only is true":       func(_ *natsjs.StreamConfig, c *natsjs.ConsumerConfig) { c.HeadersOnly = true },
		"filter_subject is events.x": func(_ *natsjs.StreamConfig, c *natsjs.ConsumerConfig) { c.FilterSubject = "events.x" },
		"filter_subjects is [events.x events.y]": func(_ *natsjs.StreamConfig, c *natsjs.ConsumerConfig) {
			c.FilterSubjects = []string{"events.x", "events.y"}
		},
		"mem_storage is true":                       func(_ *natsjs.StreamConfig, c *natsjs.ConsumerConfig) { c.MemoryStorage = true },
		"replay_policy is original":                 func(_ *natsjs.StreamConfig, c *natsjs.ConsumerConfig) { c.ReplayPolicy = natsjs.ReplayOriginalPolicy },
		"inactive_threshold is 1h0m0s":              func(_ *natsjs.StreamConfig, c *natsjs.ConsumerConfig) { c.InactiveThreshold = time.Hour },
		"max_batch is 10, want at least 512":        func(_ *natsjs.StreamConfig, c *natsjs.ConsumerConfig) { c.MaxRequestBatch = 10 },
		"max_expires is 100ms, want at least 500ms": func(_ *natsjs.StreamConfig, c *natsjs.ConsumerConfig) { c.MaxRequestExpires = 100 * time.Millisecond },
		"max_bytes is 1024, want at least 671":      func(_ *natsjs.StreamConfig, c *natsjs.ConsumerConfig) { c.MaxRequestMaxBytes = 1024 },
		"":                                          func(_ *natsjs.StreamConfig, c *natsjs.ConsumerConfig) { c.MaxRequestBatch, c.Replicas = 100_000, 1 },
	} {
		stream, consumer := cfg.eventsConfig(), cfg.processorsConfig()
		bend(&stream, &consumer)
		if _, err := js.CreateStream(t.Context(), stream); err != nil {
			t.Fatalf("%s: %v", want, err)
		}
		if _, err := js.CreateConsumer(t.Context(), eventsStream, consumer); err != nil {
			t.Fatalf("%s: %v", want, err)
		}
		b, err := openOn(t.Context(), cfg, testDeps())
		if err == nil {
			closeBroker(t, b)
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("Open: %v, want %q", err, want)
		}
		if err := js.DeleteStream(t.Context(), eventsStream); err != nil {
			t.Fatal(err)
		}
	}
}

// TestConsumerOfAnotherReplication is about a cluster's, which one server can't have.
func TestConsumerOfAnotherReplication(t *testing.T) {
	want := Defaults().processorsConfig()
	for have, differs := range map[int]bool{0: false, 3: false, 1: true} {
		c := want
		c.Replicas = have
		if ds := consumerDiffs(c, want, 3, 1); (len(ds) > 0) != differs {
			t.Errorf("%d replicas on a stream of 3: %s", have, ds)
		}
	}
}

// TestRefusedPullIsReported: a consumer was changed under a running process so that it
// serves no pull.
func TestRefusedPullIsReported(t *testing.T) {
	t.Parallel()
	cfg := externalConfig(t, startServer(t, nil))
	deps := testDeps()
	lines := make(chan string, 100)
	deps.Logger = slog.New(slog.NewTextHandler(writerFunc(func(line string) { lines <- line }), &slog.HandlerOptions{Level: slog.LevelWarn}))
	b := openWith(t, cfg, deps)
	bent := cfg.processorsConfig()
	bent.MaxRequestBatch = 1
	if _, err := b.conns.js.UpdateConsumer(t.Context(), eventsStream, bent); err != nil {
		t.Fatal(err)
	}
	pulls, err := b.conns.admin.SubscribeSync("$JS.API.CONSUMER.MSG.NEXT." + eventsStream + "." + processors)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	pulling := make(chan struct{})
	go func() { defer close(pulling); _, _ = b.Pull(ctx, 1) }()
	if line := <-lines; !strings.Contains(line, "Exceeded MaxRequestBatch of 1") || !strings.Contains(line, processors) {
		t.Errorf("reported: %s", line)
	}
	eventually(t, "more pulls", func() bool { n, _, err := pulls.Pending(); return err == nil && n >= 3 })
	cancel()
	<-pulling
	if len(lines) > 0 {
		t.Errorf("reported again: %s", <-lines)
	}
}

// writerFunc is a writer of whole lines.
type writerFunc func(line string)

func (w writerFunc) Write(p []byte) (int, error) { w(string(p)); return len(p), nil }

func TestStreamOfAnotherKindIsRefused(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	if err := os.MkdirAll(cfg.StoreDir, 0o700); err != nil {
		t.Fatal(err)
	}
	server := embedded.New(embedded.Config{
		Name: cfg.Name, StoreDir: cfg.StoreDir, MaxPayload: cfg.MaxMessageBytes, MaxMemoryBytes: cfg.MaxMemoryBytes, Logger: testDeps().Logger,
	})
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
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
	server.Stop()
	if _, err := openOn(t.Context(), cfg, testDeps()); err == nil || !strings.Contains(err.Error(), "retention is WorkQueue, want Limits") {
		t.Errorf("work queue taken for our stream: %v", err)
	}
}

func TestUnreachableBrokerIsAnError(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.Mode, cfg.URLs = ModeExternal, []string{"nats://127.0.0.1:1"}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := openOn(ctx, cfg, testDeps()); err == nil || !strings.Contains(err.Error(), "nats://127.0.0.1:1") {
		t.Errorf("Open: %v", err)
	}
}

func TestWrongCredentialsFailAtOnce(t *testing.T) {
	t.Parallel()
	cfg := externalConfig(t, startServer(t, []string{"--user", "u", "--pass", "p"}))
	start := time.Now()
	if _, err := openOn(t.Context(), cfg, testDeps()); err == nil || time.Since(start) > 10*time.Second {
		t.Errorf("Open: %v after %v", err, time.Since(start))
	}
	cfg.URLs[0] = strings.Replace(cfg.URLs[0], "nats://", "nats://u:p@", 1)
	publish(t, open(t, cfg), envelope("k"))
}
