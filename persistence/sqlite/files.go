package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// files is the store's file as it is open: the connections to it, and which
// file it was that was at the path then.
type files struct {
	path     string
	resolved string            // path without symbolic links: the log is beside that
	main     chan *sqlite.Conn // holds the one connection while no call uses it
	log      *logLength        // of the holder of the connection
	readers  *sqlitex.Pool
	file     fs.FileInfo // of path
	wal      fs.FileInfo // of the log beside it, nil for none
}

// openFiles opens or makes the file of c.
func openFiles(ctx context.Context, c Config) (f *files, err error) {
	f = &files{path: c.Path, main: make(chan *sqlite.Conn, 1), log: newLogLength(time.Now())}
	err = guarded(func() error {
		conn, err := openMain(ctx, c)
		if err != nil {
			return err
		}
		f.readers, err = sqlitex.NewPool(c.Path, sqlitex.PoolOptions{
			Flags: sqlite.OpenReadWrite, PoolSize: c.Readers,
			PrepareConn: func(conn *sqlite.Conn) error {
				conn.SetBusyTimeout(c.BusyTimeout)
				return sqlitex.ExecuteTransient(conn, "PRAGMA query_only = ON", nil)
			},
		})
		if err != nil {
			return errors.Join(err, conn.Close())
		}
		f.main <- conn
		return nil
	})
	if err != nil {
		return nil, err
	}
	if f.file, err = os.Stat(c.Path); err != nil {
		return nil, errors.Join(err, f.close())
	}
	f.resolved = withoutLinks(c.Path)
	f.wal, _ = os.Stat(f.resolved + walSuffix) // no log: all of it is in the file
	return f, nil
}

// withoutLinks returns path with its symbolic links followed, as SQLite does.
func withoutLinks(path string) string {
	if followed, err := filepath.EvalSymlinks(path); err == nil {
		return followed
	}
	return path
}

// walSuffix is behind the name of the file in that of its write-ahead log.
const walSuffix = "-wal"

// openMain opens the main connection, making and migrating the file as needed.
func openMain(ctx context.Context, c Config) (*sqlite.Conn, error) {
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

func prepareMain(conn *sqlite.Conn, c Config) error {
	conn.SetBusyTimeout(c.BusyTimeout)
	if _, err := number(conn, "PRAGMA user_version"); err != nil {
		return err // no database at all: report that before anything is tried
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

// close waits for the calls under way and closes the connections.
func (f *files) close() error {
	return guarded(func() error { return errors.Join(f.readers.Close(), (<-f.main).Close()) })
}

// inPlace returns nil while the open file is the one at its path. What is written to
// another one is lost at the next start.
func (f *files) inPlace() error {
	now, err := os.Stat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s was moved or deleted while it was open, nothing more is written to it: "+
			"move it back, or restart the appliance with the file in place that is to be used", f.path)
	case err == nil && !os.SameFile(now, f.file):
		return fmt.Errorf("%s was replaced while it was open, nothing is written to either: "+
			"restart the appliance to use the file that is there now, or move the former one back", f.path)
	default:
		return nil // a write shows what else is wrong with it
	}
}

// setLogAside renames the log of a file that is no longer in its place, if the log still
// is: the next start would play it into whatever file is at the path then. It returns the
// log's new name, "" when there was none.
func (f *files) setLogAside() (string, error) {
	now, _ := os.Stat(f.resolved + walSuffix) // nil where there is none
	if now == nil || f.wal == nil || !os.SameFile(now, f.wal) {
		return "", nil
	}
	aside := fmt.Sprintf("%s%s.%d", f.resolved, walSuffix, time.Now().Unix())
	return aside, os.Rename(f.resolved+walSuffix, aside)
}
