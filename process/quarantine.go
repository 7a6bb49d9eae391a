package process

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"

	"github.com/fincart/courier-gateway/ingest/event"
)

// quarantine is how an event that harms others, or may, is handled apart from them.
// All of it is in this file. It has six triggers:
//
//	trigger                          mechanism                               attempt spent
//	-------------------------------  --------------------------------------  ------------------------------
//	a commit fails that applies      isolated: each is applied by itself in  by one that fails by itself
//	several events                   the rounds that follow
//	a batch fails three times in a   bisect: its halves are handled, then    by the events found, see
//	row while the store works        theirs, down to the events behind it    failSuspect; by no other
//	the store asks for less          bisect, into batches that it takes      by none
//	the handler panics               each event is handed in by itself       by one that panics by itself
//	an event comes late, and the     suspects: it is handled exclusively,    as by any other failure, but
//	attempt before it ended without  nothing beside it in this process,      the ledger has the attempt
//	a report                         after the others of its batch           before it begins
//	its deliveries ran out, the last retryIsolated: it is handled            one more than MaxAttempts, in
//	of them unanswered, and none was exclusively once more, by the           the ledger before it begins
//	begun exclusively                DeadLetterer
//
// The last two are for an event that ends the process: it takes all memory there is,
// or meets an error that Go can't recover from. Each such end spends an attempt of
// everything that was handed out, up to a thousand events that have nothing to do with
// it, and after five of them all would be exhausted together. An open last attempt in
// the ledger says that its event was being handled exclusively when the process ended;
// whatever else was handed out has none, and is tried once more.
//
// Its lock is held for reading over every batch, for writing over an exclusive event.
type quarantine struct{ mu sync.RWMutex }

// enter waits until a batch may be handled, or an event exclusively, with nothing beside
// it in this process, until leave is called.
func (q *quarantine) enter(exclusive bool) (leave func()) {
	if exclusive {
		q.mu.Lock()
		return q.mu.Unlock
	}
	q.mu.RLock()
	return q.mu.RUnlock
}

// suspectFrom is the attempt from which on an event is suspected. The first process
// may have been killed from outside, and so may the second.
const suspectFrom = 3

// manyFailures is how often in a row a batch has to fail while the store works before
// one of its events is suspected.
const manyFailures = 3

// isolate returns a group's jobs as failed when its one job is behind err, because its
// change was the only one of the commit or the job has been isolated before; otherwise
// the jobs are marked to be applied one by one in the rounds that follow.
func isolate(g *group, err error, only bool) []failure {
	if len(g.jobs) == 1 && (only || g.jobs[0].isolated) {
		return []failure{{g.jobs[0], err}}
	}
	for _, j := range g.jobs {
		j.isolated = true
	}
	return nil
}

// mayBeAtFault reports whether the batch itself may be the reason that nothing could be
// decided about it: the answer took too long, or made no sense, and yet the store
// works. When the store reports trouble of its own (no primary, no majority, a full
// disk) it is never the batch.
func (h *Handler) mayBeAtFault(ctx context.Context, err error) bool {
	if err == nil || isDown(err) && !errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	return ctx.Err() == nil && storeWorks(ctx, h.Store)
}

// bisect handles the halves of a batch that has just failed with cause while the
// store works, and halves those that fail the same way, down to the events behind
// it: they have spent their attempt, all others are handled. A store that asks for less
// is given less in the same way, and no event is behind that. When something else
// goes wrong meanwhile, or ctx ends, nothing is decided.
func (w *Worker) bisect(ctx, hard context.Context, batch []event.Delivery, cause error) (verdicts []event.Verdict, err error) {
	if len(batch) == 1 {
		if throttled(cause) {
			return nil, cause
		}
		v, err := w.Handler.failSuspect(hard, batch[0], cause)
		return []event.Verdict{v}, err
	}
	half := len(batch) / 2
	for _, part := range [][]event.Delivery{batch[:half], batch[half:]} {
		w.Heartbeat.signal(phaseWorking)
		decided, err := w.handle(hard, part, false)
		if ctx.Err() == nil && (throttled(err) || w.Handler.mayBeAtFault(hard, err)) {
			decided, err = w.bisect(ctx, hard, part, err)
		}
		if err != nil {
			return nil, err
		}
		verdicts = append(verdicts, decided...)
	}
	return verdicts, nil
}

// failSuspect is the verdict on an event that can't be decided while the store works:
// its attempt has failed, and is so recorded in the ledger, as far as its row can be
// read. A store that can't be used for that row either, or takes too long for it, is at
// fault itself although it takes the write of storeWorks, which changes nothing: then
// nothing is decided, and no attempt is spent.
func (h *Handler) failSuspect(ctx context.Context, d event.Delivery, cause error) (event.Verdict, error) {
	if isDown(cause) {
		cause = &event.Error{Code: event.Timeout, Op: "process an event", Err: cause}
	}
	j := &job{Delivery: d, hash: event.BodyHash(d.Body)}
	rows, err := readLedger(ctx, h.Store, []*job{j})
	j.record = rows[j.Identity()]
	if code, _ := h.inspect(j); err == nil && code == "" && checkLedger(j) == proceed {
		startAttempt(j, h.Now())
		err = h.recordFailures(ctx, []failure{{j, cause}})
	}
	if isDown(err) || event.CodeOf(err) == event.Timeout {
		return event.Verdict{}, err
	}
	if !j.decided {
		h.Log.Warn("attempt failed and could not be recorded in the ledger, the event will be tried again",
			append(attrs(&j.Delivery), "code", string(event.CodeOf(cause)), "error", errors.Join(cause, err))...)
		j.decide(h.retry(j, event.CodeOf(cause)))
	}
	return j.verdict, nil
}

