package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/fincart/courier-gateway/jetstream/dedup"
	"github.com/fincart/courier-gateway/jetstream/durable"
	"github.com/fincart/courier-gateway/jetstream/embedded"
	"github.com/fincart/courier-gateway/jetstream/integrity"
)

const (
	superviseEvery = 250 * time.Millisecond
	metricsEvery   = time.Second
)

// supervisor watches free space and the embedded server, which it restarts after an
// error, and keeps the metrics and what is known of the stream up to date.
type supervisor struct {
	cfg       Config
	log       *slog.Logger
	m         *metrics
	admission *admission
	conns     *connections
	topo      *topology
	aligner   *aligner
	checker   *integrity.Checker
	status    *status
	wake      chan struct{} // one token when a check is due now

	// Of an embedded broker.
	server  *embedded.Server
	flusher *durable.Flusher
	filler  *dedup.Filler
}

// run supervises until ctx ends.
func (s *supervisor) run(ctx context.Context) {
	tick := time.NewTicker(superviseEvery)
	defer tick.Stop()
	seen := observed{well: time.Now()}
	measured := time.Time{}
	var warnings logLimiter
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-tick.C:
		}
		if s.server != nil {
			s.checkDisk()
			if f := s.serverFault(&seen); f.Problem != "" && !s.remakeDerived(ctx, f, &seen) {
				s.recoverServer(ctx, f.Problem, seen.well)
				seen = observed{well: time.Now(), restarted: time.Now(), remade: seen.remade}
			}
		}
		if time.Since(measured) >= metricsEvery {
			measured = time.Now()
			_, _ = s.status.get(ctx) // for the metrics; what fails here is known to the admission
			if err := s.updateRecord(ctx); err != nil && ctx.Err() == nil && warnings.allow(err.Error()) {
				s.log.Warn("what is known of the queue can't be brought up to date, trying again", "error", err)
			}
		}
	}
}

// ready reports whether the broker can be asked and is not being restarted.
func (s *supervisor) ready() bool { return !s.admission.holds(recovering) && s.conns.connected() }

// updateRecord compares the stream with what is known of it.
func (s *supervisor) updateRecord(ctx context.Context) error {
	if !s.ready() {
		return nil
	}
	return s.checker.Update(ctx)
}

// checkDisk shuts intake while free space is below the reserve.
func (s *supervisor) checkDisk() {
	free := diskFree(s.cfg)
	switch {
	case free < 0 || s.cfg.DiskReserveBytes == 0:
	case free < s.cfg.DiskReserveBytes:
		if s.admission.shut(diskReserve, fmt.Sprintf("the disk of %s has %s free, less than jetstream.disk_reserve_bytes (%s): free space", s.cfg.StoreDir, size(free), size(s.cfg.DiskReserveBytes))) {
			s.log.Error("disk reserve reached, intake is shut", "free_bytes", free, "reserve_bytes", s.cfg.DiskReserveBytes, "dir", s.cfg.StoreDir)
		}
	case s.admission.open(diskReserve):
		s.log.Info("disk reserve is free again", "free_bytes", free)
	}
}

// size shows a number of bytes from a MiB on in a unit that suits it.
func size(n int64) string {
	value, units := float64(n)/(1<<20), "MGTPE"
	for value >= 1<<10 {
		value, units = value/(1<<10), units[1:]
	}
	return fmt.Sprintf("%.1f %ciB", value, units[0])
}

// observed is what the supervisor saw when it last asked the embedded server.
type observed struct {
	well      time.Time      // when nothing was wrong
	restarted time.Time      // when the server was, zero if never
	remade    time.Time      // when a derived stream was, zero if never
	fault     embedded.Fault // what the server reported
}

// serverFault returns why the embedded server must be restarted, nothing when it
// needn't. What the server reports of itself counts when it does so twice in a row,
// because some of it passes.
func (s *supervisor) serverFault(last *observed) embedded.Fault {
	if failed := s.flusher.Failed(); failed != nil {
		return embedded.Fault{Problem: failed.Error()}
	}
	if s.admission.heldFor(stalled) > 2*s.cfg.PublishTimeout {
		return embedded.Fault{Problem: "publishes are not answered"}
	}
	if s.checker.Damaged() {
		return embedded.Fault{Problem: "it has dropped a part of its files that it could not read"}
	}
	before := last.fault
	if last.fault = s.server.Fault(); last.fault.Problem == "" {
		last.well = time.Now()
	}
	if before.Problem == "" {
		return embedded.Fault{}
	}
	return last.fault
}

