package jetstream

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

func TestPublishIsDeliveredAsItWas(t *testing.T) {
	onBackends(t, func(t *testing.T, cfg Config) {
		b := open(t, cfg)
		e := envelope("k1")
		if r := publish(t, b, e); r != (event.Receipt{Sequence: 1}) {
			t.Errorf("receipt %+v, want sequence 1", r)
		}
		d := pullN(t, b, 1)[0]
		if d.Fault != nil || d.Sequence != 1 || d.Attempt != 1 || d.AckTo == "" || !bytes.Equal(d.Body, e.Body) {
			t.Errorf("delivery %+v", d)
		}
		got, want := d.Envelope, *e
		got.Body, want.Body = nil, nil
		if got.Courier != want.Courier || got.Key != want.Key || got.EventID != want.EventID || got.TraceID != want.TraceID ||
			got.Scheme != want.Scheme || got.KeyID != want.KeyID || got.Stamp != want.Stamp || !got.ReceivedAt.Equal(want.ReceivedAt) {
			t.Errorf("envelope %+v, want %+v", got, want)
		}
		loaded, err := b.Load(t.Context(), 1)
		if err != nil || loaded.Key != "k1" || loaded.AckTo != "" || !bytes.Equal(loaded.Body, e.Body) {
			t.Errorf("Load = %+v, %v", loaded, err)
		}
		if _, err := b.Load(t.Context(), 2); event.CodeOf(err) != event.NotFound {
			t.Errorf("Load of nothing: %v, want %s", err, event.NotFound)
		}
	})
}

func TestDuplicatesAndConflicts(t *testing.T) {
	onBackends(t, func(t *testing.T, cfg Config) {
		b := open(t, cfg)
		first, other := envelope("k"), envelope("k")
		other.Body = []byte(`{"eventId":"another"}`)
		replay := envelope("k")
		replay.Replay = "nonce"
		for _, step := range []struct {
			name string
			e    *event.Envelope
			want event.Receipt
			last uint64 // of the stream, after it
		}{
			{"original", first, event.Receipt{Sequence: 1}, 1},
			{"same again", first, event.Receipt{Sequence: 1, Duplicate: true}, 1},
			{"another body", other, event.Receipt{Sequence: 1, Duplicate: true, Conflict: true}, 2},
			{"another body again", other, event.Receipt{Sequence: 1, Duplicate: true, Conflict: true}, 2},
			{"replay", replay, event.Receipt{Sequence: 3}, 3},
			{"replay again", replay, event.Receipt{Sequence: 3, Duplicate: true}, 3},
		} {
			if got := publish(t, b, step.e); got != step.want {
				t.Errorf("%s: receipt %+v, want %+v", step.name, got, step.want)
			}
			if got := lastSeq(t, b); got != step.last {
				t.Errorf("%s: stream ends at %d, want %d", step.name, got, step.last)
			}
		}
		copyOfK, err := b.Load(t.Context(), 2)
		if err != nil || copyOfK.Identity() != first.Identity() || !bytes.Equal(copyOfK.Body, other.Body) {
			t.Errorf("the conflicting copy is %+v, %v", copyOfK, err)
		}
	})
}

func TestDuplicateOfAnOriginalThatIsGone(t *testing.T) {
	t.Parallel()
	b := loses(t, open(t, testConfig(t)))
	publish(t, b, envelope("k"))
	publish(t, b, envelope("other"))
	if err := b.topo.now().events.DeleteMsg(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if r := publish(t, b, envelope("k")); r != (event.Receipt{Sequence: 1, Duplicate: true}) {
		t.Errorf("receipt %+v", r)
	}
	if d, err := b.Load(t.Context(), 3); err != nil || d.Key != "k" {
		t.Errorf("the ledger is not asked: %+v, %v", d, err)
	}
}

func lastSeq(t *testing.T, b *Broker) uint64 {
	t.Helper()
	info, err := b.topo.now().events.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return info.State.LastSeq
}

func TestThousandPublishersAtOnce(t *testing.T) {
	onBackends(t, func(t *testing.T, cfg Config) {
		cfg.MaxInFlight = 300 // fewer than callers
		b := open(t, cfg)
		const callers = 1000
		seqs := make([]uint64, callers)
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				// Two callers each publish the same event.
				r, err := b.Publish(t.Context(), envelope(strconv.Itoa(i/2)))
				if err != nil {
					t.Error(err)
				}
				seqs[i] = r.Sequence
			})
		}
		wg.Wait()
		held := map[uint64]bool{}
		for i := 0; i < callers; i += 2 {
			if seqs[i] != seqs[i+1] || held[seqs[i]] {
				t.Fatalf("event %d has sequences %d and %d, taken %v", i/2, seqs[i], seqs[i+1], held[seqs[i]])
			}
			held[seqs[i]] = true
			if d, err := b.Load(t.Context(), seqs[i]); err != nil || d.Key != strconv.Itoa(i/2) {
				t.Fatalf("sequence %d holds %q, %v, want %d", seqs[i], d.Key, err, i/2)
			}
		}
	})
}

