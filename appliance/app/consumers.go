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

// pace is the workers' between two batches that are not full: long against a flush
// of the disk, short against what anybody waits for an event's outcome.
const pace = 40 * time.Millisecond

// manyInFlight is how many publishes wait for the broker when more come in than the
// machine can take; what is due to a flush alone is a fraction of it.
const manyInFlight = 64

// pressed reports whether the intake of this process needs the machine.
func pressed(broker *jetstream.Broker) func() bool {
	return func() bool { return broker.InFlight() > manyInFlight }
}

// workforce is everybody who works on the queue: the workers, the dead-letter
// dead-letterer and the reconciler.
type workforce struct {
	workers      []*process.Worker
	heartbeats   []process.Heartbeat // of the workers, in their order
	deadLetterer *process.DeadLetterer
	reconciler   *process.Reconciler
	marked       *markedQueue // the reconciler's, nil with a store that keeps no marks
}

func newWorkforce(
	cfg config.Config, broker *jetstream.Broker, store persistence.Store, cache persistence.Cache,
	stamper *stamp.Stamper, read process.Reader, registry prometheus.Registerer, deps Deps,
) *workforce {
	log := deps.Log.With("package", "process")
	figures := process.NewMetrics(registry)
	var ledger process.Store = store.Ledger
	if deps.WrapStore != nil {
		ledger = deps.WrapStore(store.Ledger)
	}
	handler := &process.Handler{
		Store: ledger, Cache: cache, Stamper: stamper, Read: read, Policy: cfg.RetryPolicy(), Log: log, Metrics: figures, Now: time.Now,
	}
	w := &workforce{
		heartbeats: make([]process.Heartbeat, cfg.Process.Workers),
		deadLetterer: &process.DeadLetterer{
			Queue: broker, Store: ledger, Handler: handler, Stamper: stamper, Read: read, Log: log, Metrics: figures, Now: time.Now,
			KeepAlive: jetstream.KeepAdvisoriesEvery,
		},
		reconciler: &process.Reconciler{
			Queue: broker, Store: ledger, DeadLetters: store.DeadLetters, Ended: store.Ledger, Publisher: broker, Handler: handler, Stamper: stamper,
			Every: cfg.Process.ReconcileEvery, Grace: cfg.Process.ReconcileGrace, Log: log, Metrics: figures, Now: time.Now,
		},
	}
	if store.Marks != nil {
		w.marked = &markedQueue{settledQueue: broker, store: store.Marks, accept: cfg.Persistence.AcceptOlderStore, log: log}
		w.reconciler.Queue = w.marked
	}
	for i := range w.heartbeats {
		w.workers = append(w.workers, &process.Worker{
			Queue: broker, Handler: handler, Heartbeat: &w.heartbeats[i], Log: log,
			Config: process.WorkerConfig{
				BatchSize: cfg.Process.BatchSize, Pace: pace, Pressed: pressed(broker),
				KeepAlive: jetstream.KeepAliveEvery(cfg.JetStream.AckWait),
			},
		})
	}
	return w
}

// run sets everybody to work until the lifecycle stops them, workers first.
func (w *workforce) run(life *lifecycle) {
	life.run("reconciler", w.reconciler.Run)
	life.run("dead-letterer", w.deadLetterer.Run)
	for i, worker := range w.workers {
		life.run("worker "+strconv.Itoa(i+1), worker.Run)
	}
}

// oldestBeat returns the phase and the last sign of life of the worker that has
// been silent longest.
func (w *workforce) oldestBeat() (phase string, at time.Time) {
	s := w.workerStatus()
	return s.Phase, s.LastHeartbeat
}

// held returns the hold of the worker that has held its events longest, nil when none
// does.
func (w *workforce) held() (longest *process.Hold) {
	for i := range w.heartbeats {
		if hold := w.heartbeats[i].Read().Held; hold != nil && (longest == nil || hold.Since.Before(longest.Since)) {
			longest = hold
		}
	}
	return longest
}

// outcomeProblems returns which outcomes the store lacks.
func (w *workforce) outcomeProblems() []string {
	if w.marked == nil {
		return nil
	}
	return w.marked.problems()
}

// workerStatus sums up the workers: their counts, and the state of the one that
// has been silent longest.
func (w *workforce) workerStatus() ops.WorkerStatus {
	var s ops.WorkerStatus
	for i := range w.heartbeats {
		h := w.heartbeats[i].Read()
		s.Events, s.Batches = s.Events+h.Events, s.Batches+h.Batches
		if i == 0 || h.At.Before(s.LastHeartbeat) {
			s.Phase, s.LastHeartbeat = h.Phase, h.At
		}
	}
	return s
}

func (w *workforce) reconcilerStatus() ops.ReconcilerStatus {
	verified, checked, requeued, waiting := w.reconciler.Counts()
	return ops.ReconcilerStatus{Verified: verified, Checked: checked, Requeued: requeued, Waiting: waiting}
}

// sweep removes from a store what has expired, every so often, until ctx ends.
func sweep(ctx context.Context, store persistence.Database, every time.Duration, log *slog.Logger) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		swept, err := store.Sweep(ctx, time.Now())
		switch {
		case err != nil && ctx.Err() == nil:
			log.Warn("can't remove what has expired, trying again", "error", err)
		case swept != persistence.Swept{}:
			log.Info("removed what has expired", "events", swept.Records, "dead_letters", swept.DeadLetters, "ingestions", swept.Ingestions)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
