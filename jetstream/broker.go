// Package jetstream is the queue: an embedded NATS JetStream server, or a
// connection to an external one, behind the few words that the appliance needs.
//
// In come envelopes ([Broker.Publish]); each is stored on disk before its
// receipt goes out. Out come deliveries ([Broker.Pull]) until a verdict settles
// them ([Broker.Settle]), notices about events that nobody will see again
// ([Broker.PullAdvisories]), and, behind all that, the settled events once more
// for whoever proves that none got lost ([Broker.PullSettled]).
//
// It speaks [event] only; the appliance joins it to the intake and the worker.
// Nothing outside this package knows NATS.
//
// # On the broker
//
//	EVENTS      events.<courier>   limits retention, discard new, dedupe window
//	            consumer processors: explicit ack, MaxDeliver, BackOff
//	ADVISORIES  the broker's notices about processors
//	            consumer deadletters: explicit ack
//	PROGRESS    progress.verified  one message: how far the reconciler has come
//
// Duplicates are known by the message id. An external broker remembers the ids of
// the whole window; an embedded one those of the last seconds, and this package
// the rest, see learn.go.
//
// The reconciler's position is a message rather than a consumer's ack floor,
// because several processes may reconcile at once: on a consumer that
// acknowledges all up to a sequence, one would vouch for what the other has
// pulled and not looked at yet.
package jetstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

// Broker is the queue of one process. Its methods may be called by any number of
// goroutines. Those about consuming need [Config].Consume.
//
// Retention runs by itself: events that are settled and verified stay as history
// until the stream passes HistoryHighBytes or they pass HistoryMaxAge, and are
// then purged; nothing else ever is. A process that consumes must therefore
// also reconcile, or history grows until the stream is full.
type Broker struct {
	cfg    Config
	log    *slog.Logger
	m      *metrics
	gate   gate
	sync   string // how it is made durable, in effect
	natsgo bool   // see Deps

	server  *embedded             // nil when external
	left    map[string]leftBehind // by stream/consumer: what the server before left, until redeliverInFlight
	flusher *flusher              // nil when external

	position *positionFile // what is known of the stream apart from it, see missing.go
	losses   *losses
	seen     seen
	storedAt storedTimes

	pipe                    *pipe      // publishes to the embedded server; nil without one
	publish, admin, consume *nats.Conn // publish is nil with a pipe, consume without Config.Consume
	js                      natsjs.JetStream
	topo                    atomic.Pointer[topology]

	pub                *publisher
	commit             *committer // nil without SyncGroup
	recent             *recent    // nil when external, see learn.go
	events, advisories *puller    // nil without Config.Consume

	floors     lagged
	floorStale atomic.Bool   // see refreshFloor
	verified   atomic.Uint64 // as last read or stored
	noPosition atomic.Bool   // the broker had no position when it was last read
	changed    changedOutside
	state      stateCache
	trouble    chan struct{} // one token when the watch should look now

	stops []stop
	once  sync.Once
}

// stop is a named step of Close.
type stop struct {
	name string
	do   func(context.Context) error
}

const (
	openTimeout     = 30 * time.Second // bounds Open when its context doesn't
	topologyTimeout = 2 * time.Second  // bounds one try at making what is missing outside
)

// Open starts or reaches the broker, makes what is missing on it, and returns
// when events are accepted. A store that is made here is durable by then. It
// fails when another process uses the store directory, when the store is
// damaged, or when what exists on the broker has another shape; the error says
// what to do.
func Open(ctx context.Context, cfg Config, deps Deps) (*Broker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("broker configuration: %w", err)
	}
	if cfg.Mode == ModeEmbedded {
		cfg.Replicas = 1
	}
	cfg.serverWindow = deps.serverWindow
	b := &Broker{
		cfg: cfg, log: deps.Logger, sync: cfg.Sync, natsgo: deps.natsgo,
		floors: lagged{lag: cmp.Or(deps.settleLag, time.Second)}, trouble: make(chan struct{}, 1),
	}
	if err := b.open(ctx, deps); err != nil {
		return nil, errors.Join(err, b.Close(context.WithoutCancel(ctx)))
	}
	return b, nil
}

// open starts part by part; each registers its stop.
func (b *Broker) open(ctx context.Context, deps Deps) (err error) {
	if b.m, err = newMetrics(deps.Metrics); err != nil {
		return fmt.Errorf("broker metrics: %w", err)
	}
	b.onStop("metrics", func(context.Context) error { b.m.unregister(); return nil })
	if b.cfg.Mode == ModeEmbedded {
		if err := b.openStore(deps.flush); err != nil {
			return err
		}
	}
	if err := b.openState(); err != nil {
		return err
	}
	// Recovering a large store takes as long as it takes; what follows does not.
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if err := b.connect(ctx); err != nil {
		return err
	}
	if err := b.openTopology(ctx); err != nil {
		return err
	}
	return b.startParts(ctx)
}

