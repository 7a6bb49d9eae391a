package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/persistence"
	"github.com/fincart/courier-gateway/persistence/storetest"
)

// testConfig returns the settings of a store in a directory of its own.
func testConfig(t testing.TB) Config {
	return Config{
		Path: filepath.Join(t.TempDir(), "store.db"), Readers: 2, CacheBytes: 8 << 20,
		BusyTimeout: 5 * time.Second,
	}
}

func openTest(t testing.TB, c Config) *Store {
	t.Helper()
	s, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// The suite sweeps more rows than two of the store's chunks.
const _ = uint(storetest.LargestChunk - sweepChunk)

func TestContract(t *testing.T) {
	t.Parallel()
	open := func(t *testing.T, keep persistence.Retention) persistence.Store {
		c := testConfig(t)
		c.Retention = keep
		return openTest(t, c).Parts()
	}
	storetest.Store(t, open)
	storetest.Sweep(t, open)
}

func TestManyWriters(t *testing.T) {
	t.Parallel()
	storetest.AppendAtOnce(t, openTest(t, testConfig(t)).Ledger, 8, 10)
}

func TestConfig(t *testing.T) {
	t.Parallel()
	_, err := Open(t.Context(), Config{Retention: persistence.Retention{IngestionsPerCourier: -1}})
	if err == nil {
		t.Fatal("an empty configuration was taken")
	}
	for _, fault := range []string{"Path:", "Readers:", "CacheBytes:", "BusyTimeout:", "negative"} {
		if !strings.Contains(err.Error(), fault) {
			t.Errorf("%q does not name the fault in %q", err, fault)
		}
	}
	c := testConfig(t)
	c.Path = filepath.Join(t.TempDir(), "missing", "store.db")
	if _, err := Open(t.Context(), c); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("in a directory that does not exist: %v", err)
	}
}

