package bench

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

// Sample is what the appliance said of itself at one moment.
type Sample struct {
	At          float64 `json:"atSeconds"`   // since the start of the load
	Unprocessed uint64  `json:"unprocessed"` // accepted and not settled
	Retrying    int64   `json:"retrying"`    // failed, another attempt will follow
	Processed   int64   `json:"processed"`   // since the load began
	DeadLetters int64   `json:"deadLetters"` // since the load began

	verified, last uint64    // stream sequences
	of             time.Time // when the queue was in that state
}

// watcher looks at an appliance's figures every so often.
type watcher struct {
	admin *admin
	base  event.StoreCounts // as it was before the load

	mu      sync.Mutex
	start   time.Time
	every   time.Duration
	samples []Sample
	missed  int // looks without an answer
}

// newWatcher asks the appliance a first time, so that an admin listener which
// can't be asked shows before anything is sent.
func newWatcher(ctx context.Context, a *admin) (*watcher, error) {
	s, err := a.status(ctx)
	if err != nil {
		return nil, err
	}
	return &watcher{admin: a, base: *s.Store, every: watchEvery}, nil
}

// run looks until ctx ends. Times count from start.
func (w *watcher) run(ctx context.Context, start time.Time) {
	w.mu.Lock()
	w.start = start
	w.mu.Unlock()
	for ctx.Err() == nil {
		_, err := w.look(ctx)
		if err != nil && ctx.Err() == nil {
			w.mu.Lock()
			w.missed++
			w.mu.Unlock()
		}
		rest(ctx, w.pace())
	}
}

// look takes one sample.
func (w *watcher) look(ctx context.Context) (Sample, error) {
	st, err := w.admin.status(ctx)
	if err != nil {
		return Sample{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s := Sample{
		At: time.Since(w.start).Seconds(), Unprocessed: st.Queue.Unprocessed(),
		Retrying: st.Store.Records[event.Failed], Processed: st.Store.Records[event.Processed] - w.base.Records[event.Processed],
		DeadLetters: letterCount(st.Store) - letterCount(&w.base),
		verified:    st.Queue.Verified, last: st.Queue.LastSeq, of: st.Queue.At,
	}
	if w.samples = append(w.samples, s); len(w.samples) > maxSamples {
		w.thin()
	}
	return s, nil
}

// thin drops every second sample.
func (w *watcher) thin() {
	kept := w.samples[:0]
	for i := 0; i < len(w.samples); i += 2 {
		kept = append(kept, w.samples[i])
	}
	w.samples, w.every = kept, 2*w.every
}

func (w *watcher) pace() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.every
}

// last returns the latest sample.
func (w *watcher) last() (s Sample) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.samples); n > 0 {
		s = w.samples[n-1]
	}
	return s
}

// all returns every sample that was kept.
func (w *watcher) all() []Sample {
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

// workedOff returns the largest backlog that was seen, and how many events of it were
// worked off in a second until none was left; 0 when that was not seen.
func workedOff(samples []Sample) (most uint64, perSecond float64) {
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

// notDrained is the error of a backlog that was not worked off when patience ended.
type notDrained struct {
	patience       time.Duration
	proven, queued uint64 // stream sequences
}

func (e *notDrained) Error() string {
	return fmt.Sprintf("the backlog did not drain in time: after %v, %d of %d queued events have a proven outcome", e.patience, e.proven, e.queued)
}

// open returns how many outcomes are not proven, at least 1: a queue that has not
// told its state in time proves none.
func (e *notDrained) open() uint64 { return max(1, e.queued-min(e.queued, e.proven)) }

// drained waits until everything that is on the queue now has its proven
// outcome: the reconciler has found the outcome of each sequence up to there. Its
// error is a [notDrained] when patience ends before that. It takes samples
// meanwhile, in place of [watcher.run]. The queue's figures may be a
// second old, so it goes by those that are not from before the call.
func (w *watcher) drained(ctx context.Context, patience time.Duration) error {
	began := time.Now()
	limit := began.Add(patience)
	old := func(s Sample) bool { return s.last == 0 || s.of.Before(began) }
	mark, err := w.look(ctx)
	for now := mark; ; now, err = w.look(ctx) {
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
			return &notDrained{patience, now.verified, mark.last}
		}
		rest(ctx, w.pace())
	}
}
