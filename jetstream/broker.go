// Package jetstream is the queue: an embedded NATS JetStream server, or a
// connection to an external one, behind the few calls that the appliance needs.
//
// In come envelopes ([Broker.Publish]); each is stored on disk before its
// receipt goes out. Out come deliveries ([Broker.Pull]) until a verdict settles
// them ([Broker.Settle]), notices about events that will not be delivered again
// ([Broker.PullAdvisories]), and, behind all that, the settled events once more
// for the reconciler, which checks that none got lost ([Broker.PullSettled]).
//
//	Publish ─▶ publisher ─▶ dedup ─▶ embedconn ─▶ server ─▶ pull ─▶ consumer ─▶ Pull
//	              ▲                                 │  ▲                │
//	              └── durable: flush of a group ◀───┘  └─── verdict ────┘ ◀─ Settle
//
//	progress     how far the events are settled and verified
//	integrity    what is known of the stream apart from it, and what it has lost
//	retention    purges history that is settled and verified
//	upkeep       makes again what is missing on the broker
//	supervisor   restarts the embedded server after an error
//	external     whether an external broker's servers answer
//
// Its types are those of package event; the appliance joins it to the intake and the
// worker. No package but this one and those below it imports NATS.
//
// # On the broker
//
//	EVENTS      events.<courier>   limits retention, discard new, dedupe window
//	            consumer processors: explicit ack, MaxDeliver, BackOff
//	ADVISORIES  the broker's notices about processors
//	            consumer deadletters: explicit ack
//	PROGRESS    progress.verified  one message: how far the reconciler has come
//
// Duplicates are known by the message id. An external broker keeps the ids of
// the whole window; an embedded one those of the last seconds, and package dedup
// the rest.
//
// The reconciler's position is a message rather than a consumer's ack floor,
// because several processes may reconcile at once: on a consumer that
// acknowledges all up to a sequence, one would acknowledge what the other has
// pulled and not checked yet.
package jetstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/loss"
	"github.com/fincart/courier-gateway/jetstream/dedup"
	"github.com/fincart/courier-gateway/jetstream/durable"
	"github.com/fincart/courier-gateway/jetstream/embedded"
	"github.com/fincart/courier-gateway/jetstream/integrity"
	"github.com/fincart/courier-gateway/jetstream/pull"
)

// Broker is the queue of one process. Its methods may be called by any number of
// goroutines. Those about consuming need [Config].Consume.
//
// Retention runs by itself: events that are settled and verified stay as history
// until the stream passes HistoryHighBytes or they pass HistoryMaxAge, and are
// then purged; nothing else ever is. A process that consumes must therefore
// also reconcile, or history grows until the stream is full.
//
// When its [Lifecycle] is stopped, it refuses further publishes, waits until those in
// flight are answered, flushes and stops the broker, and releases the store directory.
// Deliveries not settled come again after the next start. When the bound ends, it waits
// no longer for anything but the embedded server.
//
// The fields are set by Open and never again: what changes belongs to the parts.
type Broker struct {
	cfg       Config
	log       *slog.Logger
	m         *metrics
	life      lifecycle
	admission *admission

	// Of an embedded broker; nil when external.
	server  *embedded.Server
	flusher *durable.Flusher
	filler  *dedup.Filler
	sync    string // how it is made durable, in effect

	record *integrity.Record
	conns  *connections
	topo   *topology
	reader *reader
	*History
	progress   *progress
	aligner    *aligner
	checker    *integrity.Checker
	runs       *integrity.Runs
	publisher  *publisher
	consumer   *consumer // nil without Config.Consume, as are the next two
	upkeep     *upkeep
	retention  *retention
	status     *status
	supervisor *supervisor
}

// openTimeout bounds Open when its context doesn't, apart from the start of an embedded
// server and the wait for an external one.
const openTimeout = 30 * time.Second

