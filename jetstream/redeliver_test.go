package jetstream

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/jetstream/embedded"
)

// asKilled returns cfg on a copy of the store as a process that ends now leaves it, once
// the broker has written what its consumers have delivered.
func asKilled(t *testing.T, b *Broker) Config {
	t.Helper()
	written := func(stream, consumer string) bool {
		s, _, ok, err := embedded.ReadConsumerState(filepath.Join(b.server.Dir(), "$G", "streams", stream, "obs", consumer, stateFile))
		info, infoErr := b.conns.js.Consumer(t.Context(), stream, consumer)
		if err != nil || infoErr != nil {
			t.Fatal(err, infoErr)
		}
		c := info.CachedInfo()
		return !ok && c.Delivered.Consumer == 0 || s.Delivered.Consumer == c.Delivered.Consumer && len(s.Pending) == c.NumAckPending
	}
	eventually(t, "the consumers' states are on disk", func() bool {
		return written(eventsStream, processors) && written(advisoriesStream, deadLetters)
	})
	return copied(t, b.cfg)
}

// atOnce is far below the acknowledgement waits of the tests, and above what a busy
// machine takes.
const atOnce = 10 * time.Second

func TestInFlightComesAtOnceAfterAKill(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.AckWait = 5 * time.Minute
	b := open(t, cfg)
	publishN(t, b, 8)
	ds := pullN(t, b, 8)
	settle(t, b, event.Verdict{Action: event.Ack}, ds[0], ds[4])
	// One has failed before, and is in flight for the second time.
	settle(t, b, event.Verdict{Action: event.Retry, Delay: time.Millisecond}, ds[2])
	if again := pullN(t, b, 1)[0]; again.Sequence != 3 || again.Attempt != 2 {
		t.Fatalf("delivered again: %d for the %dth time", again.Sequence, again.Attempt)
	}
	// And one waits for its retry.
	const delay = 4 * time.Second
	settle(t, b, event.Verdict{Action: event.Retry, Delay: delay}, ds[6])
	failed := time.Now()
	killed := asKilled(t, b)

	start := time.Now()
	b = open(t, killed)
	want := map[uint64]int{2: 2, 3: 3, 4: 2, 6: 2, 8: 2}
	for _, d := range pullN(t, b, len(want)) {
		if want[d.Sequence] != d.Attempt {
			t.Errorf("event %d comes as attempt %d, want %d", d.Sequence, d.Attempt, want[d.Sequence])
		}
		delete(want, d.Sequence)
	}
	if took := time.Since(start); took > atOnce || len(want) > 0 {
		t.Errorf("what was in flight came after %v, want at once; missing: %v", took, want)
	}
	t.Logf("in flight again after %v", time.Since(start))
	if d := pullN(t, b, 1)[0]; d.Sequence != 7 || d.Attempt != 2 || time.Since(failed) < delay-2*time.Second {
		t.Errorf("event %d comes as attempt %d, %v after it failed, want 7 as attempt 2 after %v", d.Sequence, d.Attempt, time.Since(failed), delay)
	}
}

func TestAdvisoryInHandComesAtOnceAfterAKill(t *testing.T) {
	t.Parallel()
	b := open(t, testConfig(t))
	publish(t, b, envelope("dead"))
	settle(t, b, event.Verdict{Action: event.Dead, Code: event.Forged}, pullN(t, b, 1)...)
	if _, err := b.PullAdvisories(within(t, atOnce), 1); err != nil {
		t.Fatal(err)
	}
	b = open(t, asKilled(t, b))
	if as, err := b.PullAdvisories(within(t, atOnce), 1); err != nil || as[0].Sequence != 1 {
		t.Errorf("the advisory that was in flight: %+v, %v", as, err)
	}
}

// TestLastAttemptInFlightIsExhaustedAtOnce: no worker answered the last attempt, which the
// broker announces without another delivery.
func TestLastAttemptInFlightIsExhaustedAtOnce(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.MaxDeliver, cfg.Delays = 2, cfg.Delays[:1]
	b := open(t, cfg)
	publish(t, b, envelope("1"))
	settle(t, b, event.Verdict{Action: event.Retry}, pullN(t, b, 1)...)
	if d := pullN(t, b, 1)[0]; d.Attempt != 2 {
		t.Fatalf("attempt %d", d.Attempt)
	}
	b = open(t, asKilled(t, b))
	pulled := make(chan []event.Delivery, 1)
	go func() {
		ds, _ := b.Pull(within(t, atOnce), 1) // an open pull is what the broker announces it to
		pulled <- ds
	}()
	as, err := b.PullAdvisories(within(t, atOnce), 1)
	if err != nil || as[0].Sequence != 1 || !as[0].Unanswered || as[0].Deliveries != 2 {
		t.Errorf("advisory %+v, %v", as, err)
	}
	if err := b.StopPulling(t.Context()); err != nil {
		t.Error(err)
	}
	if ds := <-pulled; len(ds) > 0 {
		t.Errorf("delivered once more: %+v", ds)
	}
}

// TestRestartInPlaceLeavesWhatIsInHand: the workers of this process go on with it.
func TestRestartInPlaceLeavesWhatIsInHand(t *testing.T) {
	t.Parallel()
	b := open(t, testConfig(t))
	publishN(t, b, 3)
	ds := pullN(t, b, 3)
	floorReaches(t, b, 0)
	restartInPlace(t, b)
	publish(t, b, envelope("4"))
	if d := pullN(t, b, 1)[0]; d.Sequence != 4 || d.Attempt != 1 {
		t.Errorf("event %d comes as attempt %d after a restart in place", d.Sequence, d.Attempt)
	}
	settle(t, b, event.Verdict{Action: event.Ack}, ds...)
	floorReaches(t, b, 3)
}

// TestInFlightOnAnExternalBrokerIsLeft: another process may hold it.
func TestInFlightOnAnExternalBrokerIsLeft(t *testing.T) {
	t.Parallel()
	cfg := externalConfig(t, startServer(t, nil))
	a := open(t, cfg)
	publishN(t, a, 3)
	pullN(t, a, 3)
	if err := a.StopPulling(t.Context()); err != nil { // so that what comes now is the other one's
		t.Fatal(err)
	}
	b := open(t, cfg)
	publish(t, b, envelope("4"))
	if d := pullN(t, b, 1)[0]; d.Sequence != 4 {
		t.Errorf("event %d of another process is delivered again", d.Sequence)
	}
}
