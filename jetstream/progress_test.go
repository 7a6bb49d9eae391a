package jetstream

import (
	"slices"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// settled waits until PullSettled returns n events.
func settled(t *testing.T, b *Broker, limit, n int) []uint64 {
	t.Helper()
	var seqs []uint64
	eventually(t, "settled events", func() bool {
		ds, err := b.PullSettled(t.Context(), limit)
		if err != nil {
			t.Fatal(err)
		}
		seqs = seqs[:0]
		for _, d := range ds {
			seqs = append(seqs, d.Sequence)
			if d.Fault != nil || d.Key == "" || len(d.Body) == 0 || d.AckTo != "" {
				t.Fatalf("settled event %+v", d)
			}
		}
		return len(seqs) == n
	})
	return seqs
}

func TestReconcilerFollowsTheAckFloorInOrder(t *testing.T) {
	onBackends(t, func(t *testing.T, cfg Config) {
		b := open(t, cfg)
		if ds, err := b.PullSettled(t.Context(), 10); err != nil || len(ds) != 0 {
			t.Fatalf("PullSettled of nothing = %v, %v", ds, err)
		}
		publishN(t, b, 10)
		ds := pullN(t, b, 10)
		ack := event.Verdict{Action: event.Ack}
		settle(t, b, ack, ds[0], ds[1], ds[2], ds[4], ds[6])
		if got, want := settled(t, b, 10, 3), []uint64{1, 2, 3}; !slices.Equal(got, want) {
			t.Errorf("settled %v, want %v", got, want)
		}
		if got, want := settled(t, b, 2, 2), []uint64{1, 2}; !slices.Equal(got, want) {
			t.Errorf("before Verified: %v, want %v again", got, want)
		}
		if err := b.Verified(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		settle(t, b, ack, ds[3])
		if got, want := settled(t, b, 10, 3), []uint64{3, 4, 5}; !slices.Equal(got, want) {
			t.Errorf("settled %v, want %v", got, want)
		}
		if err := b.Verified(t.Context(), 5); err != nil {
			t.Fatal(err)
		}
		closeBroker(t, b)

		b = open(t, cfg)
		if err := b.Verified(t.Context(), 1); err != nil { // too late to matter
			t.Fatal(err)
		}
		settle(t, b, ack, ds[5], ds[7], ds[8], ds[9])
		if got, want := settled(t, b, 10, 5), []uint64{6, 7, 8, 9, 10}; !slices.Equal(got, want) {
			t.Errorf("after a restart: %v, want %v", got, want)
		}
	})
}

func TestReconcilerWaitsForAdvisories(t *testing.T) {
	t.Parallel()
	b := open(t, testConfig(t))
	publishN(t, b, 5)
	ds := pullN(t, b, 5)
	settle(t, b, event.Verdict{Action: event.Dead, Code: event.Forged}, ds[2])
	settle(t, b, event.Verdict{Action: event.Ack}, ds[0], ds[1], ds[3], ds[4])
	as, err := b.PullAdvisories(within(t, 30*time.Second), 1)
	if err != nil {
		t.Fatal(err)
	}
	floorReaches(t, b, 5)
	if got, want := settled(t, b, 10, 2), []uint64{1, 2}; !slices.Equal(got, want) {
		t.Errorf("with an advisory for 3 waiting: %v, want %v", got, want)
	}
	if err := b.SettleAdvisory(as[0], true); err != nil {
		t.Fatal(err)
	}
	if got, want := settled(t, b, 10, 5), []uint64{1, 2, 3, 4, 5}; !slices.Equal(got, want) {
		t.Errorf("after it was handled: %v, want %v", got, want)
	}
}

func TestDelayedFloor(t *testing.T) {
	t.Parallel()
	f := delayedFloor{delay: time.Second}
	at := time.Now()
	for _, step := range []struct {
		after  time.Duration
		number uint64
		want   uint64
	}{
		{0, 5, 0}, {500 * time.Millisecond, 8, 0}, {time.Second, 9, 5},
		{1500 * time.Millisecond, 12, 5}, {2 * time.Second, 12, 9}, {3 * time.Second, 4, 4}, {4 * time.Second, 20, 4},
	} {
		if got := f.settled(step.number, at.Add(step.after)); got != step.want {
			t.Errorf("after %v: %d, want %d", step.after, got, step.want)
		}
	}
}
