package jetstream

import (
	"context"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// retainEvery is how often history is looked at.
const retainEvery = 5 * time.Second

// retain purges history that is over its limits.
//
// Invariant: no event is purged unless it is settled (at or below the
// processors' ack floor), verified (at or below the reconciler's position), and
// older than every event whose advisory still waits. So only events that are not
// done with can ever fill the stream, and whatever can't be accounted for can
// still be read. History inside the duplicate window stays as well, because a
// start learns the ids from it; only when space runs short may it go.
func (b *Broker) retain(ctx context.Context) error {
	info, err := b.topo.Load().events.Info(ctx)
	if err != nil {
		return down("retention", err)
	}
	upTo, err := b.overLimit(ctx, info.State)
	if err != nil || upTo == 0 {
		return err
	}
	floor, err := b.purgeFloor(ctx)
	if err != nil {
		return err
	}
	if upTo = min(upTo, floor); upTo < info.State.FirstSeq {
		return nil
	}
	// What is purged must be known as verified whatever happens to the rest.
	b.noteVerified(floor, time.Time{})
	if err := b.position.sync(); err != nil {
		return err
	}
	if err := b.topo.Load().events.Purge(ctx, natsjs.WithPurgeSequence(upTo+1)); err != nil {
		return down("purge", err)
	}
	b.m.purged.Add(float64(upTo - info.State.FirstSeq + 1))
	b.log.Info("history purged", "up_to_sequence", upTo)
	return nil
}

// overLimit returns the sequence up to which history is too much or too old, 0
// when none is.
func (b *Broker) overLimit(ctx context.Context, s natsjs.StreamState) (upTo uint64, err error) {
	if s.Msgs == 0 {
		return 0, nil
	}
	if s.Bytes > uint64(b.cfg.HistoryHighBytes) {
		excess := s.Bytes - uint64(b.cfg.HistoryLowBytes)
		upTo = s.FirstSeq + uint64(float64(s.Msgs)*float64(excess)/float64(s.Bytes)) - 1
	}
	now := time.Now()
	if now.Sub(s.FirstTime) > b.cfg.HistoryMaxAge {
		old, err := b.before(ctx, s, now.Add(-b.cfg.HistoryMaxAge))
		if err != nil {
			return 0, err
		}
		upTo = max(upTo, old)
	}
	if upTo > 0 && s.Bytes < uint64(b.cfg.MaxBytes)/10*9 {
		forgotten, err := b.before(ctx, s, now.Add(-b.cfg.DuplicateWindow))
		if err != nil {
			return 0, err
		}
		upTo = min(upTo, forgotten)
	}
	return upTo, nil
}

// before returns the last sequence stored before t.
func (b *Broker) before(ctx context.Context, s natsjs.StreamState, t time.Time) (uint64, error) {
	if !s.FirstTime.Before(t) {
		return s.FirstSeq - 1, nil
	}
	first, ok, err := b.firstSince(ctx, t)
	if err != nil {
		return 0, err
	}
	if !ok {
		return s.LastSeq, nil
	}
	return first - 1, nil
}

// purgeFloor returns the highest sequence that may be purged.
func (b *Broker) purgeFloor(ctx context.Context) (uint64, error) {
	verified, err := b.verifiedUpTo(ctx)
	if err != nil {
		return 0, err
	}
	settled, err := b.settledFloor(ctx)
	return min(verified, settled), err
}

// retainAdvisories removes the handled advisories, and complains when the
// unhandled ones pile up.
func (b *Broker) retainAdvisories(ctx context.Context) error {
	t := b.topo.Load()
	consumer, err := t.deadLetters.Info(ctx)
	if err != nil {
		return down("advisories", err)
	}
	info, err := t.advisories.Info(ctx)
	if err != nil {
		return down("advisories", err)
	}
	if info.State.Bytes > advisoriesMaxBytes/2 && unhandled(consumer) > info.State.Msgs/2 {
		b.log.Error("advisories pile up, when their stream is full exhausted events are found by reconciling only",
			"unhandled", unhandled(consumer), "bytes", info.State.Bytes, "max_bytes", advisoriesMaxBytes)
	}
	if handled := consumer.AckFloor.Stream; info.State.Msgs > 0 && handled >= info.State.FirstSeq {
		if err := t.advisories.Purge(ctx, natsjs.WithPurgeSequence(handled+1)); err != nil {
			return down("purge advisories", err)
		}
	}
	return nil
}
