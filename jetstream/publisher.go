package jetstream

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/jetstream/dedup"
	"github.com/fincart/courier-gateway/jetstream/durable"
	"github.com/fincart/courier-gateway/jetstream/embedconn"
	"github.com/fincart/courier-gateway/jetstream/external"
	"github.com/fincart/courier-gateway/jetstream/integrity"
)

// publisher sends messages and matches their answers.
//
//	send ─▶ admission ─▶ window: a duplicate? ─▶ slot ─▶ transport ─▶ broker
//	                                               ▲                    │
//	caller ◀─ outcome ◀─ flush of the group ◀─ answered ◀───────────────┘
type publisher struct {
	publisherDeps
	transport  transport // set before the first send
	slots      *slots
	group      *durable.Group[*slot] // nil when nothing of ours is flushed
	timeout    time.Duration
	answeredAt atomic.Int64  // Unix nanoseconds of the last answer
	ended      chan struct{} // closed by drain
	stored     []*slot       // stored, not passed on yet; of the goroutine that reads answers
}

// publisherDeps is what a publisher needs from its broker.
type publisherDeps struct {
	admission *admission
	window    *dedup.Window // nil when only the broker knows duplicates
	record    *integrity.Record
	receipts  *integrity.Receipts
	reader    *reader
	conn      *nats.Conn // on which originals are read
	onReused  func()     // is called when the broker acknowledges a sequence again
	m         *metrics
	log       *slog.Logger
}

// newPublisher returns a publisher that is ready to send once it has a transport. With
// flush, answers wait for it.
func newPublisher(cfg Config, flush func() error, deps publisherDeps) *publisher {
	p := &publisher{
		publisherDeps: deps, timeout: cfg.PublishTimeout, ended: make(chan struct{}),
		slots: newSlots(nats.NewInbox(), cfg.MaxInFlight),
	}
	if flush != nil {
		p.group = durable.NewGroup(flush, p.release)
	}
	return p
}

// publish is [Broker.Publish].
func (p *publisher) publish(ctx context.Context, e *event.Envelope) (event.Receipt, error) {
	start := time.Now()
	r, err := p.store(ctx, e)
	p.m.published(r, err, time.Since(start))
	return r, err
}

// inbox is that to whose subjects answers come.
func (p *publisher) inbox() string { return p.slots.inbox }

// inFlight returns how many publishes wait for their outcome.
func (p *publisher) inFlight() int { return cap(p.slots.free) - len(p.slots.free) }

func (p *publisher) store(ctx context.Context, e *event.Envelope) (event.Receipt, error) {
	id := e.MsgID()
	a, err := p.send(ctx, e, id)
	if err != nil {
		return event.Receipt{}, err
	}
	if !a.Duplicate {
		return event.Receipt{Sequence: a.Sequence}, nil
	}
	return p.storeDuplicate(ctx, e, id, a.Sequence)
}

// storeDuplicate answers for a copy whose original the broker holds at seq. When
// the bodies differ, or the original can't be read any more, the copy is stored
// under an id made of its own content: the worker's ledger, which goes by the
// headers, decides what it is.
func (p *publisher) storeDuplicate(ctx context.Context, e *event.Envelope, id string, seq uint64) (event.Receipt, error) {
	r := event.Receipt{Sequence: seq, Duplicate: true}
	original, err := p.reader.loadBy(ctx, p.conn, seq)
	known := err == nil && original.Identity() == e.Identity() && original.Replay == e.Replay
	if known && bytes.Equal(original.Body, e.Body) {
		return r, nil
	}
	if _, err := p.send(ctx, e, id+"~"+contentID(e)); err != nil {
		return event.Receipt{}, err
	}
	r.Conflict = known
	return r, nil
}

// contentID distinguishes copies that share a message id.
func contentID(e *event.Envelope) string {
	h := sha256.New()
	h.Write([]byte(e.Courier + "\n" + e.Replay + "\n" + e.Key + "\n"))
	h.Write(e.Body)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// send publishes e under id and waits for its outcome.
func (p *publisher) send(ctx context.Context, e *event.Envelope, id string) (embedconn.Ack, error) {
	deadline := time.Now().Add(p.timeout)
	for {
		a, err := p.sendOnce(ctx, e, id, deadline)
		if err != nil || !a.Busy {
			return a, err
		}
		// Its first copy is on its way into the store of a cluster.
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return embedconn.Ack{}, embedconn.Refuse("given up by its sender: %w", err)
		}
		if time.Now().After(deadline) {
			return embedconn.Ack{}, a.Err
		}
	}
}

