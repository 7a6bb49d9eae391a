package process

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/loss"
)

// Settled is the part of the stream in which every event should have its outcome.
type Settled interface {
	// PullSettled returns, in order, up to limit settled events that are not
	// verified yet; none when there is none. They stay until Verified passes them.
	// Where the stream has no event, the delivery is a gap.
	PullSettled(ctx context.Context, limit int) ([]event.Delivery, error)
	// Verified reports that every event up to seq has its outcome, so that the
	// stream need not keep it for the reconciler's sake.
	Verified(ctx context.Context, seq uint64) error
	// ReportMissing puts sequences that the stream should have and hasn't on the list
	// of losses, durably.
	ReportMissing(ctx context.Context, seqs []uint64) error
	// MissingEvents returns some of what is on that list and was not looked up in the
	// ledger yet; MissingChecked records which of it have their outcome.
	MissingEvents() []loss.Missing
	MissingChecked(m loss.Missing, ended []uint64) error
}

// DeadLetterIndex finds dead letters by their place in the stream and by their id.
type DeadLetterIndex interface {
	// DeadSequences returns those of seqs that a dead letter exists for.
	DeadSequences(ctx context.Context, seqs []uint64) (map[uint64]bool, error)
	// DeadLetter returns one letter, or an error with the code [event.NotFound].
	DeadLetter(ctx context.Context, id string) (event.DeadLetter, error)
}

// EndedEvents finds terminal ledger rows by their place in the stream.
type EndedEvents interface {
	// EndedSequences returns the sequences of the terminal ledger rows that m asks for.
	EndedSequences(ctx context.Context, m loss.Missing) ([]uint64, error)
}

// Reconciler verifies, continuously, that every settled event has a terminal row in
// the ledger or a dead letter, and requeues what has neither, or applies it when the
// queue is full. It is the guard against unforeseen faults: while everything else is
// right it finds nothing.
type Reconciler struct {
	Queue       Settled
	DeadLetters DeadLetterIndex
	Ended       EndedEvents
	Publisher   Publisher
	Handler     *Handler      // has the store; applies what the queue does not take back
	Every       time.Duration // between two looks
	Grace       time.Duration // how long an event may lack an outcome, for the DeadLetterer to end it

	missing map[uint64]time.Time // since when an event is known to lack its outcome
	reached uint64               // the last sequence that was verified since the reconciler last waited
	counts  struct{ verified, checked, requeued, waiting atomic.Int64 }
}

// reconcileBatch bounds how many events are checked with one look-up.
const reconcileBatch = 512