// Open starts or reaches the broker, makes what is missing on it, and returns
// when events are accepted. A store that is made here is durable by then. It
// fails when another process uses the store directory, when the store is
// damaged, or when what exists on the broker has another shape; the error says
// what to do. An external broker that is away, or that its operator has to repair, it
// waits for until ctx ends, and reports why. What it has started is registered with
// deps.Lifecycle, also when it fails.
func Open(ctx context.Context, cfg Config, deps Deps) (_ *Broker, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("broker configuration: %w", err)
	}
	if cfg.embedded() {
		cfg.Replicas = 1
	}
	cfg.serverWindow = deps.serverWindow
	b := &Broker{cfg: cfg, log: deps.Logger, life: lifecycle{deps.Lifecycle}, admission: &admission{}, sync: cfg.Sync}
	defer func() {
		if err != nil {
			b.admission.close() // so that connections which are closed now are not reported as lost
		}
	}()
	wake := make(chan struct{}, 1) // of the supervisor
	if b.m, err = newMetrics(deps.Metrics); err != nil {
		return nil, fmt.Errorf("broker metrics: %w", err)
	}
	b.life.onStop("metrics", func(context.Context) error { b.m.unregister(); return nil })
	if cfg.embedded() {
		if err := b.openStore(deps.flush, func() { signal(wake) }); err != nil {
			return nil, err
		}
	}
	if b.record, err = integrity.OpenRecord(cfg.StateDir, !cfg.embedded(), b.log, b.m.integrity); err != nil {
		return nil, err
	}
	b.life.onStop("record of the stream", func(context.Context) error { return b.record.Close() })

	waiting := func(error) {}
	if !cfg.embedded() {
		var stopNotice func() bool
		waiting, stopNotice = reportWaiting(b.log, b.cfg.URLs, deps.Waiting)
		defer stopNotice()
	}
	b.conns = &connections{
		cfg: b.cfg, log: b.log, server: b.server, life: b.life, closing: func() bool { return b.admission.holds(closing) }, waiting: waiting,
	}
	if err := b.reach(ctx, deps, wake, waiting); err != nil {
		return nil, err
	}
	// Recovering a large store, or a broker, takes as long as it takes; what follows does not.
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if err := b.openTopology(ctx); err != nil {
		return nil, err
	}
	if err := b.run(ctx); err != nil {
		return nil, err
	}
	return b, nil
}

// reach connects, and makes and checks what is on the broker.
func (b *Broker) reach(ctx context.Context, deps Deps, wake chan struct{}, waiting func(error)) error {
	if b.cfg.embedded() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, openTimeout)
		defer cancel()
	}
	if err := b.conns.open(ctx, deps.natsgo); err != nil {
		return err
	}
	b.compose(deps, wake)
	var err error
	if b.cfg.embedded() {
		err = b.topo.ensure(ctx)
	} else {
		err = b.topo.ensureExternal(ctx, b.conns.refusal, waiting)
	}
	if err != nil {
		return fmt.Errorf("prepare the broker: %w", err)
	}
	return nil
}

// openStore takes the store directory, repairs what an earlier process left of a
// failed flush, and starts the embedded server on it. Where no call flushes a whole file
// system, the server flushes each message. failed is called when a flush fails.
func (b *Broker) openStore(flush func() error, failed func()) error {
	dir := b.cfg.StoreDir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make store directory: %w", err)
	}
	unlock, err := durable.Lock(dir)
	if err != nil {
		return err
	}
	b.life.onStop("store lock", func(context.Context) error { return unlock() })
	b.flusher, err = durable.NewFlusher(durable.Config{
		Dir: dir, Flush: flush, Logger: b.log, Flushed: b.m.flushed,
		Failed: func(err error) {
			b.m.flushErrors.Inc()
			b.admission.shut(flushFailed, "the disk refused a flush: "+err.Error())
			failed()
		},
	})
	if err != nil {
		return err
	}
	b.life.onStop("flush", func(context.Context) error { return errors.Join(b.flusher.Flush(), b.flusher.Close()) })
	if !b.flusher.Grouped() && b.cfg.Sync == SyncGroup {
		b.cfg.Sync, b.sync = SyncAlways, "always (this system has no group flush)"
		b.log.Warn("sync is always instead of group: this system can't flush a whole file system")
	}
	if durable.InMemory(dir) {
		b.sync += " (in memory)"
		b.log.Warn("the queue's file system is in memory: no flush makes it survive a power cut", "dir", dir)
	}
	b.server = embedded.New(embedded.Config{
		Name: b.cfg.Name, StoreDir: dir, MaxPayload: b.cfg.MaxMessageBytes, MaxMemoryBytes: b.cfg.MaxMemoryBytes,
		SyncAlways: b.cfg.Sync == SyncAlways, Derived: derived, Logger: b.log,
	})
	if b.flusher.Failed() != nil {
		if err := b.flusher.Repair(b.server.Dir()); err != nil {
			return fmt.Errorf("the disk of %s does not take what is written to it, make it work or free space, and start again: %w", dir, err)
		}
		b.admission.open(flushFailed)
	}
	b.life.onStop("embedded broker", func(context.Context) error { b.server.Stop(); return nil })
	return b.server.Start()
}

