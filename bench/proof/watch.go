package proof

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// Bounds of the figures that are taken while a load runs.
const (
	watchEvery = 250 * time.Millisecond
	maxSamples = 1000 // past it every second one is dropped, and half as many taken
)

// Sample holds the appliance's own figures at one moment.
type Sample struct {
	At          float64 `json:"atSeconds"`   // since the start of the load
	Unprocessed uint64  `json:"unprocessed"` // accepted and not settled
	Retrying    int64   `json:"retrying"`    // failed, another attempt will follow
	Processed   int64   `json:"processed"`   // since the load began
	DeadLetters int64   `json:"deadLetters"` // since the load began

	verified, last uint64    // stream sequences
	of             time.Time // when the queue was in that state
}

// Watcher takes samples of an appliance's figures while a load runs.
type Watcher struct {
	ledger Ledger
	base   event.StoreCounts // as it was before the load

	mu      sync.Mutex
	start   time.Time
	every   time.Duration
	samples []Sample
}

// NewWatcher returns a watcher of an appliance whose figures are now those given.
func NewWatcher(l Ledger, now Figures) *Watcher {
	return &Watcher{ledger: l, base: now.Store, every: watchEvery}
}

// Run takes samples until ctx ends; one that can't be had is left out. Times count
// from start.
func (w *Watcher) Run(ctx context.Context, start time.Time) {
	w.mu.Lock()
	w.start = start
	w.mu.Unlock()
	for ctx.Err() == nil {
		_, _ = w.sample(ctx)
		w.wait(ctx)
	}
}

// sample takes one sample.
func (w *Watcher) sample(ctx context.Context) (Sample, error) {
	f, err := w.ledger.Figures(ctx)
	if err != nil {
		return Sample{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s := Sample{
		At: time.Since(w.start).Seconds(), Unprocessed: f.Queue.Unprocessed(),
		Retrying: f.Store.Records[event.Failed], Processed: f.Store.Records[event.Processed] - w.base.Records[event.Processed],
		DeadLetters: letterCount(&f.Store) - letterCount(&w.base),
		verified:    f.Queue.Verified, last: f.Queue.LastSeq, of: f.Queue.At,
	}
	if w.samples = append(w.samples, s); len(w.samples) > maxSamples {
		w.thin()
	}
	return s, nil
}

// thin drops every second sample.
func (w *Watcher) thin() {
	kept := w.samples[:0]
	for i := 0; i < len(w.samples); i += 2 {
		kept = append(kept, w.samples[i])
	}
	w.samples, w.every = kept, 2*w.every
}

// wait waits until the next sample is due, or until ctx ends.
func (w *Watcher) wait(ctx context.Context) {
	w.mu.Lock()
	timer := time.NewTimer(w.every)
	w.mu.Unlock()
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Last returns the latest sample.
func (w *Watcher) Last() (s Sample) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.samples); n > 0 {
		s = w.samples[n-1]
	}
	return s
}

// Samples returns every sample that was kept.
func (w *Watcher) Samples() []Sample {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.samples
}

func letterCount(c *event.StoreCounts) (n int64) {
	for _, of := range c.DeadLetters {
		n += of
	}
	return n
}

// Drained returns the largest backlog that was seen, and how many events of it were
// drained in a second until none was left; 0 when that was not seen.
func Drained(samples []Sample) (most uint64, perSecond float64) {
	var at float64
	for _, s := range samples {
		if s.Unprocessed > most {
			most, at, perSecond = s.Unprocessed, s.At, 0
		}
		if s.Unprocessed == 0 && perSecond == 0 && s.At > at {
			perSecond = float64(most) / (s.At - at)
		}
	}
	return most, perSecond
}

// NotDrainedError is the error of a backlog that did not drain in time.
type NotDrainedError struct {
	after            time.Duration
	verified, queued uint64 // stream sequences
}

func (e *NotDrainedError) Error() string {
	return fmt.Sprintf("the backlog did not drain in time: after %v, %d of %d queued events have a verified outcome", e.after, e.verified, e.queued)
}

// Open returns how many outcomes are not verified, at least 1: of a queue whose state
// was not available in time none is.
func (e *NotDrainedError) Open() uint64 { return max(1, e.queued-min(e.queued, e.verified)) }

// WaitDrained waits until everything that is on the queue now has its verified
// outcome: the reconciler has found the outcome of each sequence up to there. Its
// error is a [NotDrainedError] when that takes longer than timeout. It takes samples
// meanwhile, in place of [Watcher.Run]. The queue's figures may be a second old, so
// those from before the call don't count.
func (w *Watcher) WaitDrained(ctx context.Context, timeout time.Duration) error {
	began := time.Now()
	limit := began.Add(timeout)
	old := func(s Sample) bool { return s.last == 0 || s.of.Before(began) }
	mark, err := w.sample(ctx)
	for now := mark; ; now, err = w.sample(ctx) {
		if old(mark) {
			mark = now
		}
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil && !old(mark) && now.verified >= mark.last:
			return nil
		case time.Now().After(limit) && err != nil:
			return err
		case time.Now().After(limit):
			return &NotDrainedError{timeout, now.verified, mark.last}
		}
		w.wait(ctx)
	}
}
