// Package sqlite is the embedded store: one file, no server. [Open] takes its
// settings, rows of package event come in and go out. The main package opens it.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/persistence"
)

// Config says how to open the embedded store.
type Config struct {
	// Path of the file, which is made when it does not exist. Its directory must
	// exist. Two more files stand beside it while it is open (-wal, -shm).
	Path string
	// Readers is how many of the operators' reads run at the same time; at least 1.
	Readers int
	// CacheBytes bounds the pages that the main connection keeps in memory. Memory
	// taken is about twice that, once the file is as large.
	CacheBytes int64
	// BusyTimeout is how long to wait for another program that has locked the
	// file, such as a shell that somebody left open in a transaction.
	BusyTimeout time.Duration
	// Reopen has a file that can't be opened opened again until it works, instead
	// of failing [Open], and checks the file for damage after each opening.
	Reopen     bool
	Retention  persistence.Retention
	Log        *slog.Logger          // may be nil
	Registerer prometheus.Registerer // may be nil
}

func (c Config) check() error {
	var faults event.Faults
	faults.Check(c.Path != "", "Path", "is empty")
	faults.Check(c.Readers >= 1, "Readers", "is %d, must be at least 1", c.Readers)
	faults.Check(c.CacheBytes >= 1<<20, "CacheBytes", "is %d, must be at least 1 MiB", c.CacheBytes)
	faults.Check(c.BusyTimeout > 0, "BusyTimeout", "is %s, must be more than 0", c.BusyTimeout)
	c.Retention.Check(&faults)
	return faults.Err()
}

// SQLite is the embedded store: one file, no server.
//
// One connection does everything that belongs to the way of an event: look-ups
// and commits, one after the other. Its page cache stays warm that way (a second
// connection would have to drop its own after each commit of the first), which
// makes the whole a quarter faster than look-ups beside commits. The operators'
// reads and the reconciler's go to a pool of other connections, and neither wait
// for it nor hold it up.
//
// Commits are flushed (synchronous = FULL). WAL mode's usual NORMAL leaves the
// last commits to the operating system until the next checkpoint, and a power
// cut would take them. The queue can't be relied on to deliver those events
// again: they were acknowledged after the commit, and the broker's state may have
// reached the disk first. One flush for a batch of events is cheap.
type Store struct {
	config  Config
	log     *slog.Logger
	metrics *persistence.StoreMetrics
	// files is the file as it is open, nil while it can't be opened.
	files   atomic.Pointer[files]
	unavail atomic.Pointer[error] // why files is nil
	existed bool                  // the file did, before it was opened first
	closed  chan struct{}
	once    sync.Once // closes
	reopen  sync.WaitGroup
	health  health
	// swept is where the walk through the shipments goes on, see sweepShipments.
	swept atomic.Int64
	bound *persistence.IngestionLimit
}

var _ persistence.Store = (*Store)(nil)

// Open opens or makes the file. It fails when the file is another
// program's or was written by a newer version of this one, and, unless c.Reopen is
// set, when it can't be opened for any other reason: damaged, out of reach, on a full
// disk. With c.Reopen every call fails with DependencyDown until it is open.
func Open(ctx context.Context, c Config) (*Store, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("embedded store: %w", err)
	}
	metrics, err := persistence.NewStoreMetrics(c.Registerer, "embedded")
	if err != nil {
		return nil, fmt.Errorf("embedded store: %w", err)
	}
	s := &Store{
		config: c, log: c.Log, metrics: metrics, closed: make(chan struct{}),
		bound: persistence.NewIngestionLimit(c.Retention.IngestionsPerCourier),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	err = s.open(ctx)
	if _, foreign := errors.AsType[*foreignFileError](err); err != nil && (foreign || !c.Reopen || ctx.Err() != nil) {
		return nil, fmt.Errorf("embedded store %s: %w", c.Path, err)
	}
	if c.Reopen {
		s.reopen.Go(s.keepOpen)
	}
	return s, nil
}

// Name implements [persistence.Store].
func (s *Store) Name() string { return "embedded" }

// Close waits for the call under way, brings the log into the file and closes
// it. Further calls fail with DependencyDown.
func (s *Store) Close() (err error) {
	s.once.Do(func() {
		close(s.closed)
		s.reopen.Wait()
		if f := s.files.Load(); f != nil {
			err = s.closeFiles(f)
		}
	})
	return err
}
