package persistence

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// SQLiteConfig says how to open the embedded store.
type SQLiteConfig struct {
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
	Retention   Retention
	Registerer  prometheus.Registerer // may be nil
}

func (c SQLiteConfig) check() error {
	var faults []error
	fault := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(c.Path == "", "no path is given")
	fault(c.Readers < 1, "%d readers, needs at least 1", c.Readers)
	fault(c.CacheBytes < 1<<20, "a cache of %d bytes, needs at least 1 MiB", c.CacheBytes)
	fault(c.BusyTimeout <= 0, "busy time-out %s, needs more than 0", c.BusyTimeout)
	return errors.Join(append(faults, c.Retention.check())...)
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
type SQLite struct {
	config  SQLiteConfig
	metrics *storeMetrics
	main    chan *sqlite.Conn // holds the one connection while nobody uses it
	log     *logLength        // belongs to who holds the connection
	readers *sqlitex.Pool
	closed  chan struct{}
	once    sync.Once // closes
	// doubt is set by a write that failed, until one succeeds: a full disk can be
	// read all day, so Ping has to write then.
	doubt atomic.Bool
	// swept is where the walk through the shipments goes on, see sweepShipments.
	swept atomic.Int64
	bound *ingestionBound
}

var _ Store = (*SQLite)(nil)

// OpenSQLite opens or makes the file. It fails when the file is another
// program's, was written by a newer version of this one, or is damaged.
func OpenSQLite(ctx context.Context, c SQLiteConfig) (*SQLite, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("embedded store: %w", err)
	}
	conn, err := openMain(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("embedded store %s: %w", c.Path, err)
	}
	readers, err := sqlitex.NewPool(c.Path, sqlitex.PoolOptions{
		Flags: sqlite.OpenReadWrite, PoolSize: c.Readers,
		PrepareConn: func(conn *sqlite.Conn) error {
			conn.SetBusyTimeout(c.BusyTimeout)
			return sqlitex.ExecuteTransient(conn, "PRAGMA query_only = ON", nil)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("embedded store %s: %w", c.Path, errors.Join(err, conn.Close()))
	}
	metrics, err := newStoreMetrics(c.Registerer, "embedded")
	if err != nil {
		return nil, fmt.Errorf("embedded store: %w", errors.Join(err, readers.Close(), conn.Close()))
	}
	s := &SQLite{
		config: c, metrics: metrics, main: make(chan *sqlite.Conn, 1), readers: readers, closed: make(chan struct{}),
		bound: newIngestionBound(c.Retention.IngestionsPerCourier), log: newLogLength(time.Now()),
	}
	s.main <- conn
	return s, nil
}

// openMain opens the main connection, making and migrating the file as needed.
func openMain(ctx context.Context, c SQLiteConfig) (*sqlite.Conn, error) {
	if err := makeFile(c.Path); err != nil {
		return nil, err
	}
	conn, err := sqlite.OpenConn(c.Path, sqlite.OpenReadWrite)
	if err != nil {
		return nil, err
	}
	conn.SetInterrupt(ctx.Done())
	if err := prepareMain(conn, c); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	conn.SetInterrupt(nil)
	return conn, nil
}

func prepareMain(conn *sqlite.Conn, c SQLiteConfig) error {
	conn.SetBusyTimeout(c.BusyTimeout)
	if _, err := number(conn, "PRAGMA user_version"); err != nil {
		return err // no database at all: say so before anything is tried
	}
	for _, pragma := range []string{
		"journal_mode = WAL",
		"synchronous = FULL",
		fmt.Sprintf("cache_size = -%d", c.CacheBytes>>10),
		fmt.Sprintf("wal_autocheckpoint = %d", shortLog),
		fmt.Sprintf("journal_size_limit = %d", 2*longLog*4096),
		"temp_store = MEMORY",
	} {
		if err := sqlitex.ExecuteTransient(conn, "PRAGMA "+pragma, nil); err != nil {
			return err
		}
	}
	return migrate(conn)
}

// makeFile makes an empty file that others can't read, and its directory's entry
// durable: SQLite flushes what is in the file.
func makeFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Name implements [Store].
func (s *SQLite) Name() string { return "embedded" }

// Close waits for the call under way, brings the log into the file and closes
// it. Further calls fail with DependencyDown.
func (s *SQLite) Close() (err error) {
	s.once.Do(func() {
		close(s.closed)
		err = errors.Join(s.readers.Close(), (<-s.main).Close())
	})
	return err
}

// Ping implements [Store]. After a write that failed it writes too.
func (s *SQLite) Ping(ctx context.Context) error {
	if s.doubt.Load() {
		return s.write(ctx, "ping", func(conn *sqlite.Conn) error {
			return sqlitex.ExecuteTransient(conn, fmt.Sprintf("PRAGMA user_version = %d", len(migrations)), nil)
		})
	}
	return s.read(ctx, "ping", func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, "SELECT n FROM row_counts LIMIT 1", nil)
	})
}
