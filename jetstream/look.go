package jetstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/loss"
)

// seen is what was seen of the stream at the last look.
type seen struct {
	mu       sync.Mutex  // held during a look and a restart
	damaged  atomic.Bool // the embedded stream has lost its end, so its server must be restarted
	deleted  int         // sequences that the stream lacks inside
	behind   int         // looks in a row at a stream that ends too early
	last     uint64
	lastTime time.Time
}

// look compares the stream with what is known of it, while events come and go.
func (b *Broker) look(ctx context.Context) error {
	b.seen.mu.Lock()
	defer b.seen.mu.Unlock()
	s, err := b.seeStream(ctx, false)
	if err == nil && s.info.State.NumDeleted != b.seen.deleted {
		s, err = b.seeStream(ctx, true)
	}
	if err != nil {
		return err
	}
	if b.server == nil && b.cfg.Replicas > 1 && b.behind(s) {
		// A server that is no longer the leader may have answered.
		if b.seen.behind++; b.seen.behind < confirmLooks {
			return nil
		}
	}
	b.seen.behind = 0
	cut := b.behind(s)
	if err := b.nameMissing(s); err != nil {
		return err
	}
	if cut && b.server != nil {
		b.seen.damaged.Store(true) // the restart makes it go on above what it acknowledged
		return nil
	}
	if s.details {
		b.seen.deleted = s.info.State.NumDeleted
	}
	if !cut {
		if cut, err = b.checkReused(ctx, s); err != nil {
			return err
		}
	}
	if cut {
		b.pub.lowerTop(s.info.State.LastSeq)
		return b.begin(ctx)
	}
	b.follow(s)
	return nil
}

// follow takes over how far the stream is. Where other processes publish too, only
// the stream tells; an event that has been there for one look was acknowledged.
func (b *Broker) follow(s sight) {
	state := s.info.State
	b.position.update(func(p *position) {
		if p.birth != s.birth() {
			return
		}
		p.verified = max(p.verified, s.verified)
		if b.seen.last == 0 {
			return
		}
		p.anchor, p.anchorAt = b.seen.last, b.seen.lastTime.UnixNano()
		if b.server == nil && b.cfg.Consume && b.seen.last > p.highest {
			p.highest, p.at = b.seen.last, time.Now().UnixNano()
		}
	})
	b.seen.last, b.seen.lastTime = 0, time.Time{}
	if state.Msgs > 0 {
		b.seen.last, b.seen.lastTime = state.LastSeq, state.LastTime
	}
}

// checkReused names what is missing because the stream was cut and has grown again:
// a sequence was acknowledged twice, or the known event is another one.
func (b *Broker) checkReused(ctx context.Context, s sight) (cut bool, err error) {
	if r, ok := b.pub.reused(); ok {
		confirmed, err := b.confirmReuse(ctx, r)
		if err != nil {
			b.pub.noteReused(r) // looked at again with the next look
			return false, err
		}
		if confirmed {
			return true, b.nameReused(s, r.first, r.highest)
		}
	}
	if b.server != nil {
		return false, nil
	}
	first, err := b.replacedSince(ctx, s)
	if err != nil || first == 0 {
		return false, err
	}
	// Receipts may have raised what is known since the stream was cut.
	return true, b.nameReused(s, first, max(b.seen.last, s.known.anchor))
}

func (b *Broker) nameReused(s sight, first, last uint64) error {
	return b.name(missing{
		cause: loss.Reused, birth: s.birth(), endedAfter: endedAfter(s.known), receivedBefore: unixTime(s.known.at),
		sequences: rangesOf(loss.Range{First: max(first, s.verified+1), Last: last}),
	})
}

// confirmReuse reports whether the event that was acknowledged as r.was is gone. In
// a cluster an answer may overtake another one; then it is still there.
func (b *Broker) confirmReuse(ctx context.Context, r reusedRun) (bool, error) {
	if b.server != nil {
		return true, nil // its answers come in order
	}
	if r.wasID == "" {
		return false, nil
	}
	d, err := b.loadHeader(ctx, r.was)
	if event.CodeOf(err) == event.NotFound {
		return true, nil
	}
	return d.Get(msgIDHeader) != r.wasID, err
}

// loadHeader returns the header of the event at seq.
func (b *Broker) loadHeader(ctx context.Context, seq uint64) (nats.Header, error) {
	messages, err := b.readFrom(ctx, eventsStream, seq, 1)
	if err != nil {
		return nil, err
	}
	if len(messages) == 0 {
		return nil, event.Errorf(event.NotFound, "load", "sequence %d is not stored", seq)
	}
	if got, _ := storedSequence(messages[0]); got != seq {
		return nil, event.Errorf(event.NotFound, "load", "sequence %d is not stored", seq)
	}
	return messages[0].Header, nil
}

// replacedSince returns the first sequence at which the stream has another event
// than it had, 0 when it has none: the known event at the anchor is another one now.
// Whatever was stored since has a later time than everything that was there.
func (b *Broker) replacedSince(ctx context.Context, s sight) (first uint64, err error) {
	known := s.known
	if known.birth != s.birth() || known.anchor == 0 || known.anchor > s.info.State.LastSeq {
		return 0, nil
	}
	at, err := b.storedTime(ctx, known.anchor)
	if event.CodeOf(err) == event.NotFound {
		return 0, nil // purged as history, or a hole
	}
	if err != nil || at <= known.anchorAt {
		return 0, err
	}
	first, ok, err := b.firstSince(ctx, time.Unix(0, known.anchorAt+1))
	if err != nil || !ok || first > known.anchor {
		return 0, err
	}
	return first, nil
}

// storedTime returns when the event at seq was stored, in Unix nanoseconds.
func (b *Broker) storedTime(ctx context.Context, seq uint64) (int64, error) {
	h, err := b.loadHeader(ctx, seq)
	if err != nil {
		return 0, err
	}
	at, err := time.Parse(time.RFC3339Nano, generated(h, "Nats-Time-Stamp"))
	if err != nil {
		return 0, fmt.Errorf("read when sequence %d was stored: %w", seq, err)
	}
	return at.UnixNano(), nil
}

// sameEvents reports whether a stream of another birth has the events of the known one:
// its definition was made again, and it kept its messages.
func (b *Broker) sameEvents(ctx context.Context, s sight) (bool, error) {
	known := s.known
	if known.birth == 0 || known.birth == s.birth() {
		return false, nil
	}
	if b.server != nil {
		return slices.Contains(b.server.undefined, eventsStream), nil
	}
	if known.anchor == 0 || known.anchor > s.info.State.LastSeq {
		return false, nil
	}
	at, err := b.storedTime(ctx, known.anchor)
	if event.CodeOf(err) == event.NotFound {
		return false, nil
	}
	return at == known.anchorAt, err
}

// keepPosition looks at the stream, and makes what is known of it survive a power
// cut.
func (b *Broker) keepPosition(ctx context.Context) error {
	if b.gate.holds(recovering) || !b.admin.IsConnected() {
		return nil
	}
	return errors.Join(b.look(ctx), b.position.sync())
}
