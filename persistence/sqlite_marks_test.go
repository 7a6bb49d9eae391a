package persistence

import (
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

func TestSQLiteMarks(t *testing.T) {
	t.Parallel()
	c := testSQLite(t)
	c.Retention.LedgerTTL = time.Hour
	s := openTestSQLite(t, c)
	compare := func(what string, s *SQLite, queue string, verified uint64, want Gap) {
		t.Helper()
		got, err := s.CompareMark(t.Context(), queue, verified)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", what, got, err, want)
		}
	}
	raise := func(queue string, verified uint64) {
		t.Helper()
		if err := s.RaiseMark(t.Context(), queue, verified); err != nil {
			t.Fatal(err)
		}
	}
	compare("both new", s, "q", 0, Gap{})
	raise("q", 10)
	compare("the same", s, "q", 10, Gap{})
	compare("the queue behind, after a crash between the two", s, "q", 7, Gap{})
	raise("q", 5)
	compare("a lower mark changes nothing", s, "q", 10, Gap{})
	commitAll(t, s, records(fullRecord("demo", "k")))
	if swept := must(s.Sweep(t.Context(), noon.Add(100*time.Hour))); swept.Records != 1 {
		t.Fatalf("swept %+v", swept)
	}
	compare("after rows expired", s, "q", 10, Gap{})
	compare("an earlier state of the store", s, "q", 12, Gap{11, 12})
	compare("the next start", s, "q", 12, Gap{11, 12})
	raise("q", 20)
	compare("a start much later", s, "q", 20, Gap{11, 12})
	compare("older once more", s, "q", 25, Gap{11, 25})
	if err := s.AcceptGap(t.Context(), "q"); err != nil {
		t.Fatal(err)
	}
	compare("accepted", s, "q", 25, Gap{})
	compare("a queue that was made again", s, "q2", 0, Gap{})
	compare("the store of another queue", s, "q3", 4, Gap{1, 4})

	empty := openTestSQLite(t, testSQLite(t))
	compare("an empty store", empty, "q", 25, Gap{1, 25})

	before := openTestSQLite(t, testSQLite(t))
	commitAll(t, before, records(event.Record{Identity: event.Identity{Courier: "c", Key: "k"}, Status: event.Processed}))
	compare("a store from before there were marks", before, "q", 25, Gap{})
	compare("the same, later", before, "q", 26, Gap{26, 26})
}

// BenchmarkSQLiteRaiseMark is what the reconciler's every batch costs on top.
func BenchmarkSQLiteRaiseMark(b *testing.B) {
	s := openTestSQLite(b, testSQLite(b))
	for seq := uint64(0); b.Loop(); seq++ {
		if err := s.RaiseMark(b.Context(), "q", seq); err != nil {
			b.Fatal(err)
		}
	}
}
