package process

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// newDeadLetter describes a delivery that will not be tried again.
func newDeadLetter(d *event.Delivery, code event.Code, message string, now time.Time) event.DeadLetter {
	headers := map[string]string{}
	for name, value := range d.Headers {
		headers[name] = value
	}
	return event.DeadLetter{
		ID: deadLetterID(d.Sequence, &d.Envelope), Identity: d.Identity(), Sequence: d.Sequence,
		EventID: d.EventID, TraceID: d.TraceID, ReceivedAt: d.ReceivedAt, DeadAt: now,
		Code: code, Message: message, Headers: headers, Body: d.Body,
		ReviewStatus: event.ReviewPending, ReplayOf: d.Replay,
	}
}

// deadLetterID derives the id of the dead letter for the message at seq. The
// same message always has the same id, so that storing it twice is harmless; the
// hash keeps apart messages of a stream that was made again and counts from 1.
func deadLetterID(seq uint64, e *event.Envelope) string {
	h := sha256.New()
	h.Write([]byte(e.Courier + ":" + e.Key + "\n" + e.ReceivedAt.UTC().Format(time.RFC3339Nano) + "\n"))
	h.Write(e.Body)
	return strconv.FormatUint(seq, 10) + "-" + hex.EncodeToString(h.Sum(nil)[:4])
}

// Advisories is the broker's list of events that it will not deliver again.
type Advisories interface {
	// PullAdvisories blocks until there is at least one and returns up to limit;
	// [event.ErrStopped] when there will be none any more.
	PullAdvisories(ctx context.Context, limit int) ([]event.Advisory, error)
	// SettleAdvisory takes it off the list when done, or has it come again.
	SettleAdvisory(a event.Advisory, done bool) error
	// KeepAdvisories tells the broker that they are still being dealt with, so that
	// it does not hand them to another process.
	KeepAdvisories(held []event.Advisory) error
	// Load returns the stored message at seq; [event.NotFound] when it is gone.
	Load(ctx context.Context, seq uint64) (event.Delivery, error)
}

// Mover turns the broker's advisories into dead letters: events whose deliveries
// ran out, whether each attempt failed or the workers died over them.
type Mover struct {
	Queue   Advisories
	Store   Store
	Handler *Handler // for those that have merely stood by, see [Mover.again]
	Stamper *event.Stamper
	Read    Reader
	Log     *slog.Logger
	Metrics *Metrics
	Now     func() time.Time
	// KeepEvery is how often the broker is told that advisories are still being
	// dealt with; well under its ack wait for them.
	KeepEvery time.Duration
}

// moveBatch is how many advisories are taken at once.
const moveBatch = 64

// Run moves events until ctx ends. An advisory is settled only after its dead
// letter is stored; while the store is down they wait on the broker.
func (m *Mover) Run(ctx context.Context) error {
	pause := newPause()
	for ctx.Err() == nil {
		batch, err := m.Queue.PullAdvisories(ctx, moveBatch)
		if errors.Is(err, event.ErrStopped) {
			return nil
		}
		if err != nil {
			if ctx.Err() == nil {
				m.Log.Warn("can't read the broker's advisories, trying again", "error", err)
				pause.wait(ctx)
			}
			continue
		}
		m.work(ctx, batch, pause)
	}
	return nil
}

// work moves one batch. What waits for its turn is kept alive: a process that got it
// as well would take the attempt that is under way here for one that was the end.
func (m *Mover) work(ctx context.Context, batch []event.Advisory, pause *pause) {
	var held atomic.Pointer[[]event.Advisory]
	held.Store(&batch)
	stop := every(m.KeepEvery, func() {
		if err := m.Queue.KeepAdvisories(*held.Load()); err != nil {
			m.Log.Warn("can't keep advisories alive, they may come again", "error", err)
		}
	})
	defer stop()
	for i, a := range batch {
		rest := batch[i+1:]
		done := m.settle(ctx, a)
		held.Store(&rest)
		if done {
			pause.reset()
		} else {
			pause.wait(ctx)
		}
	}
}

// settle moves one event and reports whether its advisory is done with.
func (m *Mover) settle(ctx context.Context, a event.Advisory) bool {
	err := m.move(ctx, a)
	if err != nil {
		m.Log.Warn("can't move an event to the dead letters yet", "sequence", a.Sequence, "error", err)
	}
	if serr := m.Queue.SettleAdvisory(a, err == nil); serr != nil {
		m.Log.Warn("can't settle an advisory, it will come again", "sequence", a.Sequence, "error", serr)
	}
	return err == nil
}

func (m *Mover) move(ctx context.Context, a event.Advisory) error {
	d, err := m.Queue.Load(ctx, a.Sequence)
	if event.CodeOf(err) == event.NotFound {
		m.Metrics.lostBodies.Inc()
		m.Log.Error("an exhausted event is no longer in the stream, its dead letter can't be made", "sequence", a.Sequence)
		return nil
	}
	if err != nil {
		return err
	}
	d.Attempt = a.Deliveries
	if a.Terminated {
		return m.confirm(ctx, d, event.Code(a.Reason))
	}
	return m.exhaust(ctx, d, a.Silent)
}

