package sqlite

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/persistence/storetest"
)

// fillStore commits so many records that every table of interest has many pages.
func fillStore(t *testing.T, s *Store) {
	t.Helper()
	var changes []event.Change
	for i := range 400 {
		r := storetest.FullRecord("demo", fmt.Sprint("fill-", i))
		r.Message = strings.Repeat("filling ", 100)
		changes = append(changes, storetest.Records(r))
	}
	storetest.CommitAll(t, s.Ledger, changes...)
}

// filledFile returns the settings of a store whose closed file has many pages.
func filledFile(t *testing.T) Config {
	t.Helper()
	c := testConfig(t)
	s := storetest.Must(Open(t.Context(), c))
	fillStore(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return c
}

// rootPage returns the number of the first page of a table or index.
func rootPage(t *testing.T, path, name string) int64 {
	t.Helper()
	conn := storetest.Must(sqlite.OpenConn(path, sqlite.OpenReadOnly))
	defer conn.Close()
	return int64(storetest.Must(number(conn, "SELECT rootpage FROM sqlite_schema WHERE name = '"+name+"'")))
}

// flip inverts n bytes of a file.
func flip(t *testing.T, path string, at int64, n int) {
	t.Helper()
	f := storetest.Must(os.OpenFile(path, os.O_RDWR, 0))
	defer f.Close()
	b := make([]byte, n)
	storetest.Must(f.ReadAt(b, at))
	for i := range b {
		b[i] ^= 0xff
	}
	storetest.Must(f.WriteAt(b, at))
}

func wantProblem(t *testing.T, what string, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s: %q says nothing of %q", what, text, part)
		}
	}
}

// TestDamagedPageIsFound flips bytes in a page that no call reads. The check
// after the opening finds it, and the store says what to do as long as it is open.
func TestDamagedPageIsFound(t *testing.T) {
	t.Parallel()
	c := filledFile(t)
	flip(t, c.Path, (rootPage(t, c.Path, "processed_events")-1)*4096, 16)
	c.Reopen = true
	s := openTest(t, c)
	storetest.Eventually(t, "the damage to be found", func() bool { return len(s.Problems()) > 0 })
	wantProblem(t, "the check", s.Problems()[0], c.Path, "damaged", "processed_events", "backup", "-wal")
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("ping: %v", err)
	}
}

func TestWholeFileHasNoProblem(t *testing.T) {
	t.Parallel()
	s := openTest(t, filledFile(t))
	s.opener.checkDamage(t.Context())
	if problems := s.Problems(); len(problems) > 0 {
		t.Error(problems)
	}
}

// TestDamageIsKept has a call meet a damaged page. The call is the store's
// failure, and other calls that work don't take the problem away.
func TestDamageIsKept(t *testing.T) {
	t.Parallel()
	c := filledFile(t)
	flip(t, c.Path, (rootPage(t, c.Path, "processed_events_by_key")-1)*4096, 16)
	s := openTest(t, c)
	if _, err := s.Ledger.Records(t.Context(), []event.Identity{{Courier: "demo", Key: "fill-1"}}); event.CodeOf(err) != event.DependencyDown {
		t.Errorf("reading from a damaged page: %v", err)
	}
	for range 2 {
		if err := s.Ping(t.Context()); err != nil {
			t.Errorf("ping: %v", err)
		}
		if problems := s.Problems(); len(problems) != 1 {
			t.Fatalf("problems: %q", problems)
		}
	}
	wantProblem(t, "the call", s.Problems()[0], c.Path, "damaged", "malformed")
}

