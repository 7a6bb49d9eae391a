package sqlite

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/fincart/courier-gateway/ingest/event"
)

func (s *Store) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

var errClosed = errors.New("the store is closed")

// inUse returns the file as it is open, or why it is not.
func (s *Store) inUse() (*files, error) {
	if s.isClosed() {
		return nil, errClosed
	}
	if fault := s.health.fault.Load(); fault != nil {
		return nil, down(fault)
	}
	if f := s.files.Load(); f != nil {
		return f, nil
	}
	return nil, down(fmt.Errorf("the store %s can't be opened: %w; it is tried again every few seconds", s.config.Path, *s.unavail.Load()))
}

// down is an error of the whole store.
func down(err error) error { return &event.Error{Code: event.DependencyDown, Op: "sqlite", Err: err} }

// take borrows the main connection, whose work ends when ctx does. It goes back
// by give.
func (s *Store) take(ctx context.Context) (*sqlite.Conn, error) {
	f, err := s.inUse()
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
	case <-s.closed:
		return nil, errClosed
	}
}

func (s *Store) give(conn *sqlite.Conn) {
	f := s.files.Load()
	conn.SetInterrupt(nil)
	if f.log.end(time.Now()) {
		_ = setLogLength(conn, f.log.pages) // of a connection that is broken the next call tells
	}
	f.main <- conn
}

// write runs fn in a transaction of the main connection, durable when it returns.
func (s *Store) write(ctx context.Context, op string, fn func(*sqlite.Conn) error) error {
	err := s.onMain(ctx, op, "BEGIN IMMEDIATE", func(conn *sqlite.Conn) error {
		if err := s.files.Load().inPlace(); err != nil {
			return down(err)
		}
		return fn(conn)
	})
	s.health.wrote(err)
	return err
}

// giveWay lets whoever else can run go first. It is called between the rows of a
// batch: SQLite runs as Go here and hardly ever waits, so that a request which comes
// meanwhile would get its turn at the end of the batch, or after the ten milliseconds
// that Go lets anybody run.
func giveWay() { runtime.Gosched() }

// look runs fn in a reading transaction of the main connection.
func (s *Store) look(ctx context.Context, op string, fn func(*sqlite.Conn) error) error {
	return s.onMain(ctx, op, "BEGIN", fn)
}

func (s *Store) onMain(ctx context.Context, op, begin string, fn func(*sqlite.Conn) error) error {
	began := time.Now()
	conn, err := s.take(ctx)
	if err == nil {
		err = s.learn(lend(conn, s.give, begin, fn))
	}
	err = mapError(ctx, op, err)
	s.metrics.Observe(op, began, err)
	return err
}

// read runs fn in a reading transaction of a reader's connection.
func (s *Store) read(ctx context.Context, op string, fn func(*sqlite.Conn) error) error {
	began := time.Now()
	f, err := s.inUse()
	if err == nil {
		err = s.learn(s.onReader(ctx, f, fn))
	}
	err = mapError(ctx, op, err)
	s.metrics.Observe(op, began, err)
	return err
}

// onReader runs fn with one of the readers' connections.
func (s *Store) onReader(ctx context.Context, f *files, fn func(*sqlite.Conn) error) error {
	var conn *sqlite.Conn
	err := guarded(func() (err error) {
		conn, err = f.readers.Take(ctx)
		return err
	})
	if err != nil && s.isClosed() {
		return errClosed
	}
	if err != nil {
		return err
	}
	return lend(conn, f.readers.Put, "BEGIN", fn)
}

// lend runs fn in a transaction of conn, which goes back, out of it, even when fn
// panics: with the one connection lost every later call would wait for ever. One that
// met a fault of memory does not go back.
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

// mapError maps an error of the driver or of ctx to an [event.Error]; one
// that has a code keeps it.
func mapError(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*event.Error](err); ok {
		return err
	}
	return &event.Error{Code: errorCode(ctx, err), Op: "sqlite " + op, Err: err}
}

func errorCode(ctx context.Context, err error) event.Code {
	if ctx.Err() != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return event.Interrupted
		}
		return event.DependencyDown
	}
	if errors.Is(err, errClosed) || isFault(err) {
		return event.DependencyDown
	}
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultFull, sqlite.ResultIOErr, sqlite.ResultCantOpen, sqlite.ResultReadOnly,
		sqlite.ResultBusy, sqlite.ResultLocked, sqlite.ResultProtocol, sqlite.ResultNoMem,
		sqlite.ResultPerm, sqlite.ResultAuth, sqlite.ResultCorrupt, sqlite.ResultNotADB, sqlite.ResultNoLFS,
		sqlite.ResultConstraint, // a unique index or trigger that an operator has added to the file
		sqlite.ResultInterrupt:  // by Close
		return event.DependencyDown
	case sqlite.ResultTooBig, sqlite.ResultMismatch:
		return event.DomainInvalid
	default:
		return event.Internal
	}
}