// compose makes the parts, none of which runs yet.
func (b *Broker) compose(deps Deps, wake chan struct{}) {
	b.topo = &topology{cfg: b.cfg, log: b.log, js: b.conns.js}
	b.reader = &reader{conn: b.conns.admin, external: !b.cfg.embedded()}
	b.History = &History{b.reader}
	b.progress = &progress{topo: b.topo, reader: b.reader, record: b.record, js: b.conns.js, floors: delayedFloor{delay: cmp.Or(deps.settleDelay, time.Second)}}
	b.topo.resumeAt = b.progress.resumeAt
	b.aligner = &aligner{cfg: b.cfg, log: b.log, js: b.conns.js, topo: b.topo, progress: b.progress, remade: func() {}}
	b.progress.confirm = b.aligner.confirm
	if b.cfg.Consume {
		b.consumer = newConsumer(b.cfg, b.conns.consume, b.m, b.log, b.progress.floorMoved)
		b.aligner.remade = b.consumer.advisories.Reconnected
	}
	b.supervisor = &supervisor{
		cfg: b.cfg, log: b.log, m: b.m, admission: b.admission, conns: b.conns, topo: b.topo, aligner: b.aligner, wake: wake,
		server: b.server, flusher: b.flusher,
	}
	examined := integrity.Config{
		Embedded: b.cfg.embedded(), Consume: b.cfg.Consume, Replicas: b.cfg.Replicas, Logger: b.log,
		Reader: b.reader, Stream: b.topo.events, Verified: b.progress.read, Conn: b.conns.admin, FillerSubject: fillerSubject,
		Reopen: b.supervisor.reopen, Redefined: func() bool { return b.server.Undefined(eventsStream) },
	}
	b.checker, b.runs = integrity.NewChecker(examined, b.record), integrity.NewRuns(examined, b.record)
	var window *dedup.Window
	var flush func() error
	if b.cfg.embedded() {
		window = dedup.NewWindow(b.cfg.DuplicateWindow, 0)
		b.filler = &dedup.Filler{
			Window: window, Length: b.cfg.DuplicateWindow, Source: windowSource{b.reader, b.topo.events}, Header: msgIDHeader,
			Stream: eventsStream, Dir: b.server.MessageDir(eventsStream), Logger: b.log,
			Known: func(ids int) { b.m.windowIDs.Set(float64(ids)) },
		}
		if b.cfg.Sync == SyncGroup {
			flush = b.flusher.Flush
		}
	}
	b.publisher = newPublisher(b.cfg, flush, publisherDeps{
		admission: b.admission, window: window, record: b.record, receipts: b.checker.Receipts(), reader: b.reader,
		conn: cmp.Or(b.conns.publish, b.conns.admin), onReused: func() { signal(wake) }, m: b.m, log: b.log,
	})
	if b.cfg.Consume {
		b.upkeep = &upkeep{cfg: b.cfg, log: b.log, js: b.conns.js, topo: b.topo, aligner: b.aligner, ready: b.supervisor.ready, wake: make(chan struct{}, 1)}
		b.retention = &retention{
			cfg: b.cfg, log: b.log, m: b.m, topo: b.topo, progress: b.progress, reader: b.reader, record: b.record, connected: b.conns.connected,
		}
	}
	b.status = &status{
		cfg: b.cfg, sync: b.sync, conns: b.conns, m: b.m, admission: b.admission, record: b.record, topo: b.topo, progress: b.progress,
		upkeep: b.upkeep,
	}
	b.supervisor.checker, b.supervisor.filler, b.supervisor.status = b.checker, b.filler, b.status
}

// openTopology makes what is on the broker fit, and durable.
func (b *Broker) openTopology(ctx context.Context) error {
	if err := b.aligner.checkPosition(ctx); err != nil {
		return err
	}
	return b.checker.Start(ctx, func(ctx context.Context) error {
		if err := b.aligner.align(ctx); err != nil || !b.cfg.embedded() {
			return err
		}
		if err := b.filler.Backfill(ctx); err != nil {
			return err
		}
		if err := b.flusher.Flush(); err != nil {
			return fmt.Errorf("make the store durable: %w", err)
		}
		if b.cfg.Consume {
			return b.consumer.redeliver(ctx, b.server, b.log)
		}
		return nil
	})
}

