package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/fincart/courier-gateway/ingest/event"
)

const (
	// writtenFor is how long a successful write shows that the store can be written; a
	// Ping later than that writes.
	writtenFor = 10 * time.Second
	// probeBytes is what is written after a write has failed. On a nearly
	// full disk a few bytes can be written where a batch can not.
	probeBytes = 64 << 10
	// checkTime bounds the search for damage in the file, which keeps the log from
	// being used again from its beginning. It is enough for half a gigabyte
	// (go test ./persistence/sqlite -run '^$' -bench Check).
	checkTime = 5 * time.Second
)

// health is what is known of the state of the store.
type health struct {
	path string // of the file
	log  *slog.Logger

	// doubt is set by a write that failed, until one succeeds: a full disk can still be
	// read, so Ping has to write then.
	doubt   atomic.Bool
	written atomic.Int64 // when a write last succeeded, Unix nanoseconds
	damage  atomic.Pointer[string]
	fault   atomic.Pointer[memoryFault]
	disk    diskProbe
}

// writtenLately reports whether a write has succeeded lately.
func (h *health) writtenLately() bool {
	return time.Since(time.Unix(0, h.written.Load())) < writtenFor
}

// faulted reports whether a connection met a fault of memory.
func (h *health) faulted() bool { return h.fault.Load() != nil }

// wrote records how a write ended.
func (h *health) wrote(err error) {
	switch {
	case err == nil:
		h.doubt.Store(false)
		h.written.Store(time.Now().UnixNano())
	case event.CodeOf(err) == event.DependencyDown:
		h.doubt.Store(true)
	}
}

// ping returns nil while the store can be used. It writes after a write that failed, and
// when there was none for a while.
func (d *database) ping(ctx context.Context) error {
	switch {
	case d.health.doubt.Load():
		return d.write(ctx, "ping", func(conn *sqlite.Conn) error {
			return sqlitex.Execute(conn, "INSERT OR REPLACE INTO store_probe (id, bytes) VALUES (1, randomblob(?))",
				&sqlitex.ExecOptions{Args: []any{probeBytes}})
		})
	case !d.health.writtenLately():
		return d.write(ctx, "ping", func(conn *sqlite.Conn) error {
			return sqlitex.ExecuteTransient(conn, fmt.Sprintf("PRAGMA user_version = %d", len(migrations())), nil)
		})
	}
	return d.read(ctx, "ping", func(conn *sqlite.Conn) error {
		if err := d.files.Load().inPlace(); err != nil {
			return &event.Error{Code: event.DependencyDown, Op: "sqlite ping", Err: err}
		}
		return sqlitex.Execute(conn, "SELECT n FROM row_counts LIMIT 1", nil)
	})
}

// problems returns what is wrong with the store although it answers, and what to do.
func (h *health) problems() (problems []string) {
	if damage := h.damage.Load(); damage != nil {
		problems = append(problems, *damage)
	}
	return problems
}

// examine records what an error says about the store as a whole, and returns it with its
// cause.
func (h *health) examine(err error) error {
	if err == nil {
		return nil
	}
	if fault, ok := errors.AsType[*memoryFault](err); ok && h.fault.CompareAndSwap(nil, fault) {
		h.log.Error("the store can't be used any more by this process", "path", h.path, "error", fault)
	}
	err = h.withCause(err)
	if isDamage(err) && !isDiskError(err) {
		h.damaged(err.Error())
	}
	return err
}

// damaged records the first damage that was found.
func (h *health) damaged(what string) {
	problem := fmt.Sprintf("%s is damaged (%s): stop the appliance, move the file away together with its -wal and -shm, "+
		"put a copy from the backup in its place, or what `sqlite3 store.db .recover` makes of it, and start again", h.path, what)
	if h.damage.CompareAndSwap(nil, &problem) {
		h.log.Error("the store's file is damaged", "path", h.path, "found", what)
	}
}

// isDamage reports whether SQLite says that the file holds what it did not write.
func isDamage(err error) bool {
	primary := sqlite.ErrCode(err).ToPrimary()
	return primary == sqlite.ResultCorrupt || primary == sqlite.ResultNotADB
}

// diskError is what the operating system says about writing beside the store's file.
// SQLite has one message for all of it, "disk I/O error".
type diskError struct{ cause error }

func (e *diskError) Error() string { return e.cause.Error() }
func (e *diskError) Unwrap() error { return e.cause }

func isDiskError(err error) bool {
	_, disk := errors.AsType[*diskError](err)
	return disk
}

// withCause adds to an error that may be the disk's what the operating system says.
func (h *health) withCause(err error) error {
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultFull, sqlite.ResultIOErr, sqlite.ResultCantOpen, sqlite.ResultReadOnly, sqlite.ResultCorrupt, sqlite.ResultNotADB:
	default:
		return err
	}
	disk := h.disk.write(filepath.Dir(withoutLinks(h.path)))
	if disk == nil {
		return err
	}
	return fmt.Errorf("the disk of the store can't be written: %w (%w)", &diskError{disk}, err)
}

// diskProbe writes a file beside the store's, at most once a second.
type diskProbe struct {
	mu  sync.Mutex
	at  time.Time
	err error
}

// write returns why a file in dir can't be written, nil when it can.
func (p *diskProbe) write(dir string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.at) >= time.Second {
		p.err = tryWriting(dir)
		p.at = time.Now()
	}
	return p.err
}

func tryWriting(dir string) error {
	f, err := os.CreateTemp(dir, ".store-write-test-*")
	if err != nil {
		return inDirectory(dir, err)
	}
	_, err = f.Write(make([]byte, probeBytes))
	return inDirectory(dir, errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name())))
}

// inDirectory names the directory in an error of a file in it, whose name says nothing.
func inDirectory(dir string, err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return &fs.PathError{Op: path.Op, Path: dir, Err: path.Err}
	}
	return err
}