const (
	// remakePause lies between two times at least.
	remakePause = 10 * time.Second
	// restartHelps is how long ago a restart of the server must have been for another
	// one to be tried on a fault of ADVISORIES.
	restartHelps = time.Minute
)

// remakeDerived corrects a fault of nothing but derived streams while intake goes on, and
// reports whether f is one; otherwise the server has to be restarted.
//
// A restart that helps keeps the advisories. So it comes first, and they are given up
// only when it didn't: the reconciler finds the events that they were about.
func (s *supervisor) remakeDerived(ctx context.Context, f embedded.Fault, last *observed) bool {
	if !s.cfg.Consume || !f.Only(derived) {
		return false
	}
	if slices.Contains(f.Streams, advisoriesStream) && time.Since(last.restarted) > restartHelps {
		return false
	}
	if time.Since(last.remade) < remakePause {
		return true
	}
	last.remade = time.Now()
	s.log.Warn("a stream can't be used and is made again; no event is lost by it", "streams", f.Streams, "problem", f.Problem)
	if err := s.aligner.remake(ctx, f.Streams); err != nil {
		s.log.Error("a stream that can't be used can't be made again yet", "streams", f.Streams, "error", err)
	}
	return true
}

const (
	// restartFree is the least free space with which a restart is tried.
	restartFree = 1 << 20
	// restartPause is the longest pause between two attempts.
	restartPause = 15 * time.Second
)

// recoverServer brings the embedded server back after an error from which it doesn't
// recover itself, trying until it succeeds or ctx ends. Intake is shut meanwhile.
// While the disk is full the old server runs on, so that processing can.
func (s *supervisor) recoverServer(ctx context.Context, problem string, well time.Time) {
	s.admission.shut(recovering, "the embedded broker has failed and is being restarted: "+problem)
	s.log.Error("embedded broker has failed, intake is shut until it is restarted", "problem", problem)
	if s.cfg.Sync == SyncAlways { // what failed may have been the server's flush
		s.flusher.Suspect(well, errors.New(problem))
	}
	if err := s.waitForSpace(ctx); err != nil {
		return
	}
	for pause := superviseEvery; ; pause = min(2*pause, restartPause) {
		err := s.restart(ctx)
		if err == nil {
			break
		}
		s.admission.shut(recovering, fmt.Sprintf("the embedded broker has failed (%s) and can't be restarted yet: %v", problem, err))
		s.log.Error("embedded broker can't be restarted yet", "error", err)
		if sleep(ctx, pause) != nil {
			return
		}
	}
	s.m.restarts.Inc()
	s.admission.open(stalled)
	s.admission.open(flushFailed)
	s.admission.open(recovering)
	s.log.Info("embedded broker is back")
}

// waitForSpace returns when there is space enough for a restart.
func (s *supervisor) waitForSpace(ctx context.Context) error {
	for {
		free := diskFree(s.cfg)
		if free < 0 || free >= max(s.cfg.DiskReserveBytes, restartFree) {
			return nil
		}
		if err := sleep(ctx, superviseEvery); err != nil {
			return err
		}
		s.checkDisk()
	}
}

// restart stops the server, repairs the store if a flush may have failed, and
// starts it again. The connections come back by themselves.
func (s *supervisor) restart(ctx context.Context) error {
	s.server.Stop()
	if err := s.flusher.Repair(s.server.Dir()); err != nil {
		return err
	}
	if err := s.startServer(ctx); err != nil {
		return err
	}
	if err := s.aligner.checkPosition(ctx); err != nil {
		return err
	}
	return s.checker.Start(ctx, func(ctx context.Context) error {
		if err := s.aligner.align(ctx); err != nil {
			return err
		}
		if err := s.filler.Backfill(ctx); err != nil {
			return err
		}
		return s.flusher.Flush()
	})
}

// reopen starts the embedded server once more, for another reason than an error.
func (s *supervisor) reopen(ctx context.Context) error {
	s.server.Stop()
	return s.startServer(ctx)
}

// startServer starts the stopped server and makes what is missing on it.
func (s *supervisor) startServer(ctx context.Context) error {
	if err := s.server.Start(); err != nil {
		return err
	}
	if err := s.conns.waitConnected(ctx); err != nil {
		return err
	}
	return s.topo.ensure(ctx)
}