// run starts what runs by itself.
func (b *Broker) run(ctx context.Context) (err error) {
	if b.publisher.group != nil {
		b.life.start("group flush", b.publisher.group.Run)
	}
	if b.publisher.transport, err = b.conns.openTransport(ctx, b.publisher); err != nil {
		return err
	}
	b.life.onStop("publishes in flight", b.publisher.drain)
	if !b.cfg.embedded() {
		b.life.start("probe of the broker", b.publisher.probe(b.conns.publish).Run)
	}
	if b.cfg.Consume {
		b.life.start("pull of events", b.consumer.events.Run)
		b.life.start("pull of advisories", b.consumer.advisories.Run)
		b.life.onStop("pulling", b.consumer.stop)
		b.life.start("retention", b.retention.run)
		b.life.start("upkeep", b.upkeep.run)
	}
	if b.filler != nil {
		b.life.start("duplicate window", func(ctx context.Context) { b.filler.Run(ctx, b.conns.connected) })
	}
	b.life.start("supervisor", b.supervisor.run)
	b.life.onStop("intake", func(context.Context) error { b.admission.close(); return nil })
	return nil
}

// Publish stores e and returns when the broker has acknowledged it and, with
// SyncGroup, a flush that began after that has ended: with SyncGroup and
// SyncAlways the event survives a power cut from then on. The envelope and its
// bytes belong to the caller again. Thousands may call at once.
//
// A copy of an event that the broker still knows is not stored again; the
// receipt says Duplicate and names the original's sequence. If its body differs
// from the original's, the copy is stored under an id of its own, so that the
// worker sees it and counts a conflict, and the receipt says Conflict too.
//
// Every error is an [event.Error]: PayloadTooLarge for an event over the
// broker's limit, InvalidPayload for an identity that no header can carry, else
// IntakeUnavailable, whose text says why. In the last case the event may or may
// not be stored; sending it again is safe.
func (b *Broker) Publish(ctx context.Context, e *event.Envelope) (event.Receipt, error) {
	return b.publisher.publish(ctx, e)
}

// InFlight returns how many publishes wait for their outcome. It costs next to
// nothing.
func (b *Broker) InFlight() int { return b.publisher.inFlight() }

// Pull returns between 1 and limit deliveries, oldest first, as soon as there is
// one, without waiting for more. Their bytes are the caller's. It returns
// [event.ErrStopped] when [Broker.StopPulling] was called and nothing is left, and the
// cause of ctx when that ends. A lost connection only makes it wait.
//
// Deliveries that came ahead and wait for the next Pull are kept alive: a worker
// that doesn't call Pull for a while, because its database is down, costs no
// event an attempt. What it holds itself it keeps alive with
// [Broker.KeepAlive]. While no worker pulls, exhausted events are not announced
// either; that follows when pulling goes on.
func (b *Broker) Pull(ctx context.Context, limit int) ([]event.Delivery, error) {
	return b.consumer.pull(ctx, limit)
}

// StopPulling asks the broker for no more deliveries and advisories. [Broker.Pull]
// and [Broker.PullAdvisories] still return what has come already, each of which
// has spent an attempt, and then [event.ErrStopped]. It returns when nothing more will
// come, or when ctx ends.
func (b *Broker) StopPulling(ctx context.Context) error {
	if !b.cfg.Consume {
		return nil
	}
	return b.consumer.stop(ctx)
}

// Settle sends the broker the verdict on d. It returns when the verdict is on its
// way, not when the broker has it: a verdict that gets lost means one more
// delivery, so outcomes must be idempotent. The error's code is DependencyDown.
//
// A Retry is redelivered v.Delay after this call, never earlier, although the
// consumer has a BackOff schedule. A Retry after the last attempt ends the event with
// the reason ATTEMPTS_EXHAUSTED, and its advisory goes out at once.
func (b *Broker) Settle(d event.Delivery, v event.Verdict) error {
	return b.consumer.settle(d, v)
}

// KeepAliveEvery returns how often a delivery that a caller holds is to be kept alive
// ([Broker.KeepAlive]), so that no more than half of ackWait passes without a signal.
func KeepAliveEvery(ackWait time.Duration) time.Duration { return pull.KeepAliveEvery(ackWait) }

// KeepAlive reports to the broker that the deliveries are still being worked on, so
// that none of them is taken for a failed attempt. Call it for what is held as
// often as [KeepAliveEvery] says. The error's code is DependencyDown.
func (b *Broker) KeepAlive(held []event.Delivery) error {
	return b.consumer.keepAlive(held)
}

