package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	watchEvery   = 250 * time.Millisecond
	metricsEvery = time.Second
)

// watch keeps an eye on free space and on the embedded server, and the metrics
// up to date.
func (b *Broker) watch(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	look := serverLook{well: time.Now()}
	told := time.Time{}
	var said news
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.trouble:
		case <-tick.C:
		}
		if b.server != nil {
			b.checkDisk()
			if f := b.serverFault(&look); f.problem != "" && !b.derivedFault(ctx, f, &look) {
				b.revive(ctx, f.problem, look.well)
				look = serverLook{well: time.Now(), restarted: time.Now(), remade: look.remade}
			}
		}
		if time.Since(told) >= metricsEvery {
			told = time.Now()
			_, _ = b.State(ctx) // for the metrics; what fails here the gate knows
			if err := b.keepPosition(ctx); err != nil && ctx.Err() == nil && said.is(err.Error()) {
				b.log.Warn("what is known of the queue can't be kept up to date, trying again", "error", err)
			}
		}
	}
}

// checkDisk shuts the gate while free space is below the reserve.
func (b *Broker) checkDisk() {
	free := b.diskFree()
	switch {
	case free < 0 || b.cfg.DiskReserveBytes == 0:
	case free < b.cfg.DiskReserveBytes:
		if b.gate.shut(diskReserve, fmt.Sprintf("less than %d bytes are free in %s", b.cfg.DiskReserveBytes, b.cfg.StoreDir)) {
			b.log.Error("disk reserve reached, intake is shut", "free_bytes", free, "reserve_bytes", b.cfg.DiskReserveBytes, "dir", b.cfg.StoreDir)
		}
	case b.gate.open(diskReserve):
		b.log.Info("disk reserve is free again", "free_bytes", free)
	}
}

// serverLook is what the watch saw when it last looked at the embedded server.
type serverLook struct {
	well      time.Time // when nothing was wrong
	restarted time.Time // when the server was, zero if never
	remade    time.Time // when a derived stream was, zero if never
	fault     fault     // what the server said
}

// serverFault returns why the embedded server must be restarted, nothing when it
// needn't. What the server says of itself counts when it says so twice in a row,
// because some of it passes.
func (b *Broker) serverFault(last *serverLook) fault {
	if _, failed := b.flusher.state(); failed != nil {
		return fault{problem: failed.Error()}
	}
	if b.gate.heldFor(stalled) > 2*b.cfg.PublishTimeout {
		return fault{problem: "publishes are not answered"}
	}
	if b.seen.damaged.Load() {
		return fault{problem: "it has dropped a part of its files that it could not read"}
	}
	before := last.fault
	if last.fault = b.server.fault(); last.fault.problem == "" {
		last.well = time.Now()
	}
	if before.problem == "" {
		return fault{}
	}
	return last.fault
}

const (
	// restartFree is the least free space with which a restart is tried.
	restartFree = 1 << 20
	// backTimeout bounds the wait for the connections after a restart.
	backTimeout = 10 * time.Second
	// restartPause is the longest pause between two attempts.
	restartPause = 15 * time.Second
)

// revive brings the embedded server back after an error that it doesn't get
// over itself, trying until it succeeds or ctx ends. Intake is shut meanwhile.
// While the disk is full the old server runs on, so that processing can.
func (b *Broker) revive(ctx context.Context, problem string, well time.Time) {
	b.gate.shut(recovering, "the embedded broker has failed and is being restarted: "+problem)
	b.log.Error("embedded broker has failed, intake is shut until it is restarted", "problem", problem)
	if b.cfg.Sync == SyncAlways { // what failed may have been the server's flush
		b.flusher.suspect(well, errors.New(problem))
	}
	if err := b.waitForSpace(ctx); err != nil {
		return
	}
	for pause := watchEvery; ; pause = min(2*pause, restartPause) {
		err := b.restart(ctx)
		if err == nil {
			break
		}
		b.gate.shut(recovering, fmt.Sprintf("the embedded broker has failed (%s) and can't be restarted yet: %v", problem, err))
		b.log.Error("embedded broker can't be restarted yet", "error", err)
		if sleep(ctx, pause) != nil {
			return
		}
	}
	b.m.restarts.Inc()
	b.gate.open(stalled)
	b.gate.open(flushFailed)
	b.gate.open(recovering)
	b.log.Info("embedded broker is back")
}

// waitForSpace returns when a restart stands a chance.
func (b *Broker) waitForSpace(ctx context.Context) error {
	for {
		free := b.diskFree()
		if free < 0 || free >= max(b.cfg.DiskReserveBytes, restartFree) {
			return nil
		}
		if err := sleep(ctx, watchEvery); err != nil {
			return err
		}
		b.checkDisk()
	}
}

// restart stops the server, repairs the store if a flush may have failed, and
// starts it anew. The connections come back by themselves.
func (b *Broker) restart(ctx context.Context) error {
	b.server.stop()
	if err := b.flusher.repair(b.server.storeDir()); err != nil {
		return err
	}
	if err := b.startServer(); err != nil {
		return err
	}
	b.left = nil // the workers of this process still have it in hand
	if err := b.waitConnected(ctx); err != nil {
		return err
	}
	if err := b.ensureTopology(ctx); err != nil {
		return err
	}
	if err := b.checkPosition(ctx); err != nil {
		return err
	}
	b.seen.mu.Lock()
	defer b.seen.mu.Unlock()
	b.seen.damaged.Store(false)
	b.seen.deleted, b.seen.behind, b.seen.last = 0, 0, 0
	if err := b.examineStart(ctx); err != nil {
		return err
	}
	if err := b.alignPositions(ctx); err != nil {
		return err
	}
	if err := b.backfill(ctx); err != nil {
		return err
	}
	if err := b.flusher.flush(); err != nil {
		return err
	}
	b.pub.receipts.reset(b.topo.Load().events.CachedInfo().State.LastSeq)
	return b.begin(ctx)
}

// waitConnected returns when every connection is back: the server answers on it. A
// connection whose end it has not noticed yet still calls itself connected.
func (b *Broker) waitConnected(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, backTimeout, errors.New("connections don't come back"))
	defer cancel()
	for b.pipe != nil && !b.pipe.connected() {
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	for _, c := range []*nats.Conn{b.publish, b.admin, b.consume} {
		for c != nil && flushConnection(ctx, c) != nil {
			if err := sleep(ctx, 5*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}

// sleep waits for d, or for ctx and returns its cause.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// keepHistory purges what is over the limits of history.
func (b *Broker) keepHistory(ctx context.Context) {
	for sleep(ctx, retainEvery) == nil {
		if !b.admin.IsConnected() {
			continue
		}
		if err := errors.Join(b.retain(ctx), b.retainAdvisories(ctx)); err != nil && ctx.Err() == nil {
			b.log.Warn("history can't be looked at, next try follows", "error", err)
		}
	}
}
