package integrity

import (
	"context"
	"errors"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/loss"
)

// continueAbove makes the embedded stream go on above the highest sequence that it
// has acknowledged, all of which are reported by now: an empty stream by its first
// sequence, another one by messages that take up what is lost and are removed
// again. When there is no space for them the sequences are used again.
func (c *Checker) continueAbove(ctx context.Context, s snapshot) error {
	highest, events := s.known.Highest, c.cfg.Stream()
	if s.known.Birth == 0 || s.info.State.LastSeq >= highest {
		return nil
	}
	if s.info.State.Msgs == 0 {
		if err := events.Purge(ctx, natsjs.WithPurgeSequence(highest+1)); err != nil {
			return down("go on above what was acknowledged", err)
		}
	} else if err := c.fill(ctx, s.info.State.LastSeq, highest); err != nil {
		if event.CodeOf(err) != event.IntakeUnavailable {
			return err
		}
		c.cfg.Logger.Warn("the stream has no space to go on above what it acknowledged, sequences are used again", "error", err)
	}
	if err := events.Purge(ctx, natsjs.WithPurgeSubject(c.cfg.FillerSubject)); err != nil {
		return down("remove the messages that took up lost sequences", err)
	}
	if _, err := events.Info(ctx); err != nil {
		return down("go on above what was acknowledged", err)
	}
	if s.known.Birth != s.birth() {
		// It begins above highest, and has lost nothing below.
		return c.record.losses.notLost(s.birth(), loss.Recreated, ranges{{First: 1, Last: highest}})
	}
	return nil
}

// fillBatch is how many of fill's messages wait for one answer. The broker drops
// what is more than 10,000 behind.
const fillBatch = 1000

// fill stores messages until the stream ends at highest. The error's code is
// IntakeUnavailable when the broker refuses one.
func (c *Checker) fill(ctx context.Context, last, highest uint64) error {
	js, err := natsjs.New(c.cfg.Conn)
	if err != nil {
		return down("take up lost sequences", err)
	}
	for last < highest {
		for range min(highest-last, fillBatch) - 1 {
			if err := c.cfg.Conn.Publish(c.cfg.FillerSubject, nil); err != nil {
				return down("take up lost sequences", err)
			}
		}
		ack, err := js.Publish(ctx, c.cfg.FillerSubject, nil)
		if _, refused := errors.AsType[*natsjs.APIError](err); refused {
			return event.Errorf(event.IntakeUnavailable, "take up lost sequences", "%w", err)
		}
		if err != nil {
			return down("take up lost sequences", err)
		}
		if ack.Sequence <= last || ack.Sequence > highest {
			return event.Errorf(event.Internal, "take up lost sequences", "the stream went on at %d, behind %d and up to %d", ack.Sequence, last, highest)
		}
		last = ack.Sequence
	}
	return nil
}