var errPanicked = errors.New("the handler panicked")

// handleRecovering is handle, and turns a panic into [errPanicked].
func (h *Handler) handleRecovering(ctx context.Context, batch []event.Delivery, exclusive bool) (verdicts []event.Verdict, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			h.Log.Error("the handler panicked", "events", len(batch), "sequence", batch[0].Sequence,
				"cause", cause, "stack", string(debug.Stack()))
			verdicts, err = nil, errPanicked
		}
	}()
	return h.handle(ctx, batch, exclusive)
}

// handle hands a batch to the handler. When that panics it handles the events one by
// one, so that only those that make it panic are tried again.
func (w *Worker) handle(ctx context.Context, batch []event.Delivery, exclusive bool) ([]event.Verdict, error) {
	verdicts, err := w.Handler.handleRecovering(ctx, batch, exclusive)
	if !errors.Is(err, errPanicked) {
		return verdicts, err
	}
	if len(batch) == 1 {
		return []event.Verdict{w.Handler.retry(&job{Delivery: batch[0]}, event.Internal)}, nil
	}
	for i := range batch {
		one, err := w.handle(ctx, batch[i:i+1], exclusive)
		if err != nil {
			return nil, err
		}
		verdicts = append(verdicts, one...)
	}
	return verdicts, nil
}

// suspects takes the suspected deliveries out of a batch. When the ledger can't be
// read they are all that come late: by the time they are handled it may be readable
// again, and one of them may be what ends the process.
func (h *Handler) suspects(ctx context.Context, batch []event.Delivery) (others, suspects []event.Delivery) {
	var late []*job
	for _, d := range batch {
		if d.Attempt > 1 && d.Attempt >= min(suspectFrom, h.Policy.MaxAttempts) {
			late = append(late, &job{Delivery: d})
		}
	}
	if len(late) == 0 {
		return batch, nil
	}
	rows := h.readRecovering(ctx, late)
	suspected := map[uint64]bool{}
	for _, j := range late {
		suspected[j.Sequence] = !reported(rows[j.Identity()], j.Delivery)
	}
	for _, d := range batch {
		if suspected[d.Sequence] {
			suspects = append(suspects, d)
		} else {
			others = append(others, d)
		}
	}
	return others, suspects
}

// readRecovering returns the ledger rows of the jobs' identities, none when they can't be
// read. A store that panics over one of them does so again when the worker hands that one
// in, which recovers from it.
func (h *Handler) readRecovering(ctx context.Context, jobs []*job) (rows map[event.Identity]event.Record) {
	defer func() {
		if recover() != nil {
			rows = nil
		}
	}()
	rows, _ = readLedger(ctx, h.Store, jobs)
	return rows
}

// reported reports whether the attempt before d's failed in a worker that could record it.
func reported(r event.Record, d event.Delivery) bool {
	last := len(r.Attempts) - 1
	return r.Sequence == d.Sequence && last >= 0 &&
		r.Attempts[last].Number == d.Attempt-1 && r.Attempts[last].Outcome == event.WillRetry
}

// begunExclusively reports whether d's last attempt was begun exclusively: its deliveries are
// used up, and it may be what ended the process.
func begunExclusively(r event.Record, d event.Delivery) bool {
	last := len(r.Attempts) - 1
	return r.Sequence == d.Sequence && last >= 0 && r.Attempts[last].Number >= d.Attempt
}

// retryIsolated tries an event once more whose deliveries ran out beside others, and
// reports whether it has its outcome. The attempt is in the ledger before anything of the
// event is looked at, so that there is no second one should the process end over it.
// While the store can't be used it waits.
func (l *DeadLetterer) retryIsolated(ctx context.Context, d event.Delivery, r event.Record) (done bool, err error) {
	d.Attempt++
	j := &job{
		Delivery: d, hash: event.BodyHash(d.Body), record: r,
		event: event.Event{Type: r.EventType, OccurredAt: r.OccurredAt, ShipmentID: r.ShipmentID},
	}
	startAttempt(j, l.Handler.Now())
	if err := commitOne(ctx, l.Handler.Store, event.Change{Records: []event.Record{j.record}}); err != nil {
		return false, err
	}
	hard := context.WithoutCancel(ctx) // what has begun is brought to its end
	failures := 0
	for pause := newPause(); ; pause.wait(ctx) {
		verdicts, err := l.Handler.handleRecovering(hard, []event.Delivery{d}, true)
		if failures++; !l.Handler.mayBeAtFault(hard, err) {
			failures = 0
		}
		switch {
		case err == nil:
			return verdicts[0].Action != event.Retry, nil
		case errors.Is(err, errPanicked) || failures >= manyFailures:
			return false, nil
		case ctx.Err() != nil:
			return false, err
		}
	}
}
