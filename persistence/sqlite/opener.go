package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"
)

const (
	// reopenFirst and reopenLongest bound the wait between two tries to open a file.
	reopenFirst   = 250 * time.Millisecond
	reopenLongest = 5 * time.Second
)

// opener opens the file of a database, if configured until that works, and checks it for
// damage.
type opener struct {
	config  Config
	db      *database
	log     *slog.Logger
	existed bool           // the file did, before it was opened first
	running sync.WaitGroup // of keepOpen
}

var errGone = errors.New("it is not there any more: move a copy from the backup into its place, or restart the appliance to begin with an empty one")

// open opens the file for use; on error every call reports why there is none. A file that
// existed before is not made again once it is gone: it is being replaced.
func (o *opener) open(ctx context.Context) error {
	entry, missing := os.Lstat(o.config.Path)
	o.existed = o.existed || missing == nil && entry.Size() > 0
	var files *files
	err := errGone
	if missing == nil || !o.existed {
		files, err = openFiles(ctx, o.config)
	}
	if err != nil {
		err = o.unavailable(err)
		o.db.unavail.Store(&err)
		return err
	}
	o.db.files.Store(files)
	return nil
}

// fileVersion changes with the content of a file; zero for no file.
type fileVersion struct {
	size    int64
	changed time.Time
}

func lookAt(path string) fileVersion {
	info, err := os.Stat(path)
	if err != nil {
		return fileVersion{}
	}
	return fileVersion{info.Size(), info.ModTime()}
}

// unavailable returns what keeps the file from being opened, and what to do.
func (o *opener) unavailable(err error) error {
	if _, foreign := errors.AsType[*foreignFileError](err); foreign {
		return err
	}
	err = o.db.health.withCause(err)
	if isDamage(err) && !isDiskError(err) {
		return fmt.Errorf("it is damaged (%w): move it away together with its -wal and -shm, and move a copy from the backup into its place", err)
	}
	return err
}

// keepOpen opens the file, again and again until that works, then checks it for damage,
// and ends when the store is closed.
func (o *opener) keepOpen(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		<-o.db.closed
		cancel()
	}()
	if o.db.files.Load() == nil {
		o.log.Error("the store can't be opened, events wait in the queue until it can", "path", o.config.Path, "error", *o.db.unavail.Load())
	}
	seen := lookAt(o.config.Path)
	for pause := reopenFirst; o.db.files.Load() == nil; pause = min(2*pause, reopenLongest) {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if now := lookAt(o.config.Path); now != seen { // a copy may be under way
			seen, pause = now, reopenFirst
			continue
		}
		if err := o.open(ctx); err == nil {
			o.log.Info("the store is open", "path", o.config.Path)
		}
		seen = lookAt(o.config.Path)
	}
	o.checkDamage(ctx)
}

// close closes f. A connection that met a fault of memory is not closed and keeps its
// locks: the next start recovers.
func (o *opener) close(f *files) error {
	if o.db.health.faulted() {
		return nil
	}
	moved := f.inPlace() // SQLite then leaves the log where it is
	err := f.close()
	if moved == nil {
		return err
	}
	aside, err2 := f.setLogAside()
	if aside != "" {
		o.log.Warn("the store's file is not where it was opened, its log was set aside: put the two together under their names to use them",
			"file", f.path, "log", aside, "moved", moved)
	}
	return errors.Join(err, err2)
}

// checkDamage checks the file once, table by table, so that no read transaction delays a
// checkpoint for long. It finds pages and rows that don't fit together; a value
// that was changed in place looks like any other.
func (o *opener) checkDamage(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	var tables []string
	err := o.db.read(ctx, "check", func(conn *sqlite.Conn) (err error) {
		stmt, err := conn.Prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")
		if err == nil {
			tables, err = collect(tables, stmt, (*columns).text)
		}
		return err
	})
	for i := 0; err == nil && i < len(tables) && o.db.health.damage.Load() == nil; i++ {
		err = o.checkTable(ctx, tables[i])
	}
	switch {
	case err == nil || o.db.isClosed():
	case ctx.Err() != nil:
		o.log.Info("the store's file is too large to be checked for damage at a start", "path", o.config.Path, "checked_for", checkTime)
	default:
		o.log.Warn("the store's file can't be checked for damage", "path", o.config.Path, "error", err)
	}
}

func (o *opener) checkTable(ctx context.Context, table string) error {
	return o.db.read(ctx, "check", func(conn *sqlite.Conn) error {
		stmt, _, err := conn.PrepareTransient(`PRAGMA quick_check("` + table + `")`)
		if err != nil {
			return err
		}
		found, err := collect(nil, stmt, (*columns).text)
		if err = errors.Join(err, stmt.Finalize()); err != nil {
			return fmt.Errorf("table %s: %w", table, err)
		}
		if len(found) != 1 || found[0] != "ok" {
			o.db.health.damaged("table " + table + ": " + strings.Join(found[:min(len(found), 3)], "; "))
		}
		return nil
	})
}
