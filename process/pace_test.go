package process

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// pulls is a queue that hands out batches of given sizes and notes when it was
// asked for each.
type pulls struct {
	*fakeQueue
	sizes []int
	asked []time.Time
	next  func() event.Delivery
}

func (p *pulls) Pull(ctx context.Context, _ int) ([]event.Delivery, error) {
	if len(p.asked) == len(p.sizes) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	batch := make([]event.Delivery, p.sizes[len(p.asked)])
	for i := range batch {
		batch[i] = p.next()
	}
	p.asked = append(p.asked, time.Now())
	return batch, nil
}

// TestBatchesThatAreNotFullArePaced: the first batch starts at once, the ones
// behind a small batch wait, the ones behind a full batch don't.
func TestBatchesThatAreNotFullArePaced(t *testing.T) {
	d := newFixture(t)
	synctest.Test(t, func(t *testing.T) {
		const pace = 40 * time.Millisecond
		n := 0
		p := &pulls{fakeQueue: newFakeQueue(), sizes: []int{1, 2, 4, 4, 1}, next: func() event.Delivery {
			n++
			return d.arrives("k"+time.Duration(n).String(), "s", "in_transit", noon)
		}}
		w := &Worker{
			Queue: p, Handler: d.Handler, Log: slog.New(slog.DiscardHandler), Heartbeat: &Heartbeat{},
			Config: WorkerConfig{BatchSize: 4, Pace: pace, KeepAlive: time.Second},
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		start := time.Now()
		go func() { done <- w.Run(ctx) }()
		time.Sleep(time.Second) // of the bubble's own time
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		for i, want := range []time.Duration{0, pace, 2 * pace, 2 * pace, 2 * pace} {
			if got := p.asked[i].Sub(start); got != want {
				t.Errorf("batch %d started after %v, want %v", i+1, got, want)
			}
		}
	})
}

func TestWorkerRestsWhileTheIntakeIsPressed(t *testing.T) {
	t.Parallel()
	began := noon
	for _, tt := range []struct {
		name          string
		pressed, full bool
		took, want    time.Duration // until the batch ended, until the next is due
	}{
		{"calm, small", false, false, 10 * time.Millisecond, 40 * time.Millisecond},
		{"calm, small and slow", false, false, 50 * time.Millisecond, 40 * time.Millisecond}, // which is past: at once
		{"calm, full", false, true, 10 * time.Millisecond, 10 * time.Millisecond},
		{"pressed, small", true, false, 4 * time.Millisecond, 40 * time.Millisecond},
		{"pressed, small and slow", true, false, 10 * time.Millisecond, 80 * time.Millisecond},
		{"pressed, full", true, true, 20 * time.Millisecond, 160 * time.Millisecond},
		{"pressed, slow", true, true, time.Second, 1200 * time.Millisecond},
	} {
		w := &Worker{Config: WorkerConfig{Pace: 40 * time.Millisecond, Pressed: func() bool { return tt.pressed }}}
		if got := w.next(began, began.Add(tt.took), tt.full).Sub(began); got != tt.want {
			t.Errorf("%s: due after %v, want %v", tt.name, got, tt.want)
		}
	}
}