func TestFullStreamRefusesButKnowsDuplicates(t *testing.T) {
	onBackends(t, func(t *testing.T, cfg Config) {
		cfg.MaxBytes, cfg.HistoryHighBytes, cfg.HistoryLowBytes = 64<<10, 64<<10, 32<<10
		b := open(t, cfg)
		var err error
		for i := 0; err == nil; i++ {
			e := envelope(strconv.Itoa(i))
			e.Body = bytes.Repeat([]byte("x"), 1000)
			_, err = b.Publish(t.Context(), e)
		}
		if event.CodeOf(err) != event.IntakeUnavailable || !strings.Contains(err.Error(), "full") {
			t.Fatalf("a full stream answers %v", err)
		}
		e := envelope("0")
		e.Body = bytes.Repeat([]byte("x"), 1000)
		if r := publish(t, b, e); !r.Duplicate || r.Sequence != 1 {
			t.Errorf("duplicate in a full stream: %+v", r)
		}
		if !b.Healthy() {
			t.Error("a full stream is no fault of the broker")
		}
	})
}

func TestTooLargeIsRefusedAsSuch(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.MaxMessageBytes = 4096
	b := open(t, cfg)
	e := envelope("big")
	e.Body = make([]byte, 5000)
	if _, err := b.Publish(t.Context(), e); event.CodeOf(err) != event.PayloadTooLarge {
		t.Errorf("%v, want %s", err, event.PayloadTooLarge)
	}
	publish(t, b, envelope("small"))
}

func TestHeaderThatWouldNotSurviveIsRefused(t *testing.T) {
	t.Parallel()
	b := open(t, testConfig(t))
	for _, key := range []string{" k", "k ", "k\r\nNats-Rollup: all", "k\nx"} {
		if _, err := b.Publish(t.Context(), envelope(key)); event.CodeOf(err) != event.InvalidPayload {
			t.Errorf("%q: %v, want %s", key, err, event.InvalidPayload)
		}
	}
	publish(t, b, envelope("ünï cödé: colon"))
	if d := pullN(t, b, 1)[0]; d.Sequence != 1 || d.Key != "ünï cödé: colon" {
		t.Errorf("delivery %+v", d)
	}
}

func TestPublishLeavesTheCallersBytesAlone(t *testing.T) {
	t.Parallel()
	b := open(t, testConfig(t))
	body := make([]byte, 100)
	for i := range 200 {
		for j := range body {
			body[j] = byte('a' + i%26)
		}
		e := envelope(strconv.Itoa(i))
		e.Body = body
		publish(t, b, e)
	}
	for i := range 200 {
		d, err := b.Load(t.Context(), uint64(i+1))
		if err != nil || d.Body[0] != byte('a'+i%26) || d.Body[99] != d.Body[0] {
			t.Fatalf("event %d holds %q, %v", i, d.Body, err)
		}
	}
}

func TestPublishEndsWithItsContext(t *testing.T) {
	t.Parallel()
	deps := testDeps()
	release := make(chan struct{})
	opened := make(chan struct{})
	deps.flush = func() error {
		select {
		case <-opened:
			<-release
		default:
		}
		return nil
	}
	cfg := testConfig(t)
	cfg.MaxInFlight = 1
	b := openWith(t, cfg, deps)
	close(opened)
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the courier hung up")
	result := make(chan error, 1)
	go func() {
		_, err := b.Publish(ctx, envelope("held"))
		result <- err
	}()
	eventually(t, "the event waits for its flush", func() bool { return lastSeq(t, b) == 1 })
	cancel(gone)
	if err := <-result; event.CodeOf(err) != event.IntakeUnavailable || !errors.Is(err, gone) {
		t.Errorf("%v, want %s with its cause", err, event.IntakeUnavailable)
	}
	close(release)
	// The only slot is free again, and the late outcome reaches no publish.
	if r := publish(t, b, envelope("next")); r.Sequence != 2 {
		t.Errorf("receipt %+v", r)
	}
}

func TestGroupsAreReleasedByOneFlush(t *testing.T) {
	t.Parallel()
	deps := testDeps()
	var mu sync.Mutex
	flushes, held := 0, false
	opened := sync.NewCond(&mu)
	deps.flush = func() error {
		mu.Lock()
		defer mu.Unlock()
		flushes++
		for held {
			opened.Wait()
		}
		return nil
	}
	b := openWith(t, testConfig(t), deps)
	mu.Lock()
	flushes, held = 0, true
	mu.Unlock()
	var wg sync.WaitGroup
	call := func(key string) {
		wg.Go(func() {
			if _, err := b.Publish(t.Context(), envelope(key)); err != nil {
				t.Error(err)
			}
		})
	}
	call("first")
	eventually(t, "the first one's flush to begin", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return flushes == 1
	})
	const callers = 50
	for i := range callers {
		call(strconv.Itoa(i))
	}
	eventually(t, "all others to wait for the next flush", func() bool {
		return b.publisher.group.Waiting() == callers
	})
	mu.Lock()
	held = false
	opened.Broadcast()
	mu.Unlock()
	wg.Wait()
	mu.Lock()
	defer mu.Unlock()
	if flushes != 2 {
		t.Errorf("%d flushes for one publish and %d during its flush, want 2", flushes, callers)
	}
}

func TestCloseAnswersPublishesInFlight(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.MaxInFlight = 20 // fewer than publishers, so that some wait for their turn
	b := open(t, cfg)
	l := startLoad(t, b, 60)
	l.more(t, 100)
	closeBroker(t, b)
	l.end() // every publisher was answered
	l.checkLoadable(t, open(t, cfg))
}

func TestStoppedDeadKeepsWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	b := open(t, cfg)
	l := startLoad(t, b, 20)
	l.more(t, 500)
	b.server.Stop() // without draining anything
	l.end()
	closeBroker(t, b)
	l.checkLoadable(t, open(t, cfg))
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