// openStore takes the store directory, repairs what an earlier process left of a
// failed flush, and starts the embedded server on it. Tests bring a flush of
// their own.
func (b *Broker) openStore(flush func() error) error {
	dir := b.cfg.StoreDir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make store directory: %w", err)
	}
	unlock, err := lockStore(dir)
	if err != nil {
		return err
	}
	b.onStop("store lock", func(context.Context) error { return unlock() })
	if flush == nil {
		flushAll, closeFD, err := flushFS(dir)
		if err != nil {
			return err
		}
		flush = flushAll
		b.onStop("flush descriptor", func(context.Context) error { return closeFD() })
	}
	if err := b.openFlusher(dir, flush); err != nil {
		return err
	}
	b.server, b.recent = newEmbedded(b.cfg, b.log), newRecent(b.cfg.DuplicateWindow, 0)
	if _, failed := b.flusher.state(); failed != nil {
		if err := b.flusher.repair(b.server.storeDir()); err != nil {
			return fmt.Errorf("the disk of %s does not take what is written to it, make it work or free space, and start again: %w", dir, err)
		}
		b.gate.open(flushFailed)
	}
	b.onStop("embedded broker", func(context.Context) error { b.server.stop(); return nil })
	return b.startServer()
}

// openTopology makes and checks what is on the broker, and makes it durable.
func (b *Broker) openTopology(ctx context.Context) error {
	ensure := b.ensureTopology
	if b.server == nil {
		ensure = b.ensureExternal
	}
	if err := ensure(ctx); err != nil {
		return fmt.Errorf("prepare the broker: %w", err)
	}
	if err := b.checkPosition(ctx); err != nil {
		return err
	}
	if err := b.examineStart(ctx); err != nil {
		return err
	}
	if err := b.alignPositions(ctx); err != nil {
		return err
	}
	if b.server == nil {
		return b.begin(ctx)
	}
	if err := b.backfill(ctx); err != nil {
		return err
	}
	if err := b.flusher.flush(); err != nil {
		return fmt.Errorf("make the store durable: %w", err)
	}
	if b.cfg.Consume {
		if err := b.redeliverInFlight(ctx); err != nil {
			return err
		}
	}
	return b.begin(ctx)
}

// ensureExternal is ensureTopology on a broker that may be starting: a cluster
// without a leader leaves requests unanswered.
func (b *Broker) ensureExternal(ctx context.Context) error {
	_, err := retry(ctx, func() (struct{}, error) {
		ctx, cancel := context.WithTimeout(ctx, topologyTimeout)
		defer cancel()
		return struct{}{}, b.ensureTopology(ctx)
	}, func(err error) bool { return errors.Is(err, errShape) })
	return err
}

// startParts starts what runs by itself.
func (b *Broker) startParts(ctx context.Context) (err error) {
	if b.server != nil && b.cfg.Sync == SyncGroup {
		b.commit = newCommitter(b.flusher.flush, b.position, b.m)
		b.start(ctx, "committer", b.commit.run)
	}
	b.pub = newPublisher(nats.NewInbox(), b.cfg, publisherDeps{
		gate: &b.gate, commit: b.commit, recent: b.recent, position: b.position, m: b.m,
		reused: func() { signal(b.trouble) },
	})
	b.pub.receipts.reset(b.topo.Load().events.CachedInfo().State.LastSeq)
	if err := b.openWire(ctx); err != nil {
		return err
	}
	b.onStop("publishes in flight", b.pub.drain)
	if b.cfg.Consume {
		b.events = newPuller(b.consume, eventsStream, processors, b.cfg.PullBuffer, b.cfg.AckWait)
		b.start(ctx, "pull of events", b.events.run)
		b.advisories = newPuller(b.consume, advisoriesStream, deadLetters, advisoriesPulled, advisoryAckWait)
		b.start(ctx, "pull of advisories", b.advisories.run)
		b.onStop("pulling", b.StopPulling)
		b.start(ctx, "retention", b.keepHistory)
		b.start(ctx, "upkeep", b.upkeep)
	}
	if b.recent != nil {
		b.start(ctx, "memory of ids", b.remember)
	}
	b.watchConnections()
	b.start(ctx, "watch", b.watch)
	return nil
}

// start runs f in a goroutine until the step of Close that it registers; the end
// of ctx doesn't end it.
func (b *Broker) start(ctx context.Context, name string, f func(context.Context)) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	b.onStop(name, func(stopping context.Context) error {
		cancel()
		select {
		case <-done:
			return nil
		case <-stopping.Done():
			return context.Cause(stopping)
		}
	})
}

func (b *Broker) onStop(name string, do func(context.Context) error) {
	b.stops = append(b.stops, stop{name, do})
}

// Close refuses further publishes, waits until those in flight are answered,
// flushes and stops the broker, and releases the store directory. Deliveries not
// settled come again after the next start. When ctx ends, it waits no longer for
// anything but the embedded server. The second call does nothing.
func (b *Broker) Close(ctx context.Context) error {
	var errs []error
	b.once.Do(func() {
		b.gate.shut(closing, "the appliance is stopping")
		for _, s := range slices.Backward(b.stops) {
			if err := s.do(ctx); err != nil {
				errs = append(errs, fmt.Errorf("stop %s: %w", s.name, err))
			}
		}
	})
	return errors.Join(errs...)
}
