package jetstream

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fincart/courier-gateway/ingest/event"
)

// Publish stores e and returns when the broker has acknowledged it and, with
// SyncGroup, a flush that began after that has ended: with SyncGroup and
// SyncAlways the event survives a power cut from then on. The envelope and its
// bytes belong to the caller again. Thousands may call at once.
//
// A copy of an event that the broker still remembers is not stored again; the
// receipt says Duplicate and names the original's sequence. If its body differs
// from the original's, the copy is stored under an id of its own, so that the
// worker sees it and counts a conflict, and the receipt says Conflict too.
//
// Every error is an [event.Error]: PayloadTooLarge for an event over the
// broker's limit, InvalidPayload for an identity that no header can carry, else
// IntakeUnavailable, whose text says why. In the last case the event may or may
// not be stored; sending it again is safe.
func (b *Broker) Publish(ctx context.Context, e *event.Envelope) (event.Receipt, error) {
	start := time.Now()
	r, err := b.store(ctx, e)
	b.m.published(r, err, time.Since(start))
	return r, err
}

func (b *Broker) store(ctx context.Context, e *event.Envelope) (event.Receipt, error) {
	id := e.MsgID()
	a, err := b.pub.send(ctx, e, id)
	if err != nil {
		return event.Receipt{}, err
	}
	if !a.duplicate {
		return event.Receipt{Sequence: a.seq}, nil
	}
	return b.storeDuplicate(ctx, e, id, a.seq)
}

// storeDuplicate answers for a copy whose original the broker holds at seq. When
// the bodies differ, or the original can't be read any more, the copy is stored
// under an id made of its own content: the worker's ledger, which goes by the
// headers, decides what it is.
func (b *Broker) storeDuplicate(ctx context.Context, e *event.Envelope, id string, seq uint64) (event.Receipt, error) {
	r := event.Receipt{Sequence: seq, Duplicate: true}
	conn := b.admin
	if b.publish != nil {
		conn = b.publish // which has just proved to work
	}
	original, err := b.loadBy(ctx, conn, seq)
	known := err == nil && original.Identity() == e.Identity() && original.Replay == e.Replay
	if known && bytes.Equal(original.Body, e.Body) {
		return r, nil
	}
	if _, err := b.pub.send(ctx, e, id+"~"+contentID(e)); err != nil {
		return event.Receipt{}, err
	}
	r.Conflict = known
	return r, nil
}

// contentID tells apart copies that share a message id.
func contentID(e *event.Envelope) string {
	h := sha256.New()
	h.Write([]byte(e.Courier + "\n" + e.Replay + "\n" + e.Key + "\n"))
	h.Write(e.Body)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// InFlight returns how many publishes wait for their outcome. It costs next to
// nothing.
func (b *Broker) InFlight() int { return b.cfg.MaxInFlight - len(b.pub.slots.free) }

// publisher sends messages and meets their answers.
type publisher struct {
	wire     wire
	slots    *slots
	gate     *gate
	commit   *committer    // nil when nothing of ours is flushed
	recent   *recent       // nil when only the broker knows duplicates
	position *positionFile // takes over what is answered, without a committer
	receipts receipts
	onReused func() // is called when the broker acknowledges a sequence again
	m        *metrics
	timeout  time.Duration
	acked    atomic.Int64  // Unix nanoseconds of the last answer
	ended    chan struct{} // closed by drain
	stored   []*slot       // stored, not handed on yet; of the goroutine that reads answers
}

// wire carries publishes to the broker.
type wire interface {
	// publish puts e on its way, with the slot's headers, to be answered at the
	// slot's subject. It keeps no reference to either. After an error nothing is
	// on its way.
	publish(s *slot, e *event.Envelope) error
}

// publisherDeps is what a publisher needs from its broker.
type publisherDeps struct {
	gate     *gate
	commit   *committer
	recent   *recent
	position *positionFile
	m        *metrics
	reused   func()
}

// newPublisher returns a publisher that is ready to send once it has a wire.
func newPublisher(inbox string, cfg Config, deps publisherDeps) *publisher {
	return &publisher{
		gate: deps.gate, commit: deps.commit, recent: deps.recent, position: deps.position, onReused: deps.reused, m: deps.m,
		timeout: cfg.PublishTimeout, ended: make(chan struct{}),
		slots: newSlots(inbox, cfg.MaxInFlight),
	}
}

// send publishes e under id and waits for its outcome.
func (p *publisher) send(ctx context.Context, e *event.Envelope, id string) (ack, error) {
	deadline := time.Now().Add(p.timeout)
	for {
		a, err := p.sendOnce(ctx, e, id, deadline)
		if err != nil || !a.busy {
			return a, err
		}
		// Its first copy is on its way into the store of a cluster.
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return ack{}, refuse("given up by its sender: %w", err)
		}
		if time.Now().After(deadline) {
			return ack{}, a.err
		}
	}
}

