package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fincart/courier-gateway/ingest/event"
)

// testConfig is a small embedded broker on a directory of the test's own.
func testConfig(t testing.TB) Config {
	cfg := Defaults()
	dir := t.TempDir()
	cfg.StoreDir, cfg.StateDir = filepath.Join(dir, "store"), filepath.Join(dir, "state")
	cfg.DiskReserveBytes = 0
	cfg.MaxBytes, cfg.HistoryHighBytes, cfg.HistoryLowBytes = 64<<20, 32<<20, 24<<20
	return cfg
}

// testDeps are deps of their own; TEST_LOG=1 shows the log.
func testDeps() Deps {
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return Deps{Logger: log, Metrics: prometheus.NewRegistry(), settleDelay: 50 * time.Millisecond}
}

// open opens a broker that is closed with the test.
func open(t testing.TB, cfg Config) *Broker {
	t.Helper()
	return openWith(t, cfg, testDeps())
}

func openWith(t testing.TB, cfg Config, deps Deps) *Broker {
	t.Helper()
	b, err := openOn(t.Context(), cfg, deps)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { closeBroker(t, b) })
	return b
}

// restartInPlace has the watch restart the embedded server, as after a fault. Nothing
// but the watch may do that.
func restartInPlace(t testing.TB, b *Broker) {
	t.Helper()
	b.flusher.Suspect(time.Now(), errors.New("the test wants a restart")) // shuts intake
	signal(b.supervisor.wake)
	eventually(t, "a restart in place", b.Healthy)
}

// lossy has the brokers that are meant to have lost something; no other may say so.
var lossy sync.Map // of *Broker

// loses says that a broker is meant to have lost something.
func loses(t testing.TB, b *Broker) *Broker {
	t.Helper()
	lossy.Store(b, true)
	return b
}

func closeBroker(t testing.TB, b *Broker) {
	t.Helper()
	if _, meant := lossy.Load(b); !meant && len(b.Losses()) > 0 {
		t.Errorf("a broker that has lost nothing names %+v", b.Losses())
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := stop(ctx, b); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// stops are those of one broker, as its appliance would run them.
type stops struct {
	mu   sync.Mutex
	list []func(context.Context) error
}

func (s *stops) OnStop(name string, stop func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, func(ctx context.Context) error {
		if err := stop(ctx); err != nil {
			return fmt.Errorf("stop %s: %w", name, err)
		}
		return nil
	})
}

func (s *stops) Run(name string, fn func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- fn(ctx) }()
	s.OnStop(name, func(bound context.Context) error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-bound.Done():
			return context.Cause(bound)
		}
	})
}

// stop runs each stop once, the last one first.
func (s *stops) stop(ctx context.Context) error {
	s.mu.Lock()
	list := s.list
	s.list = nil
	s.mu.Unlock()
	var errs []error
	for _, stop := range slices.Backward(list) {
		errs = append(errs, stop(ctx))
	}
	return errors.Join(errs...)
}

// openOn opens a broker whose stops are its own, and runs them when that fails.
func openOn(ctx context.Context, cfg Config, deps Deps) (*Broker, error) {
	life := &stops{}
	deps.Lifecycle = life
	b, err := Open(ctx, cfg, deps)
	if err != nil {
		return nil, errors.Join(err, life.stop(context.WithoutCancel(ctx)))
	}
	return b, nil
}

// stop stops a broker that openOn has opened.
func stop(ctx context.Context, b *Broker) error { return b.life.of.(*stops).stop(ctx) }

// onBackends runs test on an embedded broker and on a NATS server of its own.
func onBackends(t *testing.T, test func(t *testing.T, cfg Config)) {
	t.Parallel()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		test(t, testConfig(t))
	})
	t.Run("external", func(t *testing.T) {
		t.Parallel()
		test(t, externalConfig(t, startServer(t, nil)))
	})
}

func envelope(key string) *event.Envelope {
	return &event.Envelope{
		Courier: "demo", EventID: "evt_" + key, Key: key, TraceID: "trace_" + key,
		ReceivedAt: time.Unix(1772107200, 123).UTC(), Scheme: "gateway", KeyID: "k1", Stamp: "stamp",
		Body: fmt.Appendf(nil, `{"eventId":"evt_%s"}`, key),
	}
}

// publish publishes e, which must be accepted.
func publish(t testing.TB, b *Broker, e *event.Envelope) event.Receipt {
	t.Helper()
	r, err := b.Publish(t.Context(), e)
	if err != nil {
		t.Fatalf("Publish(%s): %v", e.Key, err)
	}
	return r
}

// publishN publishes n events with the keys 1 to n.
func publishN(t testing.TB, b *Broker, n int) {
	t.Helper()
	for i := range n {
		publish(t, b, envelope(strconv.Itoa(i+1)))
	}
}

// within returns a context that ends the test's patience, not its luck.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// pullN pulls exactly n deliveries.
func pullN(t testing.TB, b *Broker, n int) []event.Delivery {
	t.Helper()
	var all []event.Delivery
	for len(all) < n {
		ds, err := b.Pull(within(t, 30*time.Second), n-len(all))
		if err != nil {
			t.Fatalf("Pull after %d of %d: %v", len(all), n, err)
		}
		all = append(all, ds...)
	}
	return all
}

