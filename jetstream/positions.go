package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// aligner makes the positions on the broker fit the streams that they are in, and makes
// derived streams again that can't be used.
type aligner struct {
	cfg      Config
	log      *slog.Logger
	js       natsjs.JetStream
	topo     *topology
	progress *progress
	// remade is called when ADVISORIES may have been made again: its open pull may have
	// gone with its consumer.
	remade func()
}

// checkPosition makes the stream of the reconciler's position again when it can't be
// read, at a start.
func (a *aligner) checkPosition(ctx context.Context) error {
	if !a.cfg.Consume || !a.cfg.embedded() {
		return nil
	}
	if _, err := a.progress.verifiedUpTo(ctx); err != nil {
		a.log.Warn("the reconciler's position can't be read, its stream is made again; no event is lost by it", "error", err)
		if err := a.remake(ctx, []string{progressStream}); err != nil {
			return fmt.Errorf("make stream %s again, whose position can't be read: %w", progressStream, err)
		}
	}
	return nil
}

// align makes the positions on the broker fit the streams that they are in,
// at a start. A store that has lost its end leaves them beyond it: the events that
// will be there would count as delivered and verified before they exist.
func (a *aligner) align(ctx context.Context) error {
	if !a.cfg.Consume {
		return nil
	}
	if err := a.endOverruns(ctx); err != nil {
		return err
	}
	if err := a.clampVerified(ctx, true); err != nil {
		return err
	}
	return a.skipVerified(ctx)
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
func overruns(ctx context.Context, cfg Config, t *streams) (found []overrun, err error) {
	for _, o := range []struct {
		stream   natsjs.Stream
		consumer natsjs.Consumer
		want     natsjs.ConsumerConfig
	}{{t.events, t.processors, cfg.processorsConfig()}, {t.advisories, t.deadLetters, cfg.deadLettersConfig()}} {
		info, err := o.consumer.Info(ctx)
		if err != nil {
			return nil, down("ask for consumer "+o.want.Durable, err)
		}
		s, err := o.stream.Info(ctx)
		if err != nil {
			return nil, down("ask for a stream", err)
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
func (a *aligner) endOverruns(ctx context.Context) error {
	var found []overrun
	for n := range confirmOverrun {
		if n > 0 {
			if err := sleep(ctx, confirmPause); err != nil {
				return err
			}
		}
		var err error
		if found, err = overruns(ctx, a.cfg, a.topo.now()); err != nil || len(found) == 0 {
			return err
		}
	}
	for _, o := range found {
		if err := a.rewind(ctx, o); err != nil {
			return fmt.Errorf("take consumer %s back to the end of its stream: %w", o.want.Durable, err)
		}
	}
	return nil
}

// rewind has a consumer go on behind its ack floor, and when that is beyond the end
// too, and so wrong, behind what is verified. What it had delivered and not settled
// comes again, and the broker counts its deliveries from 1: the ledger has the attempts
// before. Where the embedded server notices at its own start, it keeps the counts.
//
// A broker that can't do that with a consumer gets it made again.
func (a *aligner) rewind(ctx context.Context, o overrun) error {
	from := o.info.AckFloor.Stream + 1
	if o.info.AckFloor.Stream > o.last {
		from = 1
		if o.want.Durable == processors {
			verified, err := a.progress.verifiedUpTo(ctx)
			if err != nil {
				return err
			}
			from = min(verified, o.last) + 1
		}
	}
	a.log.Warn("a consumer is beyond the end of its stream, it is rewound", "consumer", o.want.Durable,
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

// clampVerified takes the reconciler's position back when it is beyond the end of a
// stream that has lost its end, so that what comes there is verified again. What an
// embedded broker has when it starts was verified; where events may have come since the
// loss, everything is verified again.
func (a *aligner) clampVerified(ctx context.Context, starting bool) error {
	verified, err := a.progress.verifiedUpTo(ctx)
	if err != nil {
		return err
	}
	info, err := a.topo.now().events.Info(ctx)
	if err != nil {
		return down("ask for the stream", err)
	}
	last := info.State.LastSeq
	if verified <= last {
		return nil
	}
	to := last
	if !a.cfg.embedded() || !starting {
		to = max(info.State.FirstSeq, 1) - 1
	}
	a.log.Warn("the store ends before what was verified", "last_sequence", last, "verified", verified, "verified_now", to)
	return a.progress.store(ctx, to)
}

// skipVerified lets processors that start over begin behind what is verified, so
// that history isn't delivered again. Delivery counts are lost with the state.
func (a *aligner) skipVerified(ctx context.Context) error {
	t, verified := a.topo.now(), a.progress.verified.Load()
	if !a.cfg.embedded() || verified == 0 || t.processors.CachedInfo().Delivered.Consumer > 0 {
		return nil
	}
	if _, err := t.events.ResetConsumerToSequence(ctx, processors, verified+1); err != nil {
		return fmt.Errorf("start consumer %s behind what is verified: %w", processors, err)
	}
	return nil
}

// remakeTimeout bounds making a derived stream again while the broker runs.
const remakeTimeout = 5 * time.Second

// remake deletes derived streams, makes them again, and stores the reconciler's
// position if the broker has none.
func (a *aligner) remake(ctx context.Context, streams []string) error {
	ctx, cancel := context.WithTimeout(ctx, remakeTimeout)
	defer cancel()
	if err := a.remakeStreams(ctx, streams); err != nil {
		return err
	}
	verified, err := a.progress.verifiedUpTo(ctx)
	if err != nil || verified == 0 {
		return err
	}
	return a.progress.publish(ctx, verified)
}

func (a *aligner) remakeStreams(ctx context.Context, streams []string) error {
	for _, stream := range streams {
		if err := a.js.DeleteStream(ctx, stream); err != nil && !errors.Is(err, natsjs.ErrStreamNotFound) {
			return fmt.Errorf("delete stream %s: %w", stream, err)
		}
	}
	if err := a.topo.ensure(ctx); err != nil {
		return err
	}
	a.remade()
	return nil
}

// confirm reads what was just stored, after a time when there was nothing to
// read: a damaged stream may take a position in and not find it, so that everything
// would be verified again and again. An embedded broker's stream is then made again; an
// external one's may only lag behind.
func (a *aligner) confirm(ctx context.Context, stored uint64) error {
	read, err := a.progress.verifiedUpTo(ctx)
	if err != nil || read == stored || !a.cfg.embedded() {
		return err
	}
	a.log.Warn("a stream does not return what it has stored, it is made again; no event is lost by it", "stream", progressStream)
	if err := a.remakeStreams(ctx, []string{progressStream}); err != nil {
		return err
	}
	if err := a.progress.publish(ctx, stored); err != nil {
		return err
	}
	if read, err = a.progress.verifiedUpTo(ctx); err == nil && read != stored {
		err = down("verified", fmt.Errorf("stream %s was made again and still returns %d instead of %d", progressStream, read, stored))
	}
	return err
}
