package process

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// Queue hands out deliveries and takes verdicts.
type Queue interface {
	// Pull blocks until there is at least one delivery and returns up to limit;
	// [event.ErrStopped] when there will be none any more.
	Pull(ctx context.Context, limit int) ([]event.Delivery, error)
	// Settle reports the verdict on a delivery to the broker.
	Settle(d event.Delivery, v event.Verdict) error
	// KeepAlive reports to the broker that the deliveries are still being worked on,
	// so that it does not hand them to another worker.
	KeepAlive(batch []event.Delivery) error
}

// WorkerConfig holds a worker's settings.
type WorkerConfig struct {
	BatchSize int // most deliveries handled at once
	// Pace is how long after the start of a batch the next one starts, at least,
	// unless there was a full one: so that under load a few large batches share
	// the cost of a commit, and its flush, that many small ones would each pay. The
	// first event after a pause does not wait. 0 for no pace.
	Pace time.Duration
	// Pressed reports whether events come in as fast as the machine can take them.
	// Accepting goes before processing then, because what is accepted can't be
	// lost: after each batch the worker rests for [restFactor] times as long as
	// the batch took, but no longer than [longestRest]. Nil for never.
	Pressed func() bool
	// KeepAlive is how often it is reported to the broker that a batch is still being
	// worked on; well under its ack wait.
	KeepAlive time.Duration
}

// Worker takes batches from the queue to the handler, one at a time. Several may
// run beside each other.
type Worker struct {
	Queue     Queue
	Handler   *Handler
	Config    WorkerConfig
	Log       *slog.Logger
	Heartbeat *Heartbeat

	reached bool      // the store answered last time
	asking  *pause    // between asking it, while it does not
	due     time.Time // when the next batch may start
}

const (
	// pullPatience bounds one wait for deliveries, so that an idle worker shows
	// that it is alive.
	pullPatience = 2 * time.Second
	// restFactor and longestRest say how much of a worker's time is left for
	// processing while the intake is pressed: an eighth, or more.
	restFactor  = 7
	longestRest = 200 * time.Millisecond
	// drainPatience is how long a worker that stops waits for what the queue has
	// handed out already.
	drainPatience = 20 * time.Millisecond
)

// Run works until ctx ends, then handles what the queue has handed out already,
// because that has spent an attempt, and returns. It is safe to end it in any
// other way as well: what was not settled comes again.
func (w *Worker) Run(ctx context.Context) error {
	hard := context.WithoutCancel(ctx)
	defer w.Heartbeat.signal(phaseStopped)
	pause := newPause()
	for ctx.Err() == nil {
		if !w.storeAnswers(ctx) {
			continue
		}
		w.Heartbeat.release()
		w.Heartbeat.signal(phasePulling)
		w.gather(ctx)
		batch, err := w.pull(ctx, pullPatience)
		if errors.Is(err, event.ErrStopped) {
			return nil
		}
		if err != nil {
			w.Log.Warn("can't pull from the queue, trying again", "error", err)
			pause.wait(ctx)
			continue
		}
		if len(batch) > 0 {
			pause.reset()
			began := time.Now()
			w.work(ctx, hard, batch)
			w.due = w.next(began, time.Now(), len(batch) == w.Config.BatchSize)
		}
	}
	for {
		batch, err := w.pull(hard, drainPatience)
		if err != nil || len(batch) == 0 {
			return nil
		}
		w.work(ctx, hard, batch)
	}
}

// next returns when the next batch is due, after one that took from began to now.
func (w *Worker) next(began, now time.Time, full bool) time.Time {
	due := now
	if !full {
		due = began.Add(w.Config.Pace)
	}
	if w.Config.Pressed != nil && w.Config.Pressed() {
		rest := min(restFactor*now.Sub(began), longestRest)
		if rested := now.Add(rest); rested.After(due) {
			due = rested
		}
	}
	return due
}

// gather waits until the next batch is due.
func (w *Worker) gather(ctx context.Context) {
	if wait := time.Until(w.due); wait > 0 {
		sleep(ctx, wait)
	}
}

