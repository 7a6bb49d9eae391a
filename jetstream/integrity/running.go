package integrity

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/loss"
)

// Update compares the stream, while events come and go, and makes what is known of it
// survive a power cut.
func (c *Checker) Update(ctx context.Context) error {
	return errors.Join(c.compare(ctx), c.record.Sync())
}

// compare compares the stream with what is known of it.
func (c *Checker) compare(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.snapshot(ctx, false)
	if err == nil && s.info.State.NumDeleted != c.previous.deleted {
		s, err = c.snapshot(ctx, true)
	}
	if err != nil {
		return err
	}
	cut := s.behind()
	if !c.cfg.Embedded && c.cfg.Replicas > 1 && cut {
		// A server that is no longer the leader may have answered.
		if c.previous.behind++; c.previous.behind < confirmTimes {
			return nil
		}
	}
	c.previous.behind = 0
	if err := c.reportMissing(s); err != nil {
		return err
	}
	if cut && c.cfg.Embedded {
		c.damaged.Store(true) // the restart makes it go on above what it acknowledged
		return nil
	}
	if s.details {
		c.previous.deleted = s.info.State.NumDeleted
	}
	// A stream that was cut may have grown again since, if not as far as it was.
	reused := false
	if !s.recreated() {
		if reused, err = c.checkReused(ctx, s); err != nil {
			return err
		}
	}
	if cut || reused {
		c.receipts.reset(s.info.State.LastSeq)
		_, err := c.begin(ctx)
		return err
	}
	c.follow(s)
	return nil
}

// follow takes over how far the stream is. Where other processes publish too, only
// the stream shows it; an event that was there at the comparison before was acknowledged.
func (c *Checker) follow(s snapshot) {
	state, before := s.info.State, c.previous
	c.record.position.update(func(p *Position) {
		if p.Birth != s.birth() {
			return
		}
		p.Verified = max(p.Verified, s.verified)
		if before.last == 0 {
			return
		}
		p.Anchor, p.AnchorAt = before.last, before.lastTime.UnixNano()
		if !c.cfg.Embedded && c.cfg.Consume && before.last > p.Highest {
			p.Highest, p.At = before.last, time.Now().UnixNano()
		}
	})
	c.previous.last, c.previous.lastTime = 0, time.Time{}
	if state.Msgs > 0 {
		c.previous.last, c.previous.lastTime = state.LastSeq, state.LastTime
	}
}

// checkReused reports what is missing because the stream was cut and has grown again:
// a sequence was acknowledged twice, or the known event is another one.
func (c *Checker) checkReused(ctx context.Context, s snapshot) (cut bool, err error) {
	if r, ok := c.receipts.reused(); ok {
		confirmed, err := c.confirmReuse(ctx, r)
		if err != nil {
			c.receipts.restore(r) // examined again with the next comparison
			return false, err
		}
		if confirmed {
			return true, c.reportReused(s, r.first, r.highest)
		}
	}
	if c.cfg.Embedded {
		return false, nil
	}
	first, err := c.replacedSince(ctx, s)
	if err != nil || first == 0 {
		return false, err
	}
	// Receipts may have raised what is known since the stream was cut.
	return true, c.reportReused(s, first, max(c.previous.last, s.known.Anchor))
}

func (c *Checker) reportReused(s snapshot, first, last uint64) error {
	return c.record.report(missing{
		cause: loss.Reused, birth: s.birth(), endedAfter: endedAfter(s.known), receivedBefore: unixTime(s.known.At),
		sequences: rangesOf(loss.Range{First: max(first, s.verified+1), Last: last}),
	})
}

// confirmReuse reports whether the event that was acknowledged as r.was is gone. In
// a cluster an answer may overtake another one; then it is still there.
func (c *Checker) confirmReuse(ctx context.Context, r reusedRun) (bool, error) {
	if c.cfg.Embedded {
		return true, nil // its answers come in order
	}
	if r.wasID == "" {
		return false, nil
	}
	m, err := readOne(ctx, c.cfg.Reader, r.was)
	if event.CodeOf(err) == event.NotFound {
		return true, nil
	}
	return m.ID != r.wasID, err
}

// readOne returns the message at seq.
func readOne(ctx context.Context, r Reader, seq uint64) (Message, error) {
	messages, err := r.Read(ctx, seq, 1)
	if err != nil {
		return Message{}, err
	}
	if len(messages) == 0 || messages[0].Delivery.Sequence != seq {
		return Message{}, event.Errorf(event.NotFound, "load", "sequence %d is not stored", seq)
	}
	return messages[0], nil
}

// replacedSince returns the first sequence at which the stream has another event
// than it had, 0 when it has none: the known event at the anchor is another one now, or
// the stream ends before it. What was stored since has a later time than everything that
// was there.
func (c *Checker) replacedSince(ctx context.Context, s snapshot) (first uint64, err error) {
	known := s.known
	if known.Birth != s.birth() || known.Anchor == 0 {
		return 0, nil
	}
	if known.Anchor <= s.info.State.LastSeq {
		at, err := storedAt(ctx, c.cfg.Reader, known.Anchor)
		if event.CodeOf(err) == event.NotFound {
			return 0, nil // purged as history, or a hole
		}
		if err != nil || at <= known.AnchorAt {
			return 0, err
		}
	}
	first, ok, err := c.cfg.Reader.FirstSince(ctx, time.Unix(0, known.AnchorAt+1))
	if err != nil || !ok || first > known.Anchor {
		return 0, err
	}
	return first, nil
}

// storedAt returns when the event at seq was stored, in Unix nanoseconds.
func storedAt(ctx context.Context, r Reader, seq uint64) (int64, error) {
	m, err := readOne(ctx, r, seq)
	if err != nil {
		return 0, err
	}
	if m.StoredAt.IsZero() {
		return 0, fmt.Errorf("when sequence %d was stored can't be read", seq)
	}
	return m.StoredAt.UnixNano(), nil
}

// sameEvents reports whether a stream of another birth has the events of the known one:
// its definition was made again, and it kept its messages.
func (c *Checker) sameEvents(ctx context.Context, s snapshot) (bool, error) {
	known := s.known
	if known.Birth == 0 || known.Birth == s.birth() {
		return false, nil
	}
	if c.cfg.Embedded {
		return c.cfg.Redefined(), nil
	}
	if known.Anchor == 0 || known.Anchor > s.info.State.LastSeq {
		return false, nil
	}
	at, err := storedAt(ctx, c.cfg.Reader, known.Anchor)
	if event.CodeOf(err) == event.NotFound {
		return false, nil
	}
	return at == known.AnchorAt, err
}
