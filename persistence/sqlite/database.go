package sqlite

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/fincart/courier-gateway/persistence"
)

// database is the store's file as it is in use: the calls of all parts go through it.
//
// One connection, the main one, writes and does the workers' look-ups: each call acquires
// it and releases it. The readers' connections only read.
type database struct {
	path    string
	metrics *persistence.StoreMetrics
	health  *health
	// files is the file as it is open, nil while it can't be opened; unavail says why.
	// The opener sets both.
	files   atomic.Pointer[files]
	unavail atomic.Pointer[error]
	closed  chan struct{} // closed when the store is
}

func (d *database) isClosed() bool {
	select {
	case <-d.closed:
		return true
	default:
		return false
	}
}

// inUse returns the file as it is open, or why it is not.
func (d *database) inUse() (*files, error) {
	if d.isClosed() {
		return nil, errClosed
	}
	if fault := d.health.fault.Load(); fault != nil {
		return nil, down(fault)
	}
	if f := d.files.Load(); f != nil {
		return f, nil
	}
	return nil, down(fmt.Errorf("the store %s can't be opened: %w; it is tried again every few seconds", d.path, *d.unavail.Load()))
}

// acquire waits for the main connection, whose work ends when ctx does. The caller has to
// release it.
func (d *database) acquire(ctx context.Context) (*sqlite.Conn, error) {
	f, err := d.inUse()
	if err != nil {
		return nil, err
	}
	select {
	case conn := <-f.main:
		f.log.begin(time.Now())
		conn.SetInterrupt(ctx.Done())
		return conn, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-d.closed:
		return nil, errClosed
	}
}

func (d *database) release(conn *sqlite.Conn) {
	f := d.files.Load()
	conn.SetInterrupt(nil)
	if f.log.end(time.Now()) {
		_ = setLogLength(conn, f.log.pages) // the next call reports a broken connection
	}
	f.main <- conn
}

// write runs fn in a transaction of the main connection, durable when it returns.
func (d *database) write(ctx context.Context, op string, fn func(*sqlite.Conn) error) error {
	err := d.onMain(ctx, op, "BEGIN IMMEDIATE", func(conn *sqlite.Conn) error {
		if err := d.files.Load().inPlace(); err != nil {
			return down(err)
		}
		return fn(conn)
	})
	d.health.wrote(err)
	return err
}

// yield lets other goroutines run first. It is called between the rows of a batch: SQLite
// runs as Go here and hardly ever waits, so that a request which comes meanwhile would run
// at the end of the batch, or after the ten milliseconds at which Go preempts.
func yield() { runtime.Gosched() }

// lookUp runs fn in a reading transaction of the main connection.
func (d *database) lookUp(ctx context.Context, op string, fn func(*sqlite.Conn) error) error {
	return d.onMain(ctx, op, "BEGIN", fn)
}

func (d *database) onMain(ctx context.Context, op, begin string, fn func(*sqlite.Conn) error) error {
	began := time.Now()
	conn, err := d.acquire(ctx)
	if err == nil {
		err = d.health.examine(lend(conn, d.release, begin, fn))
	}
	err = mapError(ctx, op, err)
	d.metrics.Observe(op, began, err)
	return err
}

// read runs fn in a reading transaction of a reader's connection.
func (d *database) read(ctx context.Context, op string, fn func(*sqlite.Conn) error) error {
	began := time.Now()
	f, err := d.inUse()
	if err == nil {
		err = d.health.examine(d.onReader(ctx, f, fn))
	}
	err = mapError(ctx, op, err)
	d.metrics.Observe(op, began, err)
	return err
}

// onReader runs fn with one of the readers' connections.
func (d *database) onReader(ctx context.Context, f *files, fn func(*sqlite.Conn) error) error {
	var conn *sqlite.Conn
	err := guarded(func() (err error) {
		conn, err = f.readers.Take(ctx)
		return err
	})
	if err != nil && d.isClosed() {
		return errClosed
	}
	if err != nil {
		return err
	}
	return lend(conn, f.readers.Put, "BEGIN", fn)
}

// lend runs fn in a transaction of conn and passes conn to back afterwards, even when fn
// panics: without the one connection every later call would wait forever. A connection
// that met a fault of memory is not passed back.
func lend(conn *sqlite.Conn, back func(*sqlite.Conn), begin string, fn func(*sqlite.Conn) error) (err error) {
	defer func() {
		if !isFault(err) {
			back(conn)
		}
	}()
	return transact(conn, begin, func() error { return fn(conn) })
}

// transact runs fn between begin and a COMMIT, or a ROLLBACK when either fails
// or fn panics.
func transact(conn *sqlite.Conn, begin string, fn func() error) (err error) {
	rollback := func() error { return sqlitex.Execute(conn, "ROLLBACK", nil) }
	defer func() {
		if isFault(err) || conn.AutocommitEnabled() {
			return // in no state to be used, or committed, or rolled back by SQLite itself
		}
		interrupt := conn.SetInterrupt(nil)
		err = errors.Join(err, guarded(rollback))
		conn.SetInterrupt(interrupt)
	}()
	return guarded(func() error {
		if !conn.AutocommitEnabled() { // an earlier rollback failed
			if err := rollback(); err != nil {
				return err
			}
		}
		if err := sqlitex.Execute(conn, begin, nil); err != nil {
			return err
		}
		if err := fn(); err != nil {
			return err
		}
		return sqlitex.Execute(conn, "COMMIT", nil)
	})
}