// TestOpensWhatIsPutRight starts on files that can't be used, and has an
// operator move a good one into place.
func TestOpensWhatIsPutRight(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		spoil func(t *testing.T, path string)
		want  string
	}{
		"no database": {func(t *testing.T, path string) { flip(t, path, 0, 100) }, "not a database"},
		"no schema":   {func(t *testing.T, path string) { flip(t, path, 100, 3000) }, "malformed"},
		"cut":         {func(t *testing.T, path string) { storetest.Must(0, os.Truncate(path, 5000)) }, "malformed"},
		"a directory": {func(t *testing.T, path string) {
			storetest.Must(0, os.Remove(path))
			storetest.Must(0, os.Mkdir(path, 0o700))
		}, "is a directory"},
		"not reachable": {func(t *testing.T, path string) {
			storetest.Must(0, os.Remove(path))
			storetest.Must(0, os.Symlink(path, path))
		}, "too many levels"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := filledFile(t)
			good := c.Path + ".good"
			storetest.Must(0, os.WriteFile(good, storetest.Must(os.ReadFile(c.Path)), 0o600))
			test.spoil(t, c.Path)
			if s, err := Open(t.Context(), c); err == nil {
				s.Close()
				t.Fatal("the file is opened where that can't be done later")
			}
			c.Reopen = true
			s := openTest(t, c)
			err := s.Ping(t.Context())
			if event.CodeOf(err) != event.DependencyDown {
				t.Fatalf("ping: %v", err)
			}
			wantProblem(t, "ping", err.Error(), c.Path, test.want)
			if _, err := s.Ledger.Commit(t.Context(), []event.Change{storetest.Records(storetest.FullRecord("demo", "k"))}); event.CodeOf(err) != event.DependencyDown {
				t.Errorf("commit: %v", err)
			}
			// The operator looks for the backup while nothing is there.
			storetest.Must(0, os.RemoveAll(c.Path))
			storetest.Eventually(t, "the missing file to be noticed", func() bool {
				return strings.Contains(s.Ping(t.Context()).Error(), "not there any more")
			})
			storetest.Must(0, os.Rename(good, c.Path))
			storetest.Eventually(t, "the store to be open", func() bool { return s.Ping(t.Context()) == nil })
			if _, ok := storetest.GetRecord(t, s.Ledger, event.Identity{Courier: "demo", Key: "fill-1"}); !ok {
				t.Error("the file that was put in place is not used")
			}
			storetest.CommitAll(t, s.Ledger, storetest.Records(storetest.FullRecord("demo", "k")))
		})
	}
}

// TestForeignFileStopsTheStart: waiting does not help there.
func TestForeignFileStopsTheStart(t *testing.T) {
	t.Parallel()
	c := testConfig(t)
	c.Reopen = true
	if err := script(c.Path, "CREATE TABLE t (x)"); err != nil {
		t.Fatal(err)
	}
	if s, err := Open(t.Context(), c); err == nil || !strings.Contains(err.Error(), "another program's") {
		t.Errorf("opened %v, %v", s, err)
	}
}

// TestMovedFile moves the file while it is open: nothing is written that the
// next start would not find, and moving it back is enough.
func TestMovedFile(t *testing.T) {
	t.Parallel()
	c := testConfig(t)
	s := openTest(t, c)
	storetest.CommitAll(t, s.Ledger, storetest.Records(storetest.FullRecord("demo", "before")))
	refused := func(want string) {
		t.Helper()
		_, err := s.Ledger.Commit(t.Context(), []event.Change{storetest.Records(storetest.FullRecord("demo", "during"))})
		if event.CodeOf(err) != event.DependencyDown || !strings.Contains(err.Error(), want) {
			t.Errorf("commit: %v, want %q", err, want)
		}
		if err := s.Ping(t.Context()); event.CodeOf(err) != event.DependencyDown || !strings.Contains(err.Error(), want) {
			t.Errorf("ping: %v, want %q", err, want)
		}
	}
	storetest.Must(0, os.Rename(c.Path, c.Path+".moved"))
	refused("was moved or deleted while it was open")
	storetest.Must(0, os.WriteFile(c.Path, nil, 0o600))
	refused("was replaced while it was open")
	storetest.Must(0, os.Rename(c.Path+".moved", c.Path))
	storetest.CommitAll(t, s.Ledger, storetest.Records(storetest.FullRecord("demo", "after")))
	if _, ok := storetest.GetRecord(t, s.Ledger, event.Identity{Courier: "demo", Key: "during"}); ok {
		t.Error("a commit that was refused left a row")
	}
}

// TestLogOfAReplacedFile replaces the file of an open store, whose log stays. The
// next start must not play that into the file which is there now, and nothing is lost.
func TestLogOfAReplacedFile(t *testing.T) {
	t.Parallel()
	c, other := testConfig(t), testConfig(t)
	o := storetest.Must(Open(t.Context(), other))
	storetest.CommitAll(t, o.Ledger, storetest.Records(storetest.FullRecord("demo", "other")))
	storetest.Must(0, o.Close())
	s := storetest.Must(Open(t.Context(), c))
	storetest.CommitAll(t, s.Ledger, storetest.Records(storetest.FullRecord("demo", "first")))
	storetest.Must(0, os.Rename(c.Path, c.Path+".before"))
	storetest.Must(0, os.Rename(other.Path, c.Path))
	storetest.Must(0, s.Close())

	now := openTest(t, c)
	for key, want := range map[string]bool{"other": true, "first": false} {
		if _, ok := storetest.GetRecord(t, now.Ledger, event.Identity{Courier: "demo", Key: key}); ok != want {
			t.Errorf("the file that is there now has the record %s: %v", key, ok)
		}
	}
	now.opener.checkDamage(t.Context())
	if problems := now.Problems(); len(problems) > 0 {
		t.Error(problems)
	}
	aside := storetest.Must(filepath.Glob(c.Path + walSuffix + ".*"))
	if len(aside) != 1 {
		t.Fatalf("logs that were set aside: %q", aside)
	}
	before := testConfig(t)
	storetest.Must(0, os.Rename(c.Path+".before", before.Path))
	storetest.Must(0, os.Rename(aside[0], before.Path+walSuffix))
	if _, ok := storetest.GetRecord(t, openTest(t, before).Ledger, event.Identity{Courier: "demo", Key: "first"}); !ok {
		t.Error("what was committed to the file before is gone")
	}
}

