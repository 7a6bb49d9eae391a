package sqlite

import (
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/persistence"
	"github.com/fincart/courier-gateway/persistence/storetest"
)

func TestMarks(t *testing.T) {
	t.Parallel()
	c := testConfig(t)
	c.Retention.LedgerTTL = time.Hour
	s := openTest(t, c)
	compare := func(what string, s *Store, queue string, verified uint64, want persistence.Gap) {
		t.Helper()
		got, err := s.Marks.CompareMark(t.Context(), queue, verified)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", what, got, err, want)
		}
	}
	raise := func(queue string, verified uint64) {
		t.Helper()
		if err := s.Marks.RaiseMark(t.Context(), queue, verified); err != nil {
			t.Fatal(err)
		}
	}
	compare("both new", s, "q", 0, persistence.Gap{})
	raise("q", 10)
	compare("the same", s, "q", 10, persistence.Gap{})
	compare("the queue behind, after a crash between the two", s, "q", 7, persistence.Gap{})
	raise("q", 5)
	compare("a lower mark changes nothing", s, "q", 10, persistence.Gap{})
	storetest.CommitAll(t, s.Ledger, storetest.Records(storetest.FullRecord("demo", "k")))
	if swept := storetest.Must(s.Sweep(t.Context(), storetest.Noon.Add(100*time.Hour))); swept.Records != 1 {
		t.Fatalf("swept %+v", swept)
	}
	compare("after rows expired", s, "q", 10, persistence.Gap{})
	compare("an earlier state of the store", s, "q", 12, persistence.Gap{From: 11, To: 12})
	compare("the next start", s, "q", 12, persistence.Gap{From: 11, To: 12})
	raise("q", 20)
	compare("a start much later", s, "q", 20, persistence.Gap{From: 11, To: 12})
	compare("older once more", s, "q", 25, persistence.Gap{From: 11, To: 25})
	if err := s.Marks.AcceptGap(t.Context(), "q"); err != nil {
		t.Fatal(err)
	}
	compare("accepted", s, "q", 25, persistence.Gap{})
	compare("a queue that was made again", s, "q2", 0, persistence.Gap{})
	compare("the store of another queue", s, "q3", 4, persistence.Gap{From: 1, To: 4})

	empty := openTest(t, testConfig(t))
	compare("an empty store", empty, "q", 25, persistence.Gap{From: 1, To: 25})

	before := openTest(t, testConfig(t))
	storetest.CommitAll(t, before.Ledger, storetest.Records(event.Record{Identity: event.Identity{Courier: "c", Key: "k"}, Status: event.Processed}))
	compare("a store from before there were marks", before, "q", 25, persistence.Gap{})
	compare("the same, later", before, "q", 26, persistence.Gap{From: 26, To: 26})
}

// BenchmarkRaiseMark is what the reconciler's every batch costs on top.
func BenchmarkRaiseMark(b *testing.B) {
	s := openTest(b, testConfig(b))
	for seq := uint64(0); b.Loop(); seq++ {
		if err := s.Marks.RaiseMark(b.Context(), "q", seq); err != nil {
			b.Fatal(err)
		}
	}
}