func (p *publisher) sendOnce(ctx context.Context, e *event.Envelope, id string, deadline time.Time) (ack, error) {
	if err := p.gate.admit(); err != nil {
		return ack{}, err
	}
	s, err := p.acquire(ctx, deadline)
	if err != nil {
		return ack{}, err
	}
	start := time.Now()
	if p.known(s, id, start) {
		if p.commit == nil {
			return p.outcome(s)
		}
		p.commit.add([]*slot{s}) // its original may wait for its flush
	} else if err := p.put(s, e, id); err != nil {
		return ack{}, err
	}
	s.expireIn(time.Until(deadline))
	select {
	case <-s.done:
		s.timer.Stop()
		return p.outcome(s)
	case <-s.timer.C:
		return ack{}, p.giveUp(s, start, refuse("no answer within %v, it is not known whether it is stored", p.timeout))
	case <-ctx.Done():
		s.timer.Stop()
		return ack{}, p.giveUp(s, time.Time{}, refuse("given up by its sender: %w", context.Cause(ctx)))
	}
}

// known answers s if the id was stored lately.
func (p *publisher) known(s *slot, id string, now time.Time) bool {
	s.answer, s.lost = ack{}, false
	if p.recent == nil {
		return false
	}
	s.mark = p.recent.mark(id)
	s.answer.seq, s.answer.duplicate = p.recent.find(s.mark, now)
	return s.answer.duplicate
}

// put sends e in the slot s. After an error the slot is given back.
func (p *publisher) put(s *slot, e *event.Envelope, id string) error {
	if err := s.fill(e, id); err != nil {
		s.forget()
		p.slots.put(s)
		return err
	}
	s.id = id
	s.waiting.Store(true)
	err := p.wire.publish(s, e)
	s.forget()
	if err != nil {
		p.retire(s)
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
		return nil, refuse("the appliance is stopping")
	case <-ctx.Done():
		return nil, refuse("too many publishes wait for their answer: %w", context.Cause(ctx))
	}
}

// outcome reads the answer off a slot and gives the slot back.
func (p *publisher) outcome(s *slot) (ack, error) {
	a := s.answer
	if s.lost {
		p.retire(s)
	} else {
		p.slots.put(s)
	}
	if a.err != nil && !a.busy {
		return ack{}, a.err
	}
	return a, nil
}

// giveUp ends the wait for s with err. A time-out (start is set) during which no
// publish at all was answered shuts the gate, so that others needn't wait as
// long to learn the same.
func (p *publisher) giveUp(s *slot, start time.Time, err *event.Error) error {
	unanswered := s.waiting.CompareAndSwap(true, false)
	p.retire(s)
	if unanswered && !start.IsZero() && p.acked.Load() < start.UnixNano() {
		p.gate.shut(stalled, "the broker has not answered for "+p.timeout.String())
	}
	return err
}

func (p *publisher) retire(s *slot) {
	s.waiting.Store(false)
	p.slots.retire(s)
	p.m.retiredSlots.Inc()
}

// answered meets one answer: what was said to the subject reply, or that nobody
// listens. It is called by one goroutine, as is handOn.
func (p *publisher) answered(reply []byte, nobody bool, data []byte) {
	s := p.slots.find(reply)
	if s == nil || !s.waiting.CompareAndSwap(true, false) {
		return // too late
	}
	if nobody {
		s.answer = ack{err: refuse("no stream takes it: the broker has no leader for it or JetStream is off")}
	} else {
		s.answer = parseAck(data)
		now := time.Now()
		p.acked.Store(now.UnixNano())
		p.gate.open(stalled)
		if p.recent != nil && s.answer.err == nil {
			p.recent.put(s.mark, s.answer.seq, now)
		}
		if s.answer.err == nil && !s.answer.duplicate && p.receipts.next(s.answer.seq, s.id, p.position) {
			p.onReused()
		}
	}
	if s.answer.err == nil {
		p.stored = append(p.stored, s)
		return
	}
	s.resolve()
}

// onFrame is answered for a pipe.
func (p *publisher) onFrame(f frame) {
	p.answered(f.subject, bytes.HasPrefix(f.header, []byte("NATS/1.0 503")), f.data)
}

// handOn leaves to the committer what was answered since. Without one it is done.
func (p *publisher) handOn() {
	if len(p.stored) == 0 {
		return
	}
	if p.commit != nil {
		p.commit.add(p.stored)
	} else {
		p.position.raise(highestOf(p.stored), time.Now())
		for _, s := range p.stored {
			s.resolve()
		}
	}
	clear(p.stored)
	p.stored = p.stored[:0]
}

// abandon ends every wait for an answer that can't come any more.
func (p *publisher) abandon(err *event.Error) {
	for i := range p.slots.all {
		if s := p.slots.all[i].Load(); s.waiting.CompareAndSwap(true, false) {
			s.answer, s.lost = ack{err: err}, true
			s.resolve()
		}
	}
}

// drain returns when no publish waits any more, and ends those still waiting
// when ctx ends. The gate must be shut; it can't be opened again.
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
			p.abandon(refuse("closed before the answer came"))
			return context.Cause(ctx)
		}
	}
	return nil
}

// sendError maps what the client says about a message that it didn't send.
func sendError(err error) *event.Error {
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return event.Errorf(event.PayloadTooLarge, "publish", "larger than the broker takes: %w", err)
	case errors.Is(err, errPipeDown), errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionClosed):
		return refuse("not connected to the broker")
	default:
		return refuse("%w", err)
	}
}
