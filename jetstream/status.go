package jetstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/jetstream/durable"
	"github.com/fincart/courier-gateway/jetstream/integrity"
)

// stateAge is how old the figures of a State may be.
const stateAge = 500 * time.Millisecond

// status has the queue's figures, and lets one caller at a time renew them.
type status struct {
	cfg       Config
	sync      string // how an embedded broker is made durable
	conns     *connections
	m         *metrics
	admission *admission
	record    *integrity.Record
	topo      *topology
	progress  *progress
	upkeep    *upkeep // nil without Config.Consume

	mu   sync.Mutex
	last event.QueueState
}

// get is [Broker.State].
func (st *status) get(ctx context.Context) (event.QueueState, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	var err error
	if time.Since(st.last.At) >= stateAge {
		err = st.renew(ctx, &st.last)
	}
	if lost := st.conns.lost.Load(); lost != nil {
		err = down("state", lost)
	}
	s := st.last
	s.Problem = st.admission.problem()
	s.Healthy = s.Problem == ""
	s.Problems = st.problems()
	if err != nil && s.Problem != "" {
		err = fmt.Errorf("%s (%w)", s.Problem, err) // the cause, not what follows from it alone
	}
	st.m.state(s)
	return s, err
}

// problems says what is wrong although events are accepted, one line each.
func (st *status) problems() (all []string) {
	if lost := st.record.Problem(); lost != "" {
		all = append(all, lost)
	}
	if st.upkeep != nil {
		all = append(all, st.upkeep.problems()...)
	}
	return all
}

func (st *status) renew(ctx context.Context, s *event.QueueState) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	s.Mode, s.Sync, s.DiskFree = st.modeName(), st.durability(), diskFree(st.cfg)
	t := st.topo.now()
	info, err := t.events.Info(ctx)
	if err != nil {
		return down("state", err)
	}
	s.Messages, s.Bytes, s.MaxBytes = info.State.Msgs, info.State.Bytes, info.Config.MaxBytes
	s.FirstSeq, s.LastSeq = info.State.FirstSeq, info.State.LastSeq
	if st.cfg.Consume {
		if err := st.renewConsumers(ctx, s); err != nil {
			return err
		}
	}
	s.At = time.Now()
	return nil
}

func (st *status) renewConsumers(ctx context.Context, s *event.QueueState) error {
	t := st.topo.now()
	c, err := st.consumerInfo(ctx, t.processors)
	if c == nil {
		return err
	}
	s.AckFloor, s.Pending, s.InFlight, s.Redelivered = ackFloor(c), c.NumPending, c.NumAckPending, c.NumRedelivered
	d, err := st.consumerInfo(ctx, t.deadLetters)
	if d == nil {
		return err
	}
	s.Advisories = unhandled(d)
	s.Verified, err = st.progress.verifiedUpTo(ctx)
	return err
}

// consumerInfo asks for a consumer. It returns nil and no error when that is missing,
// which the upkeep corrects.
func (st *status) consumerInfo(ctx context.Context, c natsjs.Consumer) (*natsjs.ConsumerInfo, error) {
	info, err := c.Info(ctx)
	if errors.Is(err, natsjs.ErrConsumerNotFound) {
		st.upkeep.wakeUp()
		return nil, nil
	}
	if err != nil {
		return nil, down("state", err)
	}
	return info, nil
}

func (st *status) modeName() string {
	if st.cfg.embedded() {
		return "embedded"
	}
	return "connected"
}

// durability says what is known about when an acknowledged event is on disk.
func (st *status) durability() string {
	if st.cfg.embedded() {
		return st.sync
	}
	return fmt.Sprintf("set by the server (version %s, %d replicas)", st.conns.admin.ConnectedServerVersion(), st.cfg.Replicas)
}

// diskFree returns the free bytes under the store, -1 when the store is
// elsewhere or they can't be known.
func diskFree(cfg Config) int64 {
	if !cfg.embedded() {
		return -1
	}
	return durable.FreeBytes(cfg.StoreDir)
}
