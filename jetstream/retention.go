package jetstream

import (
	"context"
	"errors"
	"log/slog"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/fincart/courier-gateway/jetstream/integrity"
)

// retention purges what is not needed any more: history that is over its limits, and
// advisories that are handled.
type retention struct {
	cfg       Config
	log       *slog.Logger
	m         *metrics
	topo      *topology
	progress  *progress
	reader    *reader
	record    *integrity.Record
	connected func() bool
}

// retainEvery is how often history is measured.
const retainEvery = 5 * time.Second

// run purges until ctx ends.
func (r *retention) run(ctx context.Context) {
	for sleep(ctx, retainEvery) == nil {
		if !r.connected() {
			continue
		}
		if err := errors.Join(r.retain(ctx), r.retainAdvisories(ctx)); err != nil && ctx.Err() == nil {
			r.log.Warn("history can't be measured, trying again", "error", err)
		}
	}
}

// retain purges history that is over its limits.
//
// Invariant: no event is purged unless it is settled (at or below the
// processors' ack floor), verified (at or below the reconciler's position), and
// older than every event whose advisory still waits. So only events that are not
// finished can ever fill the stream, and what can't be accounted for can
// still be read. History inside the duplicate window stays as well, because a
// start reads the ids from it; only when space runs short may it go.
func (r *retention) retain(ctx context.Context) error {
	info, err := r.topo.now().events.Info(ctx)
	if err != nil {
		return down("retention", err)
	}
	upTo, err := r.overLimit(ctx, info.State)
	if err != nil || upTo == 0 {
		return err
	}
	floor, err := r.purgeFloor(ctx)
	if err != nil {
		return err
	}
	if upTo = min(upTo, floor); upTo < info.State.FirstSeq {
		return nil
	}
	// What is purged must be known as verified whatever happens to the rest.
	r.record.RaiseVerified(r.topo.birth(), floor, time.Time{})
	if err := r.record.Sync(); err != nil {
		return err
	}
	if err := r.topo.now().events.Purge(ctx, natsjs.WithPurgeSequence(upTo+1)); err != nil {
		return down("purge", err)
	}
	r.m.purged.Add(float64(upTo - info.State.FirstSeq + 1))
	r.log.Info("history purged", "up_to_sequence", upTo)
	return nil
}

// overLimit returns the sequence up to which history is too much or too old, 0
// when none is.
func (r *retention) overLimit(ctx context.Context, s natsjs.StreamState) (upTo uint64, err error) {
	if s.Msgs == 0 {
		return 0, nil
	}
	if s.Bytes > uint64(r.cfg.HistoryHighBytes) {
		excess := s.Bytes - uint64(r.cfg.HistoryLowBytes)
		upTo = s.FirstSeq + uint64(float64(s.Msgs)*float64(excess)/float64(s.Bytes)) - 1
	}
	now := time.Now()
	if now.Sub(s.FirstTime) > r.cfg.HistoryMaxAge {
		old, err := r.before(ctx, s, now.Add(-r.cfg.HistoryMaxAge))
		if err != nil {
			return 0, err
		}
		upTo = max(upTo, old)
	}
	if upTo > 0 && s.Bytes < uint64(r.cfg.MaxBytes)/10*9 {
		expired, err := r.before(ctx, s, now.Add(-r.cfg.DuplicateWindow))
		if err != nil {
			return 0, err
		}
		upTo = min(upTo, expired)
	}
	return upTo, nil
}

// before returns the last sequence stored before t.
func (r *retention) before(ctx context.Context, s natsjs.StreamState, t time.Time) (uint64, error) {
	if !s.FirstTime.Before(t) {
		return s.FirstSeq - 1, nil
	}
	first, ok, err := r.reader.FirstSince(ctx, t)
	if err != nil {
		return 0, err
	}
	if !ok {
		return s.LastSeq, nil
	}
	return first - 1, nil
}

// purgeFloor returns the highest sequence that may be purged.
func (r *retention) purgeFloor(ctx context.Context) (uint64, error) {
	verified, err := r.progress.verifiedUpTo(ctx)
	if err != nil {
		return 0, err
	}
	settled, err := r.progress.settledFloor(ctx)
	return min(verified, settled), err
}

// retainAdvisories removes the handled advisories, and logs an error when the
// unhandled ones pile up.
func (r *retention) retainAdvisories(ctx context.Context) error {
	t := r.topo.now()
	consumer, err := t.deadLetters.Info(ctx)
	if err != nil {
		return down("advisories", err)
	}
	info, err := t.advisories.Info(ctx)
	if err != nil {
		return down("advisories", err)
	}
	if info.State.Bytes > advisoriesMaxBytes/2 && unhandled(consumer) > info.State.Msgs/2 {
		r.log.Error("advisories pile up, when their stream is full exhausted events are found by reconciling only",
			"unhandled", unhandled(consumer), "bytes", info.State.Bytes, "max_bytes", advisoriesMaxBytes)
	}
	if handled := consumer.AckFloor.Stream; info.State.Msgs > 0 && handled >= info.State.FirstSeq {
		if err := t.advisories.Purge(ctx, natsjs.WithPurgeSequence(handled+1)); err != nil {
			return down("purge advisories", err)
		}
	}
	return nil
}
