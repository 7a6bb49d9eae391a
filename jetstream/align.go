package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// checkPosition makes the stream of the reconciler's position again when it can't be
// read, at a start.
func (b *Broker) checkPosition(ctx context.Context) error {
	if !b.cfg.Consume || b.server == nil {
		return nil
	}
	if _, err := b.verifiedUpTo(ctx); err != nil {
		b.log.Warn("the reconciler's position can't be read, its stream is made again; no event is lost by it", "error", err)
		if err := b.remake(ctx, []string{progressStream}); err != nil {
			return fmt.Errorf("make stream %s again, whose position can't be read: %w", progressStream, err)
		}
	}
	return nil
}

// alignPositions makes the positions on the broker fit the streams that they are in,
// at a start. A store that has lost its end leaves them beyond it: the events that
// will be there would count as delivered and verified before they exist.
func (b *Broker) alignPositions(ctx context.Context) error {
	if !b.cfg.Consume {
		return nil
	}
	if err := b.endOverruns(ctx); err != nil {
		return err
	}
	if err := b.clampVerified(ctx, true); err != nil {
		return err
	}
	return b.skipVerified(ctx)
}

// overrun is a consumer whose position is beyond the end of its stream.
type overrun struct {
	stream natsjs.Stream
	want   natsjs.ConsumerConfig
	info   *natsjs.ConsumerInfo
	last   uint64 // of the stream
}

// overruns returns the consumers of t that are beyond the end of their streams. The
// streams are asked last, because they only grow.
func overruns(ctx context.Context, cfg Config, t *topology) (found []overrun, err error) {
	for _, o := range []struct {
		stream   natsjs.Stream
		consumer natsjs.Consumer
		want     natsjs.ConsumerConfig
	}{{t.events, t.processors, cfg.processorsConfig()}, {t.advisories, t.deadLetters, cfg.deadLettersConfig()}} {
		info, err := o.consumer.Info(ctx)
		if err != nil {
			return nil, down("look at consumer "+o.want.Durable, err)
		}
		s, err := o.stream.Info(ctx)
		if err != nil {
			return nil, down("look at a stream", err)
		}
		if max(info.Delivered.Stream, info.AckFloor.Stream) > s.State.LastSeq {
			found = append(found, overrun{o.stream, o.want, info, s.State.LastSeq})
		}
	}
	return found, nil
}

const (
	// confirmOverrun is how often in a row a consumer has to be found beyond the end:
	// in a cluster, a server that is no longer the leader may have answered.
	confirmOverrun = 3
	confirmPause   = 100 * time.Millisecond
)

// endOverruns takes consumers that are beyond the end of their stream back to it.
func (b *Broker) endOverruns(ctx context.Context) error {
	var found []overrun
	for n := range confirmOverrun {
		if n > 0 {
			if err := sleep(ctx, confirmPause); err != nil {
				return err
			}
		}
		var err error
		if found, err = overruns(ctx, b.cfg, b.topo.Load()); err != nil || len(found) == 0 {
			return err
		}
	}
	for _, o := range found {
		if err := b.takeBack(ctx, o); err != nil {
			return fmt.Errorf("take consumer %s back to the end of its stream: %w", o.want.Durable, err)
		}
	}
	return nil
}

// takeBack has a consumer go on behind its ack floor, and when that is beyond the end
// too, and so wrong, behind what is verified. What it had delivered and not settled
// comes again, and the broker counts its deliveries from 1: the ledger has the attempts
// before. Where the embedded server notices at its own start, it keeps the counts.
//
// A broker that can't do that with a consumer gets it made again.
func (b *Broker) takeBack(ctx context.Context, o overrun) error {
	from := o.info.AckFloor.Stream + 1
	if o.info.AckFloor.Stream > o.last {
		from = 1
		if o.want.Durable == processors {
			verified, err := b.verifiedUpTo(ctx)
			if err != nil {
				return err
			}
			from = min(verified, o.last) + 1
		}
	}
	b.log.Warn("a consumer is beyond the end of its stream, it goes back", "consumer", o.want.Durable,
		"delivered", o.info.Delivered.Stream, "ack_floor", o.info.AckFloor.Stream, "last_sequence", o.last, "from_sequence", from)
	if _, err := o.stream.ResetConsumerToSequence(ctx, o.want.Durable, from); err == nil {
		return nil
	}
	if err := o.stream.DeleteConsumer(ctx, o.want.Durable); err != nil && !errors.Is(err, natsjs.ErrConsumerNotFound) {
		return err
	}
	_, err := createConsumer(ctx, o.stream, startingAt(o.want, from))
	return err
}

// startingAt is a consumer that begins at a sequence, the first when there is nothing
// before it.
func startingAt(want natsjs.ConsumerConfig, from uint64) natsjs.ConsumerConfig {
	if from > 1 {
		want.DeliverPolicy, want.OptStartSeq = natsjs.DeliverByStartSequencePolicy, from
	}
	return want
}

// createConsumer makes a consumer, or returns the one that another process has just
// made.
func createConsumer(ctx context.Context, s natsjs.Stream, want natsjs.ConsumerConfig) (natsjs.Consumer, error) {
	c, err := s.CreateConsumer(ctx, want)
	if errors.Is(err, natsjs.ErrConsumerExists) {
		return s.Consumer(ctx, want.Durable)
	}
	return c, err
}

// clampVerified takes the reconciler's position back when it is beyond the end of a
// stream that has lost its end, so that what will stand there is verified again. What an
// embedded broker has when it starts was verified; where events may have come since the
// loss, everything is verified again.
func (b *Broker) clampVerified(ctx context.Context, starting bool) error {
	verified, err := b.verifiedUpTo(ctx)
	if err != nil {
		return err
	}
	info, err := b.topo.Load().events.Info(ctx)
	if err != nil {
		return down("look at the stream", err)
	}
	last := info.State.LastSeq
	if verified <= last {
		return nil
	}
	to := last
	if b.server == nil || !starting {
		to = max(info.State.FirstSeq, 1) - 1
	}
	b.log.Warn("the store ends before what was verified", "last_sequence", last, "verified", verified, "verified_now", to)
	return b.storeVerified(ctx, to)
}

// skipVerified lets processors that start over begin behind what is verified, so
// that history isn't delivered again. Delivery counts are lost with the state.
func (b *Broker) skipVerified(ctx context.Context) error {
	t, verified := b.topo.Load(), b.verified.Load()
	if b.server == nil || verified == 0 || t.processors.CachedInfo().Delivered.Consumer > 0 {
		return nil
	}
	if _, err := t.events.ResetConsumerToSequence(ctx, processors, verified+1); err != nil {
		return fmt.Errorf("start consumer %s behind what is verified: %w", processors, err)
	}
	return nil
}
