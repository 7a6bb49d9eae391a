package process

import (
	"context"
	"errors"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// Advisories is the broker's list of events that it will not deliver again.
type Advisories interface {
	// PullAdvisories blocks until there is at least one and returns up to limit;
	// [event.ErrStopped] when there will be none any more.
	PullAdvisories(ctx context.Context, limit int) ([]event.Advisory, error)
	// SettleAdvisory takes it off the list when done, or has it come again.
	SettleAdvisory(a event.Advisory, done bool) error
	// KeepAdvisories reports to the broker that they are still being dealt with, so that
	// it does not hand them to another process.
	KeepAdvisories(held []event.Advisory) error
	// Load returns the stored message at seq; [event.NotFound] when it is gone.
	Load(ctx context.Context, seq uint64) (event.Delivery, error)
}

// DeadLetterer turns the broker's advisories into dead letters: of events whose
// deliveries ran out, whether each attempt failed or the workers died over them. Of each
// it first reads what is known ([DeadLetterer.gather]), then decides (classify), then
// acts ([DeadLetterer.carryOut]).
type DeadLetterer struct {
	Queue   Advisories
	Handler *Handler // has the store; tries some events once more, see [DeadLetterer.retryIsolated]
	// KeepAlive is how often it is reported to the broker that advisories are still
	// being dealt with; well under its ack wait for them.
	KeepAlive time.Duration
}

// advisoryBatch is how many advisories are taken at once.
const advisoryBatch = 64

// Run dead-letters events until ctx ends. An advisory is settled only after its dead
// letter is stored; while the store is down they wait on the broker.
func (l *DeadLetterer) Run(ctx context.Context) error {
	pause := newPause()
	for ctx.Err() == nil {
		batch, err := l.Queue.PullAdvisories(ctx, advisoryBatch)
		if errors.Is(err, event.ErrStopped) {
			return nil
		}
		if err != nil {
			if ctx.Err() == nil {
				l.Handler.Log.Warn("can't read the broker's advisories, trying again", "error", err)
				pause.wait(ctx)
			}
			continue
		}
		l.work(ctx, batch, pause)
	}
	return nil
}

// work settles one batch. The advisories that wait are kept alive: a process that got
// one as well would take the attempt that is under way here for one that was the end.
func (l *DeadLetterer) work(ctx context.Context, batch []event.Advisory, pause *pause) {
	var held atomic.Pointer[[]event.Advisory]
	held.Store(&batch)
	stop := repeatEvery(l.KeepAlive, func() {
		if err := l.Queue.KeepAdvisories(*held.Load()); err != nil {
			l.Handler.Log.Warn("can't keep advisories alive, they may come again", "error", err)
		}
	})
	defer stop()
	for i, a := range batch {
		rest := batch[i+1:]
		done := l.settle(ctx, a)
		held.Store(&rest)
		if done {
			pause.reset()
		} else {
			pause.wait(ctx)
		}
	}
}

// settle handles one advisory and reports whether it is done with.
func (l *DeadLetterer) settle(ctx context.Context, a event.Advisory) bool {
	err := l.conclude(ctx, a)
	if err != nil {
		l.Handler.Log.Warn("can't dead-letter an event yet", "sequence", a.Sequence, "error", err)
	}
	if serr := l.Queue.SettleAdvisory(a, err == nil); serr != nil {
		l.Handler.Log.Warn("can't settle an advisory, it will come again", "sequence", a.Sequence, "error", serr)
	}
	return err == nil
}

// conclude brings the event of an advisory to its end. An error means that nothing is
// decided yet.
func (l *DeadLetterer) conclude(ctx context.Context, a event.Advisory) error {
	f, err := l.gather(ctx, a)
	if err != nil {
		return err
	}
	c := classify(f)
	if c == retryOnce {
		if done, err := l.retryIsolated(ctx, f.delivery, f.row); done || err != nil {
			return err
		}
		if f.row, err = l.record(ctx, f.delivery); err != nil {
			return err
		}
		f.retried = true
		c = classify(f)
	}
	return l.carryOut(ctx, f, c)
}

// facts are all that is known of an event that the broker will not deliver again.
type facts struct {
	advisory   event.Advisory
	delivery   event.Delivery
	gone       bool         // the stream does not hold the event any more
	genuine    bool         // an envelope with a valid stamp
	row        event.Record // of the ledger, a new one when there is none
	unreadable error        // why the row can't be read; nil when it can
	retried    bool         // tried once more by retryIsolated, without an outcome
}

// gather reads what is known, and no more than classify needs: the ledger only for a
// genuine event whose deliveries ran out.
func (l *DeadLetterer) gather(ctx context.Context, a event.Advisory) (f facts, err error) {
	f.advisory = a
	f.delivery, err = l.Queue.Load(ctx, a.Sequence)
	if event.CodeOf(err) == event.NotFound {
		f.gone = true
		return f, nil
	}
	if err != nil {
		return f, err
	}
	f.delivery.Attempt = a.Deliveries
	f.genuine = f.delivery.Fault == nil && l.Handler.Stamper.Verify(&f.delivery.Envelope)
	if a.Terminated || !f.genuine {
		return f, nil
	}
	f.row, err = l.record(ctx, f.delivery)
	if event.CodeOf(err) == event.Internal {
		f.unreadable, err = err, nil
	}
	return f, err
}

// conclusion is what becomes of an event that the broker will not deliver again.
type conclusion uint8

const (
	reportGone           conclusion = iota // there is nothing left to make a dead letter of
	confirmLetter                          // a worker gave it up: store the letter in case that worker could not
	deadLetterForged                       // a letter without a ledger row, which a forgery must not touch
	deadLetterUnreadable                   // a letter without a ledger row, which can't be updated
	nothingToDo                            // it has its outcome, or another copy of it will
	retryOnce                              // its deliveries may have run out because of another event: see quarantine
	deadLetterUnread                       // a letter and a row, without reading the event, which may have ended the process
	deadLetterExhausted                    // a letter and a row
)

// classify decides what becomes of an event, from what is known of it alone.
func classify(f facts) conclusion {
	unanswered := f.advisory.Unanswered
	switch {
	case f.gone:
		return reportGone
	case f.advisory.Terminated:
		return confirmLetter
	case !f.genuine:
		return deadLetterForged
	case f.unreadable != nil:
		return deadLetterUnreadable
	case ended(f.row, f.delivery):
		return nothingToDo
	case unanswered && begunExclusively(f.row, f.delivery):
		return deadLetterUnread
	case unanswered && !f.retried:
		return retryOnce
	default:
		return deadLetterExhausted
	}
}

// carryOut does what was concluded. A letter that exists stays as it is.
func (l *DeadLetterer) carryOut(ctx context.Context, f facts, c conclusion) error {
	switch c {
	case nothingToDo:
		return nil
	case reportGone:
		l.Handler.Metrics.lostBodies.Inc()
		l.Handler.Log.Error("an exhausted event is no longer in the stream, its dead letter can't be made", "sequence", f.advisory.Sequence)
		return nil
	case confirmLetter:
		return l.storeLetter(ctx, f.delivery, event.Code(f.advisory.Reason), "given up by a worker")
	case deadLetterForged:
		return l.storeLetter(ctx, f.delivery, event.Forged, "no valid stamp, and its deliveries ran out")
	case deadLetterUnreadable:
		return l.storeLetter(ctx, f.delivery, event.AttemptsExhausted, "its ledger row can't be read: "+reason(f.unreadable))
	default:
		return l.deadLetter(ctx, f.delivery, f.row, c == deadLetterUnread)
	}
}

// storeLetter stores a dead letter without touching the ledger.
func (l *DeadLetterer) storeLetter(ctx context.Context, d event.Delivery, code event.Code, message string) error {
	letter := newDeadLetter(&d, code, message, l.Handler.Now())
	return commitOne(ctx, l.Handler.Store, event.Change{DeadLetters: []event.DeadLetter{letter}})
}

// deadLetter stores the letter of an event whose deliveries ran out, and its row r. With
// unread the event itself is not read.
func (l *DeadLetterer) deadLetter(ctx context.Context, d event.Delivery, r event.Record, unread bool) error {
	now := l.Handler.Now()
	e := event.Event{Type: r.EventType, OccurredAt: r.OccurredAt, ShipmentID: r.ShipmentID}
	if e.Type == "" && !unread {
		e = l.read(&d)
	}
	r.EventID, r.EventType, r.OccurredAt, r.ShipmentID = d.EventID, e.Type, e.OccurredAt, e.ShipmentID
	r.Attempts = closeLost(r.Attempts, d.Attempt, r.Sequence != d.Sequence, now)
	r.Sequence, r.Replay = d.Sequence, d.Replay
	message := exhaustedReason(d.Attempt, r.Attempts)
	end(&r, event.DeadLettered, event.GaveUp, event.AttemptsExhausted, message, now)
	letter := newDeadLetter(&d, event.AttemptsExhausted, message, now)
	letter.ShipmentID, letter.Attempts = e.ShipmentID, r.Attempts
	change := event.Change{Records: []event.Record{r}, DeadLetters: []event.DeadLetter{letter}}
	if err := commitOne(ctx, l.Handler.Store, change); err != nil {
		return err
	}
	countDeadLetter(l.Handler.Metrics, l.Handler.Log, &d, event.AttemptsExhausted, message)
	return nil
}

// read returns of a body, faulty or not, what can be read. A reader that panics is
// what may have used the deliveries up; its event is dead-lettered all the same, without
// what its body would say.
func (l *DeadLetterer) read(d *event.Delivery) (e event.Event) {
	defer func() {
		if cause := recover(); cause != nil {
			l.Handler.Log.Error("the body of an exhausted event can't be read, its reader panicked",
				"sequence", d.Sequence, "cause", cause, "stack", string(debug.Stack()))
			e = event.Event{}
		}
	}()
	_ = l.Handler.Read(&d.Envelope, &e, nil) // with faults e has what could be read
	return e
}

// record returns the delivery's ledger row, a new one when there is none.
func (l *DeadLetterer) record(ctx context.Context, d event.Delivery) (event.Record, error) {
	rows, err := l.Handler.Store.Records(ctx, []event.Identity{d.Identity()})
	if err != nil {
		return event.Record{}, err
	}
	if len(rows) > 0 {
		return rows[0], nil
	}
	return event.Record{
		Identity: d.Identity(), BodyHash: event.BodyHash(d.Body), TraceID: d.TraceID, ReceivedAt: d.ReceivedAt,
	}, nil
}

// ended reports whether the outcome of d's identity does not depend on d any more: it
// is known, or depends on a later entry, or on another body.
func ended(r event.Record, d event.Delivery) bool {
	replayed := d.Replay != "" && d.Replay != r.Replay
	return r.Status.Terminal() && !replayed ||
		r.Sequence > d.Sequence ||
		r.Sequence != d.Sequence && r.BodyHash != event.BodyHash(d.Body)
}