// TestSurvivesACutIndex cuts the file that SQLite has mapped into memory, as a
// copy over the running store does. Touching it ends a process by SIGBUS.
func TestSurvivesACutIndex(t *testing.T) {
	t.Parallel()
	c := testConfig(t)
	s := storetest.Must(Open(t.Context(), c))
	storetest.CommitAll(t, s.Ledger, storetest.Records(storetest.FullRecord("demo", "before")))
	storetest.Must(0, os.Truncate(c.Path+"-shm", 0))
	for range 2 {
		_, err := s.Ledger.Commit(t.Context(), []event.Change{storetest.Records(storetest.FullRecord("demo", "during"))})
		if event.CodeOf(err) != event.DependencyDown {
			t.Fatalf("commit: %v", err)
		}
		wantProblem(t, "commit", err.Error(), "restart the appliance")
		if err := s.Ping(t.Context()); event.CodeOf(err) != event.DependencyDown {
			t.Fatalf("ping: %v", err)
		}
	}
	done := make(chan error)
	go func() { done <- s.Close() }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("closing waits for the connection that was lost")
	}
	// The next start, in a process of its own: locks belong to processes.
	copied := testConfig(t)
	for _, suffix := range []string{"", walSuffix} {
		storetest.Must(0, os.WriteFile(copied.Path+suffix, storetest.Must(os.ReadFile(c.Path+suffix)), 0o600))
	}
	if _, ok := storetest.GetRecord(t, openTest(t, copied).Ledger, event.Identity{Courier: "demo", Key: "before"}); !ok {
		t.Error("what was committed before is gone")
	}
}

// TestPingWrites: a store that can be read but not written is found by asking,
// with no event on its way, and asking a store that has just written costs no write.
func TestPingWrites(t *testing.T) {
	t.Parallel()
	c := testConfig(t)
	s := openTest(t, c)
	written := func() int64 {
		t.Helper()
		return storetest.Must(os.Stat(c.Path + walSuffix)).Size()
	}
	storetest.CommitAll(t, s.Ledger, storetest.Records(storetest.FullRecord("demo", "k")))
	before := written()
	for range 20 {
		if err := s.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if after := written(); after != before {
		t.Errorf("asking right after a commit wrote %d bytes", after-before)
	}
	onMain(t, s, func(conn *sqlite.Conn) error { return sqlitex.ExecuteTransient(conn, "PRAGMA query_only = ON", nil) })
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("a write has just succeeded: %v", err)
	}
	s.db.health.written.Store(time.Now().Add(-2 * writtenFor).UnixNano())
	if err := s.Ping(t.Context()); err == nil {
		t.Error("no write has succeeded for a while, none can, and ping knows nothing of it")
	}
}

// TestTryWriting names the directory and the cause, and leaves nothing behind.
func TestTryWriting(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := tryWriting(dir); err != nil {
		t.Fatal(err)
	}
	if left := storetest.Must(os.ReadDir(dir)); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	gone := filepath.Join(dir, "gone")
	if err := tryWriting(gone); err == nil || err.Error() != "open "+gone+": no such file or directory" {
		t.Errorf("got %v", err)
	}
}

// BenchmarkCheck looks through a file for damage, as every start does.
func BenchmarkCheck(b *testing.B) {
	s := openTest(b, testConfig(b))
	w := &storetest.Batcher{}
	for range 400 {
		w.Batch(b, s.Ledger, 500)
	}
	b.SetBytes(storetest.Must(os.Stat(s.opener.config.Path)).Size())
	for b.Loop() {
		s.opener.checkDamage(context.Background())
	}
}