// PullAdvisories returns between 1 and limit notices that an event will not be
// delivered again, as soon as there is one: its attempts ran out, or a Dead
// verdict ended it. The same one may come several times. It ends as
// [Broker.Pull] does.
//
// Advisories are kept in a stream of their own until settled, so that none is
// lost while no process pulls them.
func (b *Broker) PullAdvisories(ctx context.Context, limit int) ([]event.Advisory, error) {
	return b.consumer.pullAdvisories(ctx, limit)
}

// SettleAdvisory reports to the broker that a is handled for good, or, with done false,
// that it shall come again in a second. The error's code is DependencyDown.
func (b *Broker) SettleAdvisory(a event.Advisory, done bool) error {
	return b.consumer.settleAdvisory(a, done)
}

// KeepAdvisories reports to the broker that the advisories are still being handled, so
// that it delivers them to no other process. Call it for what is held as often as
// [KeepAdvisoriesEvery] says. The error's code is DependencyDown.
func (b *Broker) KeepAdvisories(held []event.Advisory) error {
	return b.consumer.keepAdvisories(held)
}

// PullSettled returns up to limit events, in the order of the stream, that are
// settled and not verified yet: every one of them should have a terminal row in
// the ledger. It returns none when there are none, without waiting. They carry
// neither Attempt nor AckTo. The same events are returned until
// [Broker.Verified] passes them, to every process that asks.
//
// A sequence at which the stream has nothing that can be read is returned as a gap.
//
// Settled is what lies at or below the processors' ack floor, has no advisory
// waiting to be handled, and has been so for a second. The error's code is
// DependencyDown.
func (b *Broker) PullSettled(ctx context.Context, limit int) ([]event.Delivery, error) {
	floor, err := b.progress.settledFloor(ctx)
	if err != nil {
		return nil, err
	}
	verified, err := b.progress.verifiedUpTo(ctx)
	if err != nil || verified >= floor {
		return nil, err
	}
	return b.runs.Read(ctx, verified+1, floor, max(limit, 1))
}

// Verified records that every event up to lastSeq has been found terminal or
// was requeued. It is stored on the broker, for all processes; a call that gets lost,
// or a lower number that overtakes a higher one, only makes some events be verified
// again. The error's code is DependencyDown.
func (b *Broker) Verified(ctx context.Context, lastSeq uint64) error {
	if lastSeq <= b.progress.verified.Load() {
		return nil
	}
	if err := b.progress.store(ctx, lastSeq); err != nil {
		return err
	}
	b.record.RaiseVerified(b.topo.birth(), lastSeq, b.runs.StoredAt(lastSeq))
	return nil
}

// ReportMissing puts sequences on the list of losses that the stream should have
// and doesn't. The error's code is Internal when the list can't be written.
func (b *Broker) ReportMissing(_ context.Context, seqs []uint64) error {
	return b.record.ReportMissing(b.topo.birth(), seqs)
}

// Losses returns what the queue is known to have lost, the oldest first.
func (b *Broker) Losses() []loss.Loss { return b.record.Losses() }

// AcknowledgeLoss marks a loss as known to an operator, for good; the note may be
// empty. The error's code is NotFound when there is no such loss.
func (b *Broker) AcknowledgeLoss(_ context.Context, id, note string) (loss.Loss, error) {
	return b.record.Acknowledge(id, note)
}

// MissingEvents returns some of the missing events that are to be looked up in the
// ledger; none when all were.
func (b *Broker) MissingEvents() []loss.Missing { return b.record.Unchecked() }

// MissingChecked takes over which of m have their outcome. The others are lost.
func (b *Broker) MissingChecked(m loss.Missing, ended []uint64) error {
	return b.record.Checked(m, ended)
}

// State returns the queue's figures, at most half a second old, and whether
// events are accepted right now. It always returns what is known; with an error,
// whose code is DependencyDown, the figures are those of its At.
func (b *Broker) State(ctx context.Context) (event.QueueState, error) {
	return b.status.get(ctx)
}

// Healthy reports whether events are accepted right now. It costs an atomic load.
func (b *Broker) Healthy() bool { return b.admission.healthy() }

// Identity names the stream of the events: another one of the same name, made after the
// first was deleted, has another identity.
func (b *Broker) Identity() string { return strconv.FormatInt(b.topo.birth(), 10) }
