package sqlite

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/persistence"
	"github.com/fincart/courier-gateway/persistence/storetest"
)

func TestSweepLetsCommitsPass(t *testing.T) {
	t.Parallel()
	c := testConfig(t)
	c.Retention = persistence.Retention{LedgerTTL: time.Hour, ShipmentTTL: time.Hour}
	s := openTest(t, c)
	w := &storetest.Batcher{}
	for range 3 {
		w.Batch(t, s.Ledger, 500)
	}
	var wg sync.WaitGroup
	swept := make(chan struct{})
	wg.Go(func() {
		defer close(swept)
		if got, err := s.Sweep(t.Context(), storetest.Noon.Add(1000*time.Hour)); err != nil || got.Records != 1500 {
			t.Errorf("swept %+v, %v", got, err)
		}
	})
	during := 0
	for sweeping := true; sweeping; {
		select {
		case <-swept:
			sweeping = false
		default:
			storetest.CommitAll(t, s.Ledger, storetest.Records(event.Record{Identity: event.Identity{Courier: "c", Key: fmt.Sprint(during)}, Status: event.Received}))
			during++
		}
	}
	wg.Wait()
	if chunks := 2 * 1500 / sweepChunk; during < chunks/2 {
		t.Errorf("%d commits during a sweep of %d chunks", during, chunks)
	}
	storetest.WantCounts(t, s, map[event.Status]int64{event.Received: int64(during)}, map[event.ReviewStatus]int64{}, 0)
}

// TestWalk sweeps shipments that don't fit into one walk.
func TestWalk(t *testing.T) {
	t.Parallel()
	c := testConfig(t)
	c.Retention = persistence.Retention{ShipmentTTL: time.Hour}
	s := openTest(t, c)
	fresh := storetest.FullShipment("demo", "fresh")
	fresh.UpdatedAt = storetest.Noon.Add(24 * time.Hour)
	storetest.CommitAll(t, s.Ledger, storetest.Shipment(fresh), storetest.Shipment(storetest.FullShipment("demo", "old")))
	onMain(t, s, func(conn *sqlite.Conn) error { // as if many had come and gone between them
		return sqlitex.ExecuteTransient(conn, fmt.Sprintf("UPDATE active_shipments SET row_id = %d WHERE row_id = 2", 3*sweepWalk), nil)
	})
	sweep := func(now time.Time, want int64) (sweeps int) {
		for sweeps = 1; sweeps < 20; sweeps++ {
			if _, err := s.Sweep(t.Context(), now); err != nil {
				t.Fatal(err)
			}
			if storetest.Must(s.Counts(t.Context())).Shipments == want {
				return sweeps
			}
		}
		return sweeps
	}
	if n := sweep(storetest.Noon.Add(2*time.Hour), 1); n != 3 {
		t.Errorf("%d sweeps walked through 3 walks", n)
	}
	if _, ok := storetest.GetShipment(t, s.Ledger, fresh.Ref); !ok {
		t.Error("a shipment that was touched is gone")
	}
	if n := sweep(storetest.Noon.Add(26*time.Hour), 0); n > 2 {
		t.Errorf("%d sweeps came round to the beginning", n)
	}
}
