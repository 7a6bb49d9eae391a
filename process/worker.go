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
	// Settle tells the broker the verdict on a delivery.
	Settle(d event.Delivery, v event.Verdict) error
	// KeepAlive tells the broker that the deliveries are still being worked on,
	// so that it does not hand them to another worker.
	KeepAlive(batch []event.Delivery) error
}

// WorkerConfig holds a worker's settings.
type WorkerConfig struct {
	BatchSize int // most deliveries handled at once
	// Pace is how long after the start of a batch the next one starts, at least,
	// unless there was a full one: so that under load a few large batches share
	// the cost of a commit, and its flush, that many small ones would each pay. The
	// first event after a silence waits for nothing. 0 for no pace.
	Pace time.Duration
	// Pressed reports whether events come in as fast as the machine can take them.
	// Accepting goes before processing then, because what is accepted can't be
	// lost: after each batch the worker rests for [restFactor] times as long as
	// the batch took, but no longer than [longestRest]. Nil for never.
	Pressed func() bool
	// KeepAlive is how often the broker is told that a batch is still being
	// worked on; well under its ack wait.
	KeepAlive time.Duration
}

// Worker takes batches from the queue to the handler, one at a time. Several may
// run beside each other.
type Worker struct {
	Queue   Queue
	Handler *Handler
	Config  WorkerConfig
	Log     *slog.Logger
	Pulse   *Pulse

	reached bool      // the store answered last time
	asking  *pause    // between asking it, while it does not
	due     time.Time // when the next batch may start
	alone   bool      // the event in hand is suspected
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
	defer w.Pulse.beat(phaseStopped)
	pause := newPause()
	for ctx.Err() == nil {
		if !w.storeAnswers(ctx) {
			continue
		}
		w.Pulse.release()
		w.Pulse.beat(phasePulling)
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
	wait := time.Until(w.due)
	if wait <= 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// storeAnswers reports whether the store can be reached; otherwise it has waited.
// Once it was reached, that holds until a batch finds it out of reach. Asking
// before the first pull keeps a process that is started again and again during an
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
	w.Pulse.hold(err)
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
	company, suspects := w.Handler.suspects(hard, batch)
	if len(company) > 0 && !w.finish(ctx, hard, company) {
		return
	}
	w.alone = true
	defer func() { w.alone = false }()
	for i := range suspects {
		rest := suspects[i:]
		held.Store(&rest)
		if !w.finish(ctx, hard, rest[:1]) {
			return
		}
	}
}

// finish handles events together and settles them. While a dependency is down it
// keeps them and tries again; when ctx ends meanwhile they stay unsettled, and it
// reports false. Events that keep failing while the store works are taken apart.
func (w *Worker) finish(ctx, hard context.Context, batch []event.Delivery) bool {
	pause, doubts := newPause(), 0
	for {
		w.Pulse.beat(phaseWorking)
		verdicts, err := w.handle(hard, batch)
		if doubts++; !throttled(err) && !w.Handler.doubtful(hard, err) {
			doubts = 0
		}
		if doubts >= manyDoubts {
			verdicts, err = w.apart(ctx, hard, batch, err)
		}
		if err == nil {
			w.reached = true
			w.settle(batch, verdicts)
			w.Pulse.handled(len(batch))
			return true
		}
		w.Pulse.hold(err)
		w.reached = false
		w.Log.Warn("the store can't be used, holding the batch and trying again", "events", len(batch), "error", err)
		pause.wait(ctx)
		if ctx.Err() != nil {
			return false
		}
	}
}

// manyDoubts is how often in a row a batch has to fail while the store works before
// it is the batch that is suspected.
const manyDoubts = 3

// apart handles the halves of a batch that has just failed with cause while the
// store works, and halves those that fail the same way, down to the events behind
// it: they have spent their attempt, all others are handled. A store that asks for less
// is given less in the same way, and no event is behind that. When something else
// goes wrong meanwhile, or ctx ends, nothing is decided.
func (w *Worker) apart(ctx, hard context.Context, batch []event.Delivery, cause error) (verdicts []event.Verdict, err error) {
	if len(batch) == 1 {
		if throttled(cause) {
			return nil, cause
		}
		v, err := w.Handler.blame(hard, batch[0], cause)
		return []event.Verdict{v}, err
	}
	half := len(batch) / 2
	for _, part := range [][]event.Delivery{batch[:half], batch[half:]} {
		w.Pulse.beat(phaseWorking)
		decided, err := w.handle(hard, part)
		if ctx.Err() == nil && (throttled(err) || w.Handler.doubtful(hard, err)) {
			decided, err = w.apart(ctx, hard, part, err)
		}
		if err != nil {
			return nil, err
		}
		verdicts = append(verdicts, decided...)
	}
	return verdicts, nil
}

// handle guards against a handler that panics: the batch is then taken apart, so
// that only the event at fault is tried again.
func (w *Worker) handle(ctx context.Context, batch []event.Delivery) ([]event.Verdict, error) {
	verdicts, err := w.Handler.try(ctx, batch, w.alone)
	if !errors.Is(err, errPanicked) {
		return verdicts, err
	}
	if len(batch) == 1 {
		return []event.Verdict{w.Handler.retry(&job{Delivery: batch[0]}, event.Internal)}, nil
	}
	for i := range batch {
		one, err := w.handle(ctx, batch[i:i+1])
		if err != nil {
			return nil, err
		}
		verdicts = append(verdicts, one...)
	}
	return verdicts, nil
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
	return every(w.Config.KeepAlive, func() {
		if err := w.Queue.KeepAlive(*held.Load()); err != nil {
			w.Log.Warn("can't keep a batch alive, it may come again", "error", err)
		}
	})
}

// every calls do every so often until the returned function is called.
func every(often time.Duration, do func()) (stop func()) {
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

// phase is what a worker is doing.
type phase int32

const (
	phaseStarting phase = iota
	phasePulling
	phaseWorking
	phaseHolding
	phaseStopped
)

func (p phase) String() string {
	return [...]string{"starting", "pulling", "working", "holding", "stopped"}[p]
}

// Pulse is a worker's sign of life. The zero value is that of a worker that has
// not started; it is safe for concurrent use.
type Pulse struct {
	phase  atomic.Int32
	at     atomic.Int64 // Unix nanoseconds of the last sign
	events atomic.Int64
	batch  atomic.Int64
	held   atomic.Pointer[Hold]
}

// Hold is why a worker keeps events without handling them.
type Hold struct {
	Since time.Time
	Cause error // of the latest try
}

// Heartbeat is a reading of a [Pulse].
type Heartbeat struct {
	Phase   string    // starting, pulling, working, holding or stopped
	At      time.Time // of the last sign of life, zero before the first
	Events  int64     // deliveries handled since the start
	Batches int64
	Held    *Hold // nil while events are handled
}

// Read returns the current state.
func (p *Pulse) Read() Heartbeat {
	h := Heartbeat{Phase: phase(p.phase.Load()).String(), Events: p.events.Load(), Batches: p.batch.Load(), Held: p.held.Load()}
	if at := p.at.Load(); at != 0 {
		h.At = time.Unix(0, at)
	}
	return h
}

func (p *Pulse) beat(now phase) { p.phase.Store(int32(now)); p.touch() }

func (p *Pulse) touch() { p.at.Store(time.Now().UnixNano()) }

func (p *Pulse) handled(n int) { p.events.Add(int64(n)); p.batch.Add(1); p.release() }

// hold says that nothing can be handled because of cause.
func (p *Pulse) hold(cause error) {
	since := time.Now()
	if before := p.held.Load(); before != nil {
		since = before.Since
	}
	p.held.Store(&Hold{Since: since, Cause: cause})
	p.beat(phaseHolding)
}

// release says that events are handled again.
func (p *Pulse) release() { p.held.Store(nil) }

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
	timer := time.NewTimer(p.next)
	defer timer.Stop()
	p.next = min(2*p.next, longestPause)
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