// settle gives every delivery the same verdict.
func settle(t testing.TB, b *Broker, v event.Verdict, ds ...event.Delivery) {
	t.Helper()
	for _, d := range ds {
		if err := b.Settle(d, v); err != nil {
			t.Fatalf("Settle(%d): %v", d.Sequence, err)
		}
	}
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx := within(t, 30*time.Second)
	for !ok() {
		if sleep(ctx, 5*time.Millisecond) != nil {
			t.Fatalf("never came true: %s", what)
		}
	}
}

// floorReaches waits until the broker counts every event up to seq as settled.
func floorReaches(t testing.TB, b *Broker, seq uint64) {
	t.Helper()
	eventually(t, fmt.Sprintf("ack floor %d", seq), func() bool {
		info, err := b.topo.now().processors.Info(t.Context())
		return err == nil && ackFloor(info) >= seq
	})
}

func TestOpenIsQuickAndLeavesNothingOpen(t *testing.T) {
	cfg := testConfig(t)
	start := time.Now()
	b := open(t, cfg)
	if took := time.Since(start); took > time.Second {
		t.Errorf("Open on an empty directory took %v, want less than a second", took)
	}
	s, err := b.State(t.Context())
	if err != nil || !s.Healthy || s.Mode != "embedded" || s.Sync != SyncGroup || s.MaxBytes != cfg.MaxBytes || s.DiskFree <= 0 {
		t.Errorf("State = %+v, %v", s, err)
	}
	closeBroker(t, b)
	if _, err := b.Publish(t.Context(), envelope("late")); event.CodeOf(err) != event.IntakeUnavailable {
		t.Errorf("Publish after Close: %v, want %s", err, event.IntakeUnavailable)
	}
	open(t, cfg) // the directory is free again
}

func TestStoreDirectoryIsLocked(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	open(t, cfg)
	_, err := openOn(t.Context(), cfg, testDeps())
	if err == nil {
		t.Fatal("two brokers on one directory")
	}
	for _, want := range []string{cfg.StoreDir, strconv.Itoa(os.Getpid())} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q doesn't name %s", err, want)
		}
	}
}

func TestTwoBrokersInOneProcess(t *testing.T) {
	t.Parallel()
	a, b := open(t, testConfig(t)), open(t, testConfig(t))
	publish(t, a, envelope("only-a"))
	if r := publish(t, b, envelope("only-a")); r.Duplicate || r.Sequence != 1 {
		t.Errorf("the second broker knows the first one's event: %+v", r)
	}
	if d := pullN(t, a, 1)[0]; d.Key != "only-a" {
		t.Errorf("pulled %q", d.Key)
	}
}

func TestRestartKeepsEverything(t *testing.T) {
	onBackends(t, func(t *testing.T, cfg Config) {
		cfg.AckWait = 300 * time.Millisecond
		b := open(t, cfg)
		publishN(t, b, 10)
		settle(t, b, event.Verdict{Action: event.Ack}, pullN(t, b, 4)...)
		floorReaches(t, b, 4)
		closeBroker(t, b)

		b = open(t, cfg)
		if r := publish(t, b, envelope("1")); !r.Duplicate || r.Sequence != 1 {
			t.Errorf("a settled event is not known as a duplicate after a restart: %+v", r)
		}
		seen := map[uint64]bool{}
		for _, d := range pullN(t, b, 6) {
			seen[d.Sequence] = true
		}
		for seq := uint64(5); seq <= 10; seq++ {
			if !seen[seq] {
				t.Errorf("event %d was not delivered again, got %v", seq, seen)
			}
		}
	})
}

func TestConfigFaultsAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	cfg := Defaults()
	cfg.Sync, cfg.MaxDeliver, cfg.HistoryLowBytes = "sometimes", 3, cfg.MaxBytes
	_, err := openOn(t.Context(), cfg, testDeps())
	if err == nil {
		t.Fatal("Open took a faulty configuration")
	}
	for _, want := range []string{"StoreDir:", `"sometimes"`, "Delays: are 4 for 3 attempts", "HistoryLowBytes:"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error doesn't mention %s: %v", want, err)
		}
	}
}

// count returns the value of a counter.
func count(t *testing.T, deps Deps, name string) float64 {
	t.Helper()
	families, err := deps.Metrics.(prometheus.Gatherer).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == metricsPrefix+name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func TestReadHistory(t *testing.T) {
	onBackends(t, func(t *testing.T, cfg Config) {
		b := open(t, cfg)
		publishN(t, b, 5)
		settleAll := pullN(t, b, 2)
		for _, d := range settleAll {
			if err := b.Settle(d, event.Verdict{Action: event.Ack}); err != nil {
				t.Fatal(err)
			}
		}
		var keys []string
		for from := uint64(1); ; {
			batch, err := b.ReadHistory(t.Context(), from, 2)
			if err != nil {
				t.Fatal(err)
			}
			if len(batch) == 0 {
				break
			}
			for _, d := range batch {
				same, err := b.Load(t.Context(), d.Sequence)
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(d.Envelope, same.Envelope) || d.Sequence != same.Sequence {
					t.Errorf("read %+v, loaded %+v", d, same)
				}
				keys = append(keys, d.Key)
				from = d.Sequence + 1
			}
		}
		if len(keys) != 5 {
			t.Errorf("the history has %q", keys)
		}
	})
}
