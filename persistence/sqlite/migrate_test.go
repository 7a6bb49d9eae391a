package sqlite

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/persistence/storetest"
)

// TestMigrationsAreNumbered: they are applied in the order of their names, which is that
// of their numbers only when these have as many digits each.
func TestMigrationsAreNumbered(t *testing.T) {
	t.Parallel()
	for i, f := range storetest.Must(migrationFiles.ReadDir("migrations")) {
		if number := fmt.Sprintf("%04d_", i+1); !strings.HasPrefix(f.Name(), number) {
			t.Errorf("%s does not begin with %s", f.Name(), number)
		}
	}
}

// TestMigrates opens a file of each version that was released.
func TestMigrates(t *testing.T) {
	t.Parallel()
	for version := 1; version < len(migrations()); version++ {
		c := testConfig(t)
		if err := script(c.Path, strings.Join(migrations()[:version], "")+fmt.Sprintf(`
			INSERT INTO dead_letter_events (id, sequence, dead_at, review_status) VALUES ('l', 7, '2026-02-26T12:00:00.000000000Z', 'closed');
			INSERT INTO row_counts VALUES ('dead_letter_events', 'closed', 1);
			PRAGMA application_id = %d; PRAGMA user_version = %d;`, applicationID, version)); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time there is nothing to do
			s, err := Open(t.Context(), c)
			if err != nil {
				t.Fatalf("version %d: %v", version, err)
			}
			if d := storetest.Must(s.DeadLetters.DeadLetter(t.Context(), "l")); d.Sequence != 7 || d.ReviewStatus != event.ReviewClosed {
				t.Errorf("version %d: %+v", version, d)
			}
			storetest.WantCounts(t, s, map[event.Status]int64{}, map[event.ReviewStatus]int64{event.ReviewClosed: 1}, 0)
			storetest.PutIngestions(t, s.Ingestions, storetest.FullIngestion(1))
			storetest.WantIngestions(t, s.Ingestions, ingestion.Filter{}, 1)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestRefusesFiles(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		make func(path string) error
		want string
	}{
		{"of a newer version", func(path string) error {
			return script(path, fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", applicationID, len(migrations())+1))
		}, "newer program"},
		{"of another program", func(path string) error { return script(path, "CREATE TABLE t (x)") }, "another program's"},
		{"of another program, marked", func(path string) error { return script(path, "PRAGMA user_version = 1") }, "another program's"},
		{"that are no database", func(path string) error {
			return os.WriteFile(path, bytes.Repeat([]byte("no database "), 1000), 0o600)
		}, "not a database"},
		{"that are directories", func(path string) error { return os.Mkdir(path, 0o700) }, "is a directory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := testConfig(t)
			if err := test.make(c.Path); err != nil {
				t.Fatal(err)
			}
			before, _ := os.ReadFile(c.Path)
			s, err := Open(t.Context(), c)
			if err == nil {
				s.Close()
				t.Fatal("it was opened")
			}
			if !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), c.Path) {
				t.Errorf("%q says nothing of %q at %s", err, test.want, c.Path)
			}
			if after, _ := os.ReadFile(c.Path); test.want == "newer program" && !bytes.Equal(before[100:], after[100:]) {
				t.Error("the file was changed")
			}
		})
	}
}

// script runs SQL on a file of its own connection.
func script(path, sql string) error {
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite|sqlite.OpenCreate)
	if err != nil {
		return err
	}
	return errors.Join(sqlitex.ExecuteScript(conn, sql, nil), conn.Close())
}