func TestKeepsEverythingAcrossOpenings(t *testing.T) {
	t.Parallel()
	c := testConfig(t)
	p, d := storetest.FullShipment("demo", "i"), storetest.FullLetter("l", 1)
	for version := range int64(3) {
		s, err := Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		r := storetest.FullRecord("demo", "k")
		p.Version, r.Version = version, version
		storetest.CommitAll(t, s.Ledger, event.Change{Shipment: &p, Records: []event.Record{r}, DeadLetters: []event.DeadLetter{d}})
		storetest.WantCounts(t, s, map[event.Status]int64{event.Processed: 1}, map[event.ReviewStatus]int64{event.ReviewReviewed: 1}, 1)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(c.Path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v, %v", info.Mode(), err)
	}
}

// TestWithoutClose opens a copy of the files of a store that is in use, as
// they would be after the process was killed.
func TestWithoutClose(t *testing.T) {
	t.Parallel()
	c := testConfig(t)
	s := openTest(t, c)
	r := storetest.FullRecord("demo", "k")
	storetest.CommitAll(t, s.Ledger, storetest.Records(r))
	copied := testConfig(t)
	for _, suffix := range []string{"", "-wal"} {
		data := storetest.Must(os.ReadFile(c.Path + suffix))
		if err := os.WriteFile(copied.Path+suffix, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := storetest.GetRecord(t, openTest(t, copied).Ledger, r.Identity); !ok {
		t.Error("a committed record is gone")
	}
}

// onMain runs fn with the main connection of s.
func onMain(t *testing.T, s *Store, fn func(*sqlite.Conn) error) {
	t.Helper()
	conn := storetest.Must(s.db.acquire(t.Context()))
	defer s.db.release(conn)
	if err := fn(conn); err != nil {
		t.Fatal(err)
	}
}

// TestFull fills the file to the limit of its size, which SQLite reports
// as it reports a full disk.
func TestFull(t *testing.T) {
	t.Parallel()
	s := openTest(t, testConfig(t))
	limit := func(pages int) {
		onMain(t, s, func(conn *sqlite.Conn) error {
			_, err := number(conn, fmt.Sprintf("PRAGMA max_page_count = %d", pages))
			return err
		})
	}
	storetest.CommitAll(t, s.Ledger, storetest.Records(storetest.FullRecord("demo", "before")))
	limit(1)
	d := storetest.FullLetter("l", 1)
	d.Body = make([]byte, 1<<20)
	change := []event.Change{storetest.Records(storetest.FullRecord("demo", "beside")), storetest.DeadLetters(d)}
	if _, err := s.Ledger.Commit(t.Context(), change); event.CodeOf(err) != event.DependencyDown {
		t.Fatalf("commit on a full disk: %v", err)
	}
	if _, ok := storetest.GetRecord(t, s.Ledger, event.Identity{Courier: "demo", Key: "beside"}); ok {
		t.Error("a commit that failed left a row")
	}
	if !s.db.health.doubt.Load() {
		t.Error("a write that failed leaves no doubt")
	}
	limit(1 << 30)
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("ping after there is space again: %v", err)
	}
	if s.db.health.doubt.Load() {
		t.Error("a write that worked leaves doubt")
	}
	storetest.CommitAll(t, s.Ledger, change...)
	storetest.WantCounts(t, s, map[event.Status]int64{event.Processed: 2}, map[event.ReviewStatus]int64{event.ReviewReviewed: 1}, 0)
}

// TestPanic has a call panic in the middle of a statement, over a row that
// is written: the connection goes back, and nothing of the call stays.
func TestPanic(t *testing.T) {
	t.Parallel()
	c := testConfig(t)
	c.Readers = 1
	s := openTest(t, c)
	storetest.CommitAll(t, s.Ledger, storetest.Records(storetest.FullRecord("demo", "before")))
	for name, call := range map[string]func(context.Context, string, func(*sqlite.Conn) error) error{
		"write": s.db.write, "look": s.db.lookUp, "read": s.db.read,
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if cause := recover(); cause != "in the middle of it" {
					t.Errorf("recovered %v", cause)
				}
			}()
			call(t.Context(), "panic", func(conn *sqlite.Conn) error {
				if name == "write" {
					if _, err := number(conn, "DELETE FROM processed_events RETURNING row_id"); err != nil {
						return err
					}
				}
				return sqlitex.Execute(conn, "SELECT row_id FROM processed_events UNION SELECT 0", &sqlitex.ExecOptions{
					ResultFunc: func(*sqlite.Stmt) error { panic("in the middle of it") },
				})
			})
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := s.Ledger.Commit(ctx, []event.Change{storetest.Records(storetest.FullRecord("demo", "after"))}); err != nil {
		t.Fatalf("commit after the panic: %v", err)
	}
	if err := s.Ping(ctx); err != nil {
		t.Fatalf("read after the panic: %v", err)
	}
	for _, key := range []string{"before", "after"} {
		if _, ok := storetest.GetRecord(t, s.Ledger, event.Identity{Courier: "demo", Key: key}); !ok {
			t.Errorf("no row %q", key)
		}
	}
}

// TestLocked has another connection hold the file, as a shell would that
// that was left open.
func TestLocked(t *testing.T) {
	t.Parallel()
	c := testConfig(t)
	c.BusyTimeout = 20 * time.Millisecond
	s := openTest(t, c)
	shell := storetest.Must(sqlite.OpenConn(c.Path, sqlite.OpenReadWrite))
	defer shell.Close()
	if err := sqlitex.ExecuteTransient(shell, "BEGIN IMMEDIATE", nil); err != nil {
		t.Fatal(err)
	}
	change := []event.Change{storetest.Records(storetest.FullRecord("demo", "k"))}
	if _, err := s.Ledger.Commit(t.Context(), change); event.CodeOf(err) != event.DependencyDown {
		t.Errorf("commit while the file is locked: %v", err)
	}
	if err := s.Ping(t.Context()); event.CodeOf(err) != event.DependencyDown {
		t.Errorf("ping while the file is locked: %v", err)
	}
	if _, ok := storetest.GetRecord(t, s.Ledger, event.Identity{Courier: "demo", Key: "k"}); ok {
		t.Error("a commit that failed left a row")
	}
	if err := sqlitex.ExecuteTransient(shell, "ROLLBACK", nil); err != nil {
		t.Fatal(err)
	}
	storetest.CommitAll(t, s.Ledger, change...)
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("ping: %v", err)
	}
}

// TestOddRow reads a row that was edited by hand.
func TestOddRow(t *testing.T) {
	t.Parallel()
	s := openTest(t, testConfig(t))
	storetest.CommitAll(t, s.Ledger, storetest.Records(storetest.FullRecord("demo", "k")))
	edit := func(sql string) {
		onMain(t, s, func(conn *sqlite.Conn) error { return sqlitex.ExecuteTransient(conn, sql, nil) })
	}
	id := []event.Identity{{Courier: "demo", Key: "k"}}

	edit(`UPDATE processed_events SET attempts = '[ {"number": 2, "startedAt": "2026-02-26T14:00:00+02:00", "more": [1]} ]', received_at = '2026-02-26T12:00:00Z'`)
	got := storetest.Must(s.Ledger.Records(t.Context(), id))[0]
	storetest.Same(t, got.Attempts, []event.Attempt{{Number: 2, StartedAt: got.Attempts[0].StartedAt}})
	if want := storetest.Noon.Truncate(time.Second); !got.Attempts[0].StartedAt.Equal(want) || !got.ReceivedAt.Equal(want) {
		t.Errorf("got %+v", got)
	}

	edit("UPDATE processed_events SET attempts = '[{]'")
	_, err := s.Ledger.Records(t.Context(), id)
	if event.CodeOf(err) != event.Internal || !strings.Contains(err.Error(), "demo:k") || !strings.Contains(err.Error(), "attempts") {
		t.Errorf("a row that can't be read: %v", err)
	}
	edit("UPDATE processed_events SET attempts = NULL, ended_at = 'noon'")
	if _, err := s.Ledger.Records(t.Context(), id); event.CodeOf(err) != event.Internal || !strings.Contains(err.Error(), "ended_at") {
		t.Errorf("a row that can't be read: %v", err)
	}
}

// TestForeignUniqueIndex has an operator's unique index refuse a second dead letter:
// it is not lost silently, and is stored when the index is gone.
func TestForeignUniqueIndex(t *testing.T) {
	t.Parallel()
	s := openTest(t, testConfig(t))
	edit := func(sql string) {
		onMain(t, s, func(conn *sqlite.Conn) error { return sqlitex.ExecuteTransient(conn, sql, nil) })
	}
	edit("CREATE UNIQUE INDEX one_per_courier ON dead_letter_events (courier)")
	edit("CREATE UNIQUE INDEX one_record_per_courier ON ingestion_records (courier)")
	first, second := storetest.DeadLetters(storetest.FullLetter("1", 1)), storetest.DeadLetters(storetest.FullLetter("2", 2))
	storetest.CommitAll(t, s.Ledger, first)
	storetest.CommitAll(t, s.Ledger, first) // it is there already
	storetest.PutIngestions(t, s.Ingestions, storetest.FullIngestion(1))
	storetest.PutIngestions(t, s.Ingestions, storetest.FullIngestion(1))
	_, err := s.Ledger.Commit(t.Context(), []event.Change{second})
	for _, err := range []error{err, s.Ingestions.PutIngestions(t.Context(), []ingestion.Record{storetest.FullIngestion(2)})} {
		if event.CodeOf(err) != event.DependencyDown || !strings.Contains(err.Error(), "UNIQUE constraint failed") || !strings.Contains(err.Error(), "courier") {
			t.Errorf("a row that the index refuses: %v", err)
		}
	}
	edit("DROP INDEX one_per_courier")
	storetest.CommitAll(t, s.Ledger, second)
	storetest.Must(s.DeadLetters.DeadLetter(t.Context(), "2"))
}

// TestUsesIndexes asks SQLite how it would run each query that meets a
// large table.
func TestUsesIndexes(t *testing.T) {
	t.Parallel()
	s := openTest(t, testConfig(t))
	queries := []string{
		"SELECT 1 FROM processed_events WHERE key_hash = ? AND idempotency_key = ? AND courier = ?",
		recordsByKeyQuery, shipmentsByIDQuery, endedQuery, shipmentRangeQuery,
		"SELECT 1 FROM dead_letter_events WHERE sequence = ? LIMIT 1",
		"SELECT row_id FROM processed_events WHERE ended_at < ? ORDER BY ended_at LIMIT ?",
		"SELECT id FROM dead_letter_events WHERE dead_at < ? ORDER BY dead_at LIMIT ?",
		"SELECT id FROM ingestion_records WHERE at < ? ORDER BY at LIMIT ?",
		olderQuery, originsQuery, dropQuery,
	}
	letters := map[string]int{} // how many conditions the index has to serve
	for _, f := range storetest.LetterFilters() {
		query, conditions := letterQuery(f), 0
		for _, value := range []string{f.Courier, string(f.Code), string(f.Status)} {
			if value != "" {
				conditions++
			}
		}
		if f.Key != "" { // which few letters share
			conditions = 1
		}
		queries, letters[query] = append(queries, query), conditions
	}
	for _, f := range []ingestion.Filter{
		{}, {After: "x"}, {Courier: "x"}, {Courier: "x", After: "x", Open: true}, {Code: "x", After: "x"}, {Open: true},
		{Outcomes: []ingestion.Outcome{"x"}}, {Outcomes: []ingestion.Outcome{"x", "y"}, After: "x"},
		{Outcomes: []ingestion.Outcome{"x", "y"}, Courier: "x", Code: "x", Open: true},
	} {
		query, _ := ingestionQuery(f)
		queries = append(queries, query)
	}
	onMain(t, s, func(conn *sqlite.Conn) error {
		for _, query := range queries {
			stmt, _, err := conn.PrepareTransient("EXPLAIN QUERY PLAN " + query)
			if err != nil {
				return fmt.Errorf("%s: %w", query, err)
			}
			plan := storetest.Must(collect(nil, stmt, func(c *columns) string { return c.stmt.GetText("detail") }))
			for _, step := range plan {
				// Sorting would read every row that passes, with its body.
				if strings.HasPrefix(step, "SCAN") && !strings.Contains(step, "INDEX") && !strings.HasPrefix(step, "SCAN json_each") && step != "SCAN CONSTANT ROW" || strings.Contains(step, "TEMP B-TREE") {
					t.Errorf("%s: %s", query, step)
				}
				if n := strings.Count(step, "=?"); strings.Contains(step, " dead_letter_events") && n < letters[query] {
					t.Errorf("%s: reads letters that do not pass: %s", query, step)
				}
			}
			stmt.Finalize()
		}
		return nil
	})
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	c := testConfig(t)
	registry := prometheus.NewRegistry()
	c.Registerer = registry
	s := openTest(t, c)
	storetest.CommitAll(t, s.Ledger, storetest.Records(storetest.FullRecord("demo", "k")))
	storetest.CommitSome(t, s.Ledger, storetest.Records(storetest.FullRecord("demo", "k")))
	s.DeadLetters.DeadLetter(t.Context(), "none")
	got := map[string]int{}
	for _, family := range storetest.Must(registry.Gather()) {
		got[family.GetName()] = len(family.GetMetric())
	}
	storetest.Same(t, got, map[string]int{
		"courier_gateway_persistence_operation_seconds":     2, // commit, dead_letter
		"courier_gateway_persistence_refused_changes_total": 1,
	})
	if _, err := Open(t.Context(), c); err == nil {
		t.Error("two stores share one registry's names")
	}
}
