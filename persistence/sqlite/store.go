// Package sqlite is the embedded store: one file, no server. [Open] takes its settings;
// rows of package event come in and go out. Package appliance/app opens it, the other
// packages use it as [persistence.Store].
//
//	store.db         the tables, see migrations
//	store.db-wal     commits that are not yet in store.db, flushed each
//	store.db-shm     the index of store.db-wal, mapped into memory
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/persistence"
)

// Store is the embedded store: one file, no server.
//
// One connection does what the workers need, look-ups and commits, one after the other.
// Its page cache stays warm that way (a second connection would have to drop its own after
// each commit of the first), which makes the whole a quarter faster than look-ups beside
// commits. The operators' and the reconciler's reads use a pool of other connections:
// neither waits for the other.
//
//	workers ──▶ Ledger ──────────┐
//	intake ───▶ Ingestions ──────┼──▶ main connection (one) ──▶ store.db-wal ──▶ store.db
//	sweeper, Marks, Review ──────┘
//	operators, reconciler ──────────▶ readers (a pool) ◀─────────────────────────┘
//
// Commits are flushed (synchronous = FULL). WAL mode's usual NORMAL leaves the
// last commits to the operating system until the next checkpoint, and a power
// cut would lose them. The queue need not deliver those events again: they were
// acknowledged after the commit, and the broker's state may have reached the disk first.
// One flush for a batch of events is cheap.
type Store struct {
	Ledger      *Ledger
	DeadLetters *DeadLetters
	Ingestions  *Ingestions
	Statuses    *Statuses
	Marks       *Marks

	db      *database
	opener  *opener
	sweeper *sweeper
	once    sync.Once // closes
}

var _ persistence.Database = (*Store)(nil)

// Open opens or makes the file. It fails when the file is another
// program's or was written by a newer version of this one, and, unless c.Reopen is
// set, when it can't be opened for any other reason: damaged, out of reach, on a full
// disk. With c.Reopen every call fails with DependencyDown until it is open.
func Open(ctx context.Context, c Config) (*Store, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("sqlite store: %w", err)
	}
	metrics, err := persistence.NewStoreMetrics(c.Registerer, "sqlite")
	if err != nil {
		return nil, fmt.Errorf("sqlite store: %w", err)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := newStore(c, metrics)
	err = s.opener.open(ctx)
	if _, foreign := errors.AsType[*foreignFileError](err); err != nil && (foreign || !c.Reopen || ctx.Err() != nil) {
		return nil, fmt.Errorf("sqlite store %s: %w", c.Path, err)
	}
	if c.Reopen {
		s.opener.running.Go(func() { s.opener.keepOpen(context.WithoutCancel(ctx)) })
	}
	return s, nil
}

func newStore(c Config, metrics *persistence.StoreMetrics) *Store {
	db := &database{
		path: c.Path, metrics: metrics, health: &health{path: c.Path, log: c.Log}, closed: make(chan struct{}),
	}
	return &Store{
		Ledger: &Ledger{db}, DeadLetters: &DeadLetters{db}, Marks: &Marks{db}, Statuses: &Statuses{db},
		Ingestions: &Ingestions{db: db, limit: persistence.NewIngestionLimit(c.Retention.IngestionsPerCourier)},
		db:         db,
		opener:     &opener{config: c, db: db, log: c.Log},
		sweeper:    &sweeper{db: db, retention: c.Retention},
	}
}

// Parts returns the store as the other packages see it.
func (s *Store) Parts() persistence.Store {
	return persistence.Store{
		Ledger: s.Ledger, DeadLetters: s.DeadLetters, Ingestions: s.Ingestions, Statuses: s.Statuses, Marks: s.Marks, Database: s,
	}
}

// Name implements [persistence.Database].
func (s *Store) Name() string { return "sqlite" }

// Ping implements [persistence.Database].
func (s *Store) Ping(ctx context.Context) error { return s.db.ping(ctx) }

// Problems implements [persistence.Database].
func (s *Store) Problems() []string { return s.db.health.problems() }

// Counts implements [persistence.Database] with the figures that every write keeps up to date.
func (s *Store) Counts(ctx context.Context) (event.StoreCounts, error) {
	counts := persistence.EmptyCounts()
	err := s.db.read(ctx, "counts", func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, "SELECT table_name, status, n FROM row_counts WHERE n <> 0", &sqlitex.ExecOptions{
			ResultFunc: func(stmt *sqlite.Stmt) error {
				table, status, n := stmt.ColumnText(0), stmt.ColumnText(1), stmt.ColumnInt64(2)
				switch table {
				case "processed_events":
					counts.Records[event.Status(status)] = n
				case "dead_letter_events":
					counts.DeadLetters[event.ReviewStatus(status)] = n
				case "active_shipments":
					counts.Shipments = n
				case "ingestion_records":
					counts.Ingestions[status] = n
				}
				return nil
			},
		})
	})
	return counts, err
}

// Sweep implements [persistence.Database].
func (s *Store) Sweep(ctx context.Context, now time.Time) (persistence.Swept, error) {
	return s.sweeper.sweep(ctx, now)
}

// Close waits for the call under way, writes the log into the file and closes it.
// Further calls fail with DependencyDown.
func (s *Store) Close() (err error) {
	s.once.Do(func() {
		close(s.db.closed)
		s.opener.running.Wait()
		if f := s.db.files.Load(); f != nil {
			err = s.opener.close(f)
		}
	})
	return err
}
