package jetstream

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/jetstream/durable"
	"github.com/fincart/courier-gateway/jetstream/external"
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

	mu          sync.Mutex
	last        event.QueueState
	consumption external.Consumption
	unknown     string // why the consumers' figures are old, "" when they aren't
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
	} else if idle := external.Unconsumed(st.last.UnconsumedSince, st.last.Unprocessed(), time.Now()); idle != "" {
		all = append(all, idle)
	}
	if st.unknown != "" {
		all = append(all, st.unknown)
	}
	if st.last.Servers != nil {
		all = append(all, external.Problems(st.last.Servers)...)
	}
	return all
}

func (st *status) renew(ctx context.Context, s *event.QueueState) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	s.Mode, s.Sync, s.DiskFree = st.modeName(), st.durability(s), diskFree(st.cfg)
	t := st.topo.now()
	info, err := t.events.Info(ctx)
	if err != nil {
		return down("state", err)
	}
	s.Messages, s.Bytes, s.MaxBytes = info.State.Msgs, info.State.Bytes, info.Config.MaxBytes
	s.FirstSeq, s.LastSeq = info.State.FirstSeq, info.State.LastSeq
	if !st.cfg.embedded() {
		s.Servers = external.ServersOf(info, st.cfg.Replicas, st.conns.all())
		s.Sync = st.durability(s)
	}
	switch err := st.renewConsumers(ctx, s); {
	case err != nil && st.cfg.Consume:
		return err
	case err != nil:
		st.unknown = fmt.Sprintf("how many events wait is not known, the figures of the backlog are old: %v", err)
	default:
		st.unknown = ""
	}
	s.At = time.Now()
	return nil
}

// consumersTimeout leaves a process that needs no consumer time enough to report the rest.
const consumersTimeout = 400 * time.Millisecond

// renewConsumers renews what the consumers say, also in a process that does not consume.
func (st *status) renewConsumers(ctx context.Context, s *event.QueueState) error {
	if !st.cfg.Consume {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, consumersTimeout)
		defer cancel()
	}
	c, err := st.consumerInfo(ctx, eventsStream, processors)
	if err != nil {
		return err
	}
	s.UnconsumedSince = st.consumption.Observe(c, time.Now())
	if c == nil {
		s.Pending = s.Messages // none of them was ever delivered, or the upkeep corrects it
		return nil
	}
	s.AckFloor, s.Pending, s.InFlight, s.Redelivered = ackFloor(c), c.NumPending, c.NumAckPending, c.NumRedelivered
	d, err := st.consumerInfo(ctx, advisoriesStream, deadLetters)
	if d == nil {
		return err
	}
	s.Advisories = unhandled(d)
	s.Verified, err = st.progress.verifiedUpTo(ctx)
	return err
}

// consumerInfo asks for a consumer. It returns nil and no error when that is missing,
// which the upkeep corrects where this process consumes.
func (st *status) consumerInfo(ctx context.Context, stream, name string) (*natsjs.ConsumerInfo, error) {
	c, err := st.conns.js.Consumer(ctx, stream, name)
	if errors.Is(err, natsjs.ErrConsumerNotFound) || !st.cfg.Consume && errors.Is(err, natsjs.ErrStreamNotFound) {
		if st.upkeep != nil {
			st.upkeep.wakeUp()
		}
		return nil, nil
	}
	if err != nil {
		return nil, down("state", err)
	}
	return c.CachedInfo(), nil
}

func (st *status) modeName() string {
	if st.cfg.embedded() {
		return "embedded"
	}
	return "connected"
}

// durability says what is known about when an acknowledged event is on disk.
func (st *status) durability(s *event.QueueState) string {
	if st.cfg.embedded() {
		return st.sync
	}
	replicas := fmt.Sprint(st.cfg.Replicas, " replicas set")
	if s.Servers != nil {
		replicas = fmt.Sprintf("%d of %d replicas", external.Current(s.Servers), s.Servers.Wanted)
	}
	return fmt.Sprintf("set by the server (version %s, %s)", st.conns.admin.ConnectedServerVersion(), replicas)
}

// FreeBytes returns the bytes that may be written below dir, which need not be there yet, and
// the directory that was asked: dir or the one above it that is there. They are -1 when they
// can't be known.
func FreeBytes(dir string) (free int64, asked string) {
	if full, err := filepath.Abs(dir); err == nil {
		dir = full
	}
	for free = durable.FreeBytes(dir); free < 0 && filepath.Dir(dir) != dir; free = durable.FreeBytes(dir) {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			break
		}
		dir = filepath.Dir(dir)
	}
	return free, dir
}

// diskFree returns the free bytes under the store, -1 when the store is
// elsewhere or they can't be known.
func diskFree(cfg Config) int64 {
	if !cfg.embedded() {
		return -1
	}
	return durable.FreeBytes(cfg.StoreDir)
}
