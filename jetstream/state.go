package jetstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/fincart/courier-gateway/ingest/event"
)

// stateAge is how old the figures of a State may be.
const stateAge = 500 * time.Millisecond

// stateCache holds the latest figures, and lets one caller at a time renew them.
type stateCache struct {
	mu   sync.Mutex
	last event.QueueState

	closed atomic.Pointer[closedConnection] // one that is lost for good
}

// State returns the queue's figures, at most half a second old, and whether
// events are accepted right now. It always returns what is known; with an error,
// whose code is DependencyDown, the figures are those of its At.
func (b *Broker) State(ctx context.Context) (event.QueueState, error) {
	b.state.mu.Lock()
	defer b.state.mu.Unlock()
	var err error
	if time.Since(b.state.last.At) >= stateAge {
		err = b.renewState(ctx, &b.state.last)
	}
	if lost := b.state.closed.Load(); lost != nil {
		err = down("state", lost)
	}
	s := b.state.last
	s.Problem = b.gate.problem()
	s.Healthy = s.Problem == ""
	s.Problems = b.problems()
	if err != nil && s.Problem != "" {
		err = fmt.Errorf("%s (%w)", s.Problem, err) // the cause, not what follows from it alone
	}
	b.m.state(s)
	return s, err
}

// problems says what is wrong although events are accepted, one line each.
func (b *Broker) problems() (all []string) {
	if lost := b.losses.problem(); lost != "" {
		all = append(all, lost)
	}
	return append(all, b.changed.problems()...)
}

// Healthy reports whether events are accepted right now. It costs an atomic load.
func (b *Broker) Healthy() bool { return b.gate.refusal.Load() == nil }

func (b *Broker) renewState(ctx context.Context, s *event.QueueState) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	s.Mode, s.Sync, s.DiskFree = b.modeName(), b.durability(), b.diskFree()
	t := b.topo.Load()
	info, err := t.events.Info(ctx)
	if err != nil {
		return down("state", err)
	}
	s.Messages, s.Bytes, s.MaxBytes = info.State.Msgs, info.State.Bytes, info.Config.MaxBytes
	s.FirstSeq, s.LastSeq = info.State.FirstSeq, info.State.LastSeq
	if b.cfg.Consume {
		if err := b.renewConsumers(ctx, s); err != nil {
			return err
		}
	}
	s.At = time.Now()
	return nil
}

func (b *Broker) renewConsumers(ctx context.Context, s *event.QueueState) error {
	t := b.topo.Load()
	c, err := t.processors.Info(ctx)
	if errors.Is(err, natsjs.ErrConsumerNotFound) {
		b.changed.look()
		return nil
	}
	if err != nil {
		return down("state", err)
	}
	s.AckFloor, s.Pending, s.InFlight, s.Redelivered = ackFloor(c), c.NumPending, c.NumAckPending, c.NumRedelivered
	d, err := t.deadLetters.Info(ctx)
	if errors.Is(err, natsjs.ErrConsumerNotFound) {
		b.changed.look()
		return nil
	}
	if err != nil {
		return down("state", err)
	}
	s.Advisories = unhandled(d)
	s.Verified, err = b.verifiedUpTo(ctx)
	return err
}

func (b *Broker) modeName() string {
	if b.server == nil {
		return "connected"
	}
	return "embedded"
}

// durability says what is known about when an acknowledged event is on disk.
func (b *Broker) durability() string {
	if b.server != nil {
		return b.sync
	}
	return fmt.Sprintf("set by the server (version %s, %d replicas)", b.admin.ConnectedServerVersion(), b.cfg.Replicas)
}

// diskFree returns the free bytes under the store, -1 when the store is
// elsewhere or they can't be known.
func (b *Broker) diskFree() int64 {
	if b.server == nil {
		return -1
	}
	return diskFree(b.cfg.StoreDir)
}