// Run reconciles until ctx ends.
func (r *Reconciler) Run(ctx context.Context) error {
	r.missing = map[uint64]time.Time{}
	tick := time.NewTicker(r.Every)
	defer tick.Stop()
	back := newPause()
	for {
		r.reached = 0
		for more := true; more && ctx.Err() == nil; {
			var err error
			if more, err = r.step(ctx); err != nil && ctx.Err() == nil {
				r.Handler.Log.Warn("can't reconcile now, trying again", "error", err)
			}
			if errors.Is(err, errRepeated) {
				back.wait(ctx)
			} else if !more && err == nil {
				back.reset()
			}
		}
		if err := r.checkMissing(ctx); err != nil && ctx.Err() == nil {
			r.Handler.Log.Warn("can't look up missing events in the ledger now, trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Counts returns the last verified sequence, and how many events were checked,
// requeued, and wait for their outcome. It is safe for concurrent use.
func (r *Reconciler) Counts() (verified uint64, checked, requeued, waiting int64) {
	c := &r.counts
	return uint64(c.verified.Load()), c.checked.Load(), c.requeued.Load(), c.waiting.Load()
}

// step checks one batch and reports whether another one may follow at once.
func (r *Reconciler) step(ctx context.Context) (more bool, err error) {
	batch, err := r.Queue.PullSettled(ctx, reconcileBatch)
	if err != nil || len(batch) == 0 {
		return false, err
	}
	if batch[len(batch)-1].Sequence <= r.reached {
		return false, errRepeated
	}
	if missing := missingOf(batch); len(missing) > 0 {
		if err := r.Queue.ReportMissing(ctx, missing); err != nil {
			return false, err
		}
	}
	lacking, err := r.lacking(ctx, batch)
	if err != nil {
		return false, err
	}
	now := r.Handler.Now()
	for seq, lacks := range lacking { // the grace of all of them runs from now on
		if _, known := r.missing[seq]; lacks && !known {
			r.missing[seq] = now
		}
	}
	for i, d := range batch {
		if !lacking[d.Sequence] {
			continue
		}
		if done, err := r.requeue(ctx, d); err != nil || !done {
			return false, errors.Join(err, r.verify(ctx, batch, i))
		}
	}
	return true, r.verify(ctx, batch, len(batch))
}

// errRepeated is that the queue has returned what was verified a moment ago: its
// position was taken back, or it does not keep it.
var errRepeated = errors.New("the queue returns events again that were verified just now")

// verify reports to the queue that the first n events of a batch have their outcome;
// the others wait for theirs.
func (r *Reconciler) verify(ctx context.Context, batch []event.Delivery, n int) error {
	r.counts.waiting.Store(int64(len(batch) - n))
	if n == 0 {
		return nil
	}
	last := batch[n-1].Sequence
	if err := r.Queue.Verified(ctx, last); err != nil {
		return err
	}
	r.reached = last
	maps.DeleteFunc(r.missing, func(seq uint64, _ time.Time) bool { return seq <= last })
	r.counts.checked.Add(int64(n))
	r.counts.verified.Store(int64(last))
	r.Handler.Metrics.verified.Set(float64(last))
	r.Handler.Metrics.reconciled.Add(float64(n))
	return nil
}

// lacking returns the sequences of the batch that have no outcome.
func (r *Reconciler) lacking(ctx context.Context, batch []event.Delivery) (map[uint64]bool, error) {
	ids := make([]event.Identity, 0, len(batch))
	seen := map[event.Identity]bool{}
	for _, d := range batch {
		if id := d.Identity(); d.Fault == nil && d.Gap == event.NoGap && !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	rows, err := r.readable(ctx, ids)
	if err != nil {
		return nil, err
	}
	terminal := map[event.Identity]bool{}
	for _, row := range rows {
		terminal[row.Identity] = row.Status.Terminal()
	}
	var seqs []uint64
	for _, d := range batch {
		if d.Gap == event.NoGap && !terminal[d.Identity()] {
			seqs = append(seqs, d.Sequence)
		}
	}
	if len(seqs) == 0 {
		return nil, nil
	}
	dead, err := r.DeadLetters.DeadSequences(ctx, seqs)
	if err != nil {
		return nil, err
	}
	lacking := map[uint64]bool{}
	for i := range batch {
		d := &batch[i]
		if d.Gap != event.NoGap || terminal[d.Identity()] {
			continue
		}
		if lacking[d.Sequence] = true; dead[d.Sequence] {
			if lacking[d.Sequence], err = r.isAnother(ctx, d); err != nil {
				return nil, err
			}
		}
	}
	return lacking, nil
}

// isAnother reports whether the dead letter with a delivery's sequence is of another
// event, which the stream has lost: an external broker uses sequences again then.
func (r *Reconciler) isAnother(ctx context.Context, d *event.Delivery) (bool, error) {
	_, err := r.DeadLetters.DeadLetter(ctx, deadLetterID(d.Sequence, &d.Envelope))
	if event.CodeOf(err) == event.NotFound {
		return true, nil
	}
	return false, err
}

// readable returns the ledger rows that can be read. One that can't counts as
// none, and must not keep all the others from being verified.
func (r *Reconciler) readable(ctx context.Context, ids []event.Identity) ([]event.Record, error) {
	rows, err := r.Handler.Store.Records(ctx, ids)
	if event.CodeOf(err) != event.Internal {
		return rows, err
	}
	if len(ids) == 1 {
		r.Handler.Log.Warn("a ledger row can't be read, it counts as none", "courier", ids[0].Courier, "key", ids[0].Key, "error", err)
		return nil, nil
	}
	half := len(ids) / 2
	first, err := r.readable(ctx, ids[:half])
	if err != nil {
		return nil, err
	}
	second, err := r.readable(ctx, ids[half:])
	return append(first, second...), err
}

// requeue publishes an event that lacks its outcome once more, unless it has done
// so for less than the grace. Its nonce is made of the sequence, so that doing it
// twice does it once.
func (r *Reconciler) requeue(ctx context.Context, d event.Delivery) (done bool, err error) {
	now := r.Handler.Now()
	if now.Sub(r.missing[d.Sequence]) < r.Grace {
		return false, nil
	}
	if d.Fault != nil { // no envelope, so it can only be dead-lettered
		letter := newDeadLetter(&d, event.Malformed, "the message is no envelope: "+d.Fault.Error(), now)
		return true, commitOne(ctx, r.Handler.Store, event.Change{DeadLetters: []event.DeadLetter{letter}})
	}
	e := d.Envelope
	e.Replay = "reconcile-" + strconv.FormatUint(d.Sequence, 10)
	if r.Handler.Stamper.Verify(&d.Envelope) {
		r.Handler.Stamper.Stamp(&e) // a forged one stays forged
	}
	receipt, err := r.Publisher.Publish(ctx, &e)
	if err != nil {
		return r.apply(ctx, event.Delivery{Envelope: e, Sequence: d.Sequence, Attempt: 1}, err)
	}
	r.counts.requeued.Add(1)
	r.Handler.Metrics.requeued.Inc()
	r.Handler.Log.Error("a settled event had no outcome, requeued it",
		"event_id", d.EventID, "courier", d.Courier, "trace_id", d.TraceID, "sequence", d.Sequence, "new_sequence", receipt.Sequence)
	return true, nil
}

// apply has the handler decide on an event at once which the queue has refused to
// take back. Waiting for space could take forever: when the stream or the disk is full of
// history that is not verified yet, all of it waits for this event. What the handler
// would try again waits for the next look.
func (r *Reconciler) apply(ctx context.Context, d event.Delivery, refused error) (done bool, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			done, err = false, errors.Join(refused, fmt.Errorf("%w: %v\n%s", errPanicked, cause, debug.Stack()))
		}
	}()
	verdicts, err := r.Handler.Handle(ctx, []event.Delivery{d})
	if err != nil {
		return false, errors.Join(refused, err)
	}
	if v := verdicts[0]; v.Action == event.Retry {
		return false, errors.Join(refused, event.Errorf(v.Code, "reconcile", "can't apply sequence %d either", d.Sequence))
	}
	r.counts.requeued.Add(1)
	r.Handler.Metrics.requeued.Inc()
	r.Handler.Log.Error("a settled event had no outcome and could not be requeued, applied it",
		"event_id", d.EventID, "courier", d.Courier, "trace_id", d.TraceID, "sequence", d.Sequence, "refused", refused)
	return true, nil
}