func (p *publisher) sendOnce(ctx context.Context, e *event.Envelope, id string, deadline time.Time) (embedconn.Ack, error) {
	if err := p.admission.admit(); err != nil {
		return embedconn.Ack{}, err
	}
	s, err := p.acquire(ctx, deadline)
	if err != nil {
		return embedconn.Ack{}, err
	}
	start := time.Now()
	if p.known(s, id, start) {
		if p.group == nil {
			return p.outcome(s)
		}
		p.group.Add(s) // its original may wait for its flush
	} else if err := p.put(s, e, id); err != nil {
		return embedconn.Ack{}, err
	}
	s.expireIn(time.Until(deadline))
	select {
	case <-s.done:
		s.timer.Stop()
		return p.outcome(s)
	case <-s.timer.C:
		return embedconn.Ack{}, p.giveUp(s, start, embedconn.Refuse("no answer within %v, it is not known whether it is stored", p.timeout))
	case <-ctx.Done():
		s.timer.Stop()
		return embedconn.Ack{}, p.giveUp(s, time.Time{}, embedconn.Refuse("given up by its sender: %w", context.Cause(ctx)))
	}
}

// known answers s if the id was stored within the window.
func (p *publisher) known(s *slot, id string, now time.Time) bool {
	s.answer, s.lost = embedconn.Ack{}, false
	if p.window == nil {
		return false
	}
	s.fingerprint = p.window.Fingerprint(id)
	s.answer.Sequence, s.answer.Duplicate = p.window.Find(s.fingerprint, now)
	return s.answer.Duplicate
}

// put sends e in the slot s. After an error the slot is given back.
func (p *publisher) put(s *slot, e *event.Envelope, id string) error {
	if err := s.fill(e, id); err != nil {
		s.clear()
		p.slots.put(s)
		return err
	}
	s.id = id
	s.waiting.Store(true)
	err := p.transport.Publish(embedconn.Message{Courier: e.Courier, Reply: s.reply, Headers: s.headers, Body: e.Body})
	s.clear()
	if err != nil {
		p.replace(s)
		return sendError(err)
	}
	return nil
}