// confirm stores the letter of an event that a worker gave up, in case that
// worker could not; a letter that exists stays as it is.
func (m *Mover) confirm(ctx context.Context, d event.Delivery, code event.Code) error {
	letter := newDeadLetter(&d, code, "given up by a worker", m.Now())
	return commitOne(ctx, m.Store, event.Change{DeadLetters: []event.DeadLetter{letter}})
}

// exhaust ends an event whose deliveries ran out, unless another copy of it has
// come through meanwhile or is still on its way. With silent nobody has answered the
// last of them, and the event may have been a bystander of another one's end.
func (m *Mover) exhaust(ctx context.Context, d event.Delivery, silent bool) error {
	now := m.Now()
	if d.Fault != nil || !m.Stamper.Verify(&d.Envelope) {
		letter := newDeadLetter(&d, event.Forged, "no valid stamp, and its deliveries ran out", now)
		return commitOne(ctx, m.Store, event.Change{DeadLetters: []event.DeadLetter{letter}})
	}
	r, err := m.record(ctx, d)
	if event.CodeOf(err) == event.Internal { // nobody can update it, so the letter alone has to do
		letter := newDeadLetter(&d, event.AttemptsExhausted, "its ledger row can't be read: "+reason(err), now)
		return commitOne(ctx, m.Store, event.Change{DeadLetters: []event.DeadLetter{letter}})
	}
	if err != nil || ended(r, d) {
		return err
	}
	if silent && !inHand(r, d) {
		if done, err := m.again(ctx, d, r); done || err != nil {
			return err
		}
		if r, err = m.record(ctx, d); err != nil || ended(r, d) {
			return err
		}
	}
	return m.bury(ctx, d, r, silent && inHand(r, d))
}

// bury stores the letter of an event whose deliveries ran out, and its row r. With
// deadly the event itself is not read, for that may be what ended the process.
func (m *Mover) bury(ctx context.Context, d event.Delivery, r event.Record, deadly bool) error {
	now := m.Now()
	e := event.Event{Type: r.EventType, OccurredAt: r.OccurredAt, ShipmentID: r.ShipmentID}
	if e.Type == "" && !deadly {
		e = m.read(&d)
	}
	r.EventID, r.EventType, r.OccurredAt, r.ShipmentID = d.EventID, e.Type, e.OccurredAt, e.ShipmentID
	r.Attempts = closeLost(r.Attempts, d.Attempt, r.Sequence != d.Sequence, now)
	r.Sequence, r.Replay = d.Sequence, d.Replay
	message := exhausted(d.Attempt, r.Attempts)
	end(&r, event.DeadLettered, event.GaveUp, event.AttemptsExhausted, message, now)
	letter := newDeadLetter(&d, event.AttemptsExhausted, message, now)
	letter.ShipmentID, letter.Attempts = e.ShipmentID, r.Attempts
	change := event.Change{Records: []event.Record{r}, DeadLetters: []event.DeadLetter{letter}}
	if err := commitOne(ctx, m.Store, change); err != nil {
		return err
	}
	m.Metrics.deadLettered(event.AttemptsExhausted)
	m.Log.Warn("event dead-lettered", "event_id", d.EventID, "courier", d.Courier, "trace_id", d.TraceID,
		"attempt", d.Attempt, "sequence", d.Sequence, "code", string(event.AttemptsExhausted), "reason", message)
	return nil
}

// read returns of a body, faulty or not, what can be read. A reader that panics is
// what may have used the deliveries up; its event is buried all the same, without
// what its body would say.
func (m *Mover) read(d *event.Delivery) (e event.Event) {
	defer func() {
		if cause := recover(); cause != nil {
			m.Log.Error("the body of an exhausted event can't be read, its reader panicked",
				"sequence", d.Sequence, "cause", cause, "stack", string(debug.Stack()))
			e = event.Event{}
		}
	}()
	_ = m.Read(&d.Envelope, &e, nil) // with faults e has what could be read
	return e
}

// record returns the delivery's ledger row, a new one when there is none.
func (m *Mover) record(ctx context.Context, d event.Delivery) (event.Record, error) {
	rows, err := m.Store.Records(ctx, []event.Identity{d.Identity()})
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

// ended reports whether the outcome of d's identity is none of d's business: it
// is known, or belongs to a later entry, or to another body.
func ended(r event.Record, d event.Delivery) bool {
	replayed := d.Replay != "" && d.Replay != r.Replay
	return r.Status.Terminal() && !replayed ||
		r.Sequence > d.Sequence ||
		r.Sequence != d.Sequence && r.BodyHash != event.BodyHash(d.Body)
}

// exhausted words the reason of a dead letter whose deliveries ran out.
func exhausted(deliveries int, attempts []event.Attempt) string {
	message := strconv.Itoa(deliveries) + " deliveries, none succeeded"
	if len(attempts) == 0 {
		return message
	}
	last := attempts[len(attempts)-1]
	if last.Message == "" {
		return message + "; the last one ended as " + string(last.Outcome)
	}
	return message + "; the last one: " + string(last.Code) + ": " + last.Message
}

// commitOne commits one change and folds both kinds of error into one.
func commitOne(ctx context.Context, store Store, c event.Change) error {
	errs, err := store.Commit(ctx, []event.Change{c})
	if err != nil {
		return err
	}
	return errs[0]
}