// storeAnswers reports whether the store can be reached; otherwise it has waited.
// Once it was reached, that holds until a batch finds it out of reach. Asking
// before the first pull keeps a process that is restarted repeatedly during an
// outage from spending an attempt of each event it is handed.
func (w *Worker) storeAnswers(ctx context.Context) bool {
	if w.reached {
		return true
	}
	if w.asking == nil {
		w.asking = newPause()
	}
	err := w.Handler.Store.Ping(ctx)
	if err == nil {
		w.reached, w.asking = true, nil
		return true
	}
	if ctx.Err() != nil {
		return false
	}
	w.Heartbeat.hold(err)
	w.Log.Warn("the store is out of reach, not pulling until it is back", "error", err)
	w.asking.wait(ctx)
	return false
}

// pull waits for a batch for a while; none within that time is no error.
func (w *Worker) pull(ctx context.Context, patience time.Duration) ([]event.Delivery, error) {
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	batch, err := w.Queue.Pull(waiting, w.Config.BatchSize)
	if err != nil && waiting.Err() != nil {
		return nil, nil
	}
	return batch, err
}

// work handles one batch to its end, the suspected events of it last, one by one.
func (w *Worker) work(ctx, hard context.Context, batch []event.Delivery) {
	var held atomic.Pointer[[]event.Delivery]
	held.Store(&batch)
	stop := w.keepAlive(&held)
	defer stop()
	others, suspects := w.Handler.suspects(hard, batch)
	if len(others) > 0 && !w.finish(ctx, hard, others, false) {
		return
	}
	for i := range suspects {
		rest := suspects[i:]
		held.Store(&rest)
		if !w.finish(ctx, hard, rest[:1], true) {
			return
		}
	}
}

// finish handles events together, or one exclusively, and settles them. While a
// dependency is down it keeps them and tries again; when ctx ends meanwhile they stay
// unsettled, and it reports false. A batch that keeps failing while the store works is
// bisected.
func (w *Worker) finish(ctx, hard context.Context, batch []event.Delivery, exclusive bool) bool {
	pause, failures := newPause(), 0
	for {
		w.Heartbeat.signal(phaseWorking)
		verdicts, err := w.handle(hard, batch, exclusive)
		if failures++; !throttled(err) && !w.Handler.mayBeAtFault(hard, err) {
			failures = 0
		}
		if failures >= manyFailures {
			verdicts, err = w.bisect(ctx, hard, batch, err)
		}
		if err == nil {
			w.reached = true
			w.settle(batch, verdicts)
			w.Heartbeat.handled(len(batch))
			return true
		}
		w.Heartbeat.hold(err)
		w.reached = false
		w.Log.Warn("the store can't be used, holding the batch and trying again", "events", len(batch), "error", err)
		pause.wait(ctx)
		if ctx.Err() != nil {
			return false
		}
	}
}

func (w *Worker) settle(batch []event.Delivery, verdicts []event.Verdict) {
	for i, d := range batch {
		if err := w.Queue.Settle(d, verdicts[i]); err != nil {
			w.Log.Warn("can't settle a delivery, it will come again", "sequence", d.Sequence, "error", err)
		}
	}
}

// keepAlive signals progress on what is held until the returned function is called.
func (w *Worker) keepAlive(held *atomic.Pointer[[]event.Delivery]) (stop func()) {
	return repeatEvery(w.Config.KeepAlive, func() {
		if err := w.Queue.KeepAlive(*held.Load()); err != nil {
			w.Log.Warn("can't keep a batch alive, it may come again", "error", err)
		}
	})
}

// repeatEvery calls do every so often until the returned function is called.
func repeatEvery(often time.Duration, do func()) (stop func()) {
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(often)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				do()
			}
		}
	}()
	return func() { close(done) }
}

// pause is a growing wait between tries at something that keeps failing.
type pause struct{ next time.Duration }

// The bounds of a pause, and so of how late an outage's end is noticed.
const (
	shortestPause = 50 * time.Millisecond
	longestPause  = 2 * time.Second
)

func newPause() *pause { return &pause{next: shortestPause} }

func (p *pause) reset() { p.next = shortestPause }

// wait blocks for the pause or until ctx ends, and doubles the next one.
func (p *pause) wait(ctx context.Context) {
	sleep(ctx, p.next)
	p.next = min(2*p.next, longestPause)
}

// sleep blocks for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
