package app

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ingest/event/stamp"
	"github.com/fincart/courier-gateway/jetstream"
	"github.com/fincart/courier-gateway/ops"
	"github.com/fincart/courier-gateway/persistence"
	"github.com/fincart/courier-gateway/process"
)

// pace is the workers' wait between two batches that are not full: long against a flush
// of the disk, short against the time in which an event's outcome is expected.
const pace = 40 * time.Millisecond

// manyInFlight is how many publishes wait for the broker when more come in than the
// machine can take; what is due to a flush alone is a fraction of it.
const manyInFlight = 64

// intakeNeedsMachine reports whether the intake of this process needs the machine.
func intakeNeedsMachine(broker *jetstream.Broker) func() bool {
	return func() bool { return broker.InFlight() > manyInFlight }
}

// consumers are all that consumes the queue: the workers, the dead-letterer and the
// reconciler.
type consumers struct {
	workers      []*process.Worker
	heartbeats   []process.Heartbeat // of the workers, in their order
	deadLetterer *process.DeadLetterer
	reconciler   *process.Reconciler
	reprocessor  *process.Reprocessor
	marked       *markedQueue // the reconciler's, nil with a store that keeps no marks
}

// consumerDeps are the parts that consumers are built on.
type consumerDeps struct {
	broker  *jetstream.Broker
	store   persistence.Store
	wrap    func(process.Store) process.Store // see Deps
	cache   persistence.Cache
	stamper *stamp.Stamper
	decode  process.Reader
	// maxAhead is [process.Handler.MaxAhead].
	maxAhead func(courier string) time.Duration
	mapped   func(courier, status string, scan bool) bool // [process.Handler.Mapped]
	metrics  prometheus.Registerer
	log      *slog.Logger
}

func newConsumers(cfg config.Config, deps consumerDeps) *consumers {
	log, broker, store := deps.log, deps.broker, deps.store
	var ledger process.Store = store.Ledger
	if deps.wrap != nil {
		ledger = deps.wrap(store.Ledger)
	}
	handler := &process.Handler{
		Store: ledger, Cache: deps.cache, Stamper: deps.stamper, Read: deps.decode, MaxAhead: deps.maxAhead, Mapped: deps.mapped, Statuses: store.Statuses, Policy: cfg.RetryPolicy(), Log: log, Metrics: process.NewMetrics(deps.metrics), Now: time.Now,
	}
	c := &consumers{
		heartbeats: make([]process.Heartbeat, cfg.Process.Workers),
		deadLetterer: &process.DeadLetterer{
			Queue: broker, Handler: handler, KeepAlive: jetstream.KeepAdvisoriesEvery,
		},
		reconciler: &process.Reconciler{
			Queue: broker, DeadLetters: store.DeadLetters, Ended: store.Ledger, Publisher: broker, Handler: handler,
			Every: cfg.Process.ReconcileEvery, Grace: cfg.Process.ReconcileGrace,
		},
	}
	c.reprocessor = &process.Reprocessor{History: broker, Handler: handler, Statuses: store.Statuses, Log: log}
	if store.Marks != nil {
		c.marked = &markedQueue{settledQueue: broker, store: store.Marks, accept: cfg.Persistence.AcceptOlderStore, log: log}
		c.reconciler.Queue = c.marked
	}
	for i := range c.heartbeats {
		c.workers = append(c.workers, &process.Worker{
			Queue: broker, Handler: handler, Heartbeat: &c.heartbeats[i], Log: log,
			Config: process.WorkerConfig{
				BatchSize: cfg.Process.BatchSize, Pace: pace, Pressed: intakeNeedsMachine(broker),
				KeepAlive: jetstream.KeepAliveEvery(cfg.JetStream.AckWait),
			},
		})
	}
	return c
}

// run starts them all; the life cycle stops them, workers first.
func (c *consumers) run(life *lifecycle) {
	life.Run("reconciler", c.reconciler.Run)
	life.Run("dead-letterer", c.deadLetterer.Run)
	for i, worker := range c.workers {
		life.Run("worker "+strconv.Itoa(i+1), worker.Run)
	}
}

// oldestHeartbeat returns the phase and the last heartbeat of the worker that has
// been silent longest.
func (c *consumers) oldestHeartbeat() (phase string, at time.Time) {
	s := c.workerStatus()
	return s.Phase, s.LastHeartbeat
}

// longestHold returns the hold of the worker that has held its events longest, nil when
// none does.
func (c *consumers) longestHold() (longest *process.Hold) {
	for i := range c.heartbeats {
		if hold := c.heartbeats[i].Read().Held; hold != nil && (longest == nil || hold.Since.Before(longest.Since)) {
			longest = hold
		}
	}
	return longest
}

// outcomeProblems returns which outcomes the store lacks.
func (c *consumers) outcomeProblems() []string {
	if c.marked == nil {
		return nil
	}
	return c.marked.problems()
}

// unmapped lists the statuses that no mapping knew when they came.
func unmapped(ctx context.Context, store persistence.Statuses, mapped func(courier, status string, scan bool) bool) (ops.UnmappedList, error) {
	list := ops.UnmappedList{Statuses: []ops.UnmappedStatus{}}
	found, err := store.Unmapped(ctx)
	for _, u := range found {
		for _, s := range u.Statuses {
			list.Statuses = append(list.Statuses, ops.UnmappedStatus{Courier: u.Courier, UnmappedStatus: s, Mapped: s.Status != "" && (mapped(u.Courier, s.Status, false) || mapped(u.Courier, s.Status, true))})
		}
	}
	return list, err
}

// workerStatus sums up the workers: their counts, and the state of the one that
// has been silent longest.
func (c *consumers) workerStatus() ops.WorkerStatus {
	var s ops.WorkerStatus
	for i := range c.heartbeats {
		h := c.heartbeats[i].Read()
		s.Events, s.Batches = s.Events+h.Events, s.Batches+h.Batches
		if i == 0 || h.At.Before(s.LastHeartbeat) {
			s.Phase, s.LastHeartbeat = h.Phase, h.At
		}
	}
	return s
}

func (c *consumers) reconcilerStatus() ops.ReconcilerStatus {
	verified, checked, requeued, waiting := c.reconciler.Counts()
	return ops.ReconcilerStatus{Verified: verified, Checked: checked, Requeued: requeued, Waiting: waiting}
}