// acquire takes a free slot.
func (p *publisher) acquire(ctx context.Context, deadline time.Time) (*slot, error) {
	select {
	case <-p.slots.free:
		return p.slots.take(), nil
	default:
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	select {
	case <-p.slots.free:
		return p.slots.take(), nil
	case <-p.ended:
		return nil, embedconn.Refuse("the appliance is stopping")
	case <-ctx.Done():
		return nil, embedconn.Refuse("too many publishes wait for their answer: %w", context.Cause(ctx))
	}
}

// outcome reads the answer off a slot and gives the slot back.
func (p *publisher) outcome(s *slot) (embedconn.Ack, error) {
	a := s.answer
	if s.lost {
		p.replace(s)
	} else {
		p.slots.put(s)
	}
	if a.Err != nil && !a.Busy {
		return embedconn.Ack{}, a.Err
	}
	return a, nil
}

// giveUp ends the wait for s with err. A time-out (start is set) during which no
// publish at all was answered shuts intake, so that others needn't wait as
// long to find out the same.
func (p *publisher) giveUp(s *slot, start time.Time, err *event.Error) error {
	unanswered := s.waiting.CompareAndSwap(true, false)
	p.replace(s)
	if unanswered && !start.IsZero() && p.answeredAt.Load() < start.UnixNano() {
		p.admission.shut(stalled, "the broker has not answered for "+p.timeout.String())
	}
	return err
}

// probe returns what finds out that publishes would not be answered.
func (p *publisher) probe(conn *nats.Conn) *external.Probe {
	shut := func(r reason, why string) {
		if p.admission.holds(closing) {
			return
		}
		if p.admission.shut(r, why) {
			p.log.Warn("the broker does not answer, intake is shut until it does", "problem", why)
		}
		p.abandon(embedconn.Refuse("%s; it is not known whether it is stored", why))
	}
	return &external.Probe{
		Conn: conn, Stream: eventsStream, InFlight: p.inFlight, LastAnswer: p.answeredAt.Load,
		Silent:     func(why string) { shut(silent, why) },
		Unanswered: func(why string) { shut(stalled, why) },
		Answered: func() {
			if p.admission.open(silent) {
				p.log.Info("the broker answers again")
			}
			if p.admission.heldFor(stalled) > p.timeout { // no publish may be tried that would show it
				p.admission.open(stalled)
			}
		},
	}
}

// replace gives back a slot that was not answered.
func (p *publisher) replace(s *slot) {
	s.waiting.Store(false)
	p.slots.replace(s)
	p.m.expiredSlots.Inc()
}

// answered takes in one answer: what came to the subject reply, or that no stream
// listens. It is called by one goroutine, as is flushAnswered.
func (p *publisher) answered(reply []byte, noStream bool, data []byte) {
	s := p.slots.find(reply)
	if s == nil || !s.waiting.CompareAndSwap(true, false) {
		return // too late
	}
	if noStream {
		s.answer = embedconn.Ack{Err: embedconn.Refuse("no stream takes it: the broker has no leader for it or JetStream is off")}
	} else {
		s.answer = embedconn.ParseAck(data)
		now := time.Now()
		p.answeredAt.Store(now.UnixNano())
		p.admission.open(stalled)
		p.admission.open(silent)
		if p.window != nil && s.answer.Err == nil {
			p.window.Put(s.fingerprint, s.answer.Sequence, now)
		}
		if s.answer.Err == nil && !s.answer.Duplicate && p.receipts.Next(s.answer.Sequence, s.id) {
			p.onReused()
		}
	}
	if s.answer.Err == nil {
		p.stored = append(p.stored, s)
		return
	}
	s.resolve()
}

// flushAnswered leaves to the group what was answered since. Without one it is done.
func (p *publisher) flushAnswered() {
	if len(p.stored) == 0 {
		return
	}
	if p.group != nil {
		p.group.Add(p.stored...)
	} else {
		p.record.Acknowledged(highestOf(p.stored))
		for _, s := range p.stored {
			s.resolve()
		}
	}
	clear(p.stored)
	p.stored = p.stored[:0]
}

// release gives a group that was flushed its outcomes.
func (p *publisher) release(group []*slot, err error) {
	if err == nil {
		p.m.flushedEvents.Add(float64(len(group)))
		p.record.Acknowledged(highestOf(group))
	}
	for _, s := range group {
		if err != nil {
			s.answer = embedconn.Ack{Err: embedconn.Refuse("flush failed, it is not known to be on disk: %w", err)}
		}
		s.resolve()
	}
}

// highestOf returns the highest sequence that a group of answers names.
func highestOf(group []*slot) (highest uint64) {
	for _, s := range group {
		highest = max(highest, s.answer.Sequence)
	}
	return highest
}

// disconnected ends the publishes that no answer can come to any more.
func (p *publisher) disconnected(err error) {
	if p.admission.holds(closing) {
		return
	}
	p.log.Warn("connection to the broker lost", "error", err)
	p.admission.shut(disconnected, "not connected to the broker")
	p.abandon(embedconn.Refuse("the connection to the broker broke before its answer came, it is not known whether it is stored"))
}

// reconnected opens intake again.
func (p *publisher) reconnected() {
	p.log.Info("connection to the broker is back")
	p.admission.open(disconnected)
}

// abandon ends every wait for an answer that can't come any more.
func (p *publisher) abandon(err *event.Error) {
	for i := range p.slots.all {
		if s := p.slots.all[i].Load(); s.waiting.CompareAndSwap(true, false) {
			s.answer, s.lost = embedconn.Ack{Err: err}, true
			s.resolve()
		}
	}
}

// drain returns when no publish waits any more, and ends those still waiting
// when ctx ends. Intake must be shut; it can't be opened again.
func (p *publisher) drain(ctx context.Context) error {
	close(p.ended)
	for left := cap(p.slots.free); left > 0; {
		select {
		case <-p.slots.free:
			left--
			continue
		default:
		}
		select {
		case <-p.slots.free:
			left--
		case <-ctx.Done():
			p.abandon(embedconn.Refuse("closed before the answer came"))
			return context.Cause(ctx)
		}
	}
	return nil
}

// sendError maps the error of a message that was not sent.
func sendError(err error) *event.Error {
	switch {
	case errors.Is(err, embedconn.ErrTooLarge), errors.Is(err, nats.ErrMaxPayload):
		return event.Errorf(event.PayloadTooLarge, "publish", "larger than the broker takes: %w", err)
	case errors.Is(err, embedconn.ErrDown), errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionClosed):
		return embedconn.Refuse("not connected to the broker")
	default:
		return embedconn.Refuse("%w", err)
	}
}
