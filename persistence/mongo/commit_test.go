package mongo

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	drivers "go.mongodb.org/mongo-driver/v2/event"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/persistence/storetest"
)

// TestRoundTrips counts commands where the driver sends them.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	c, genuine := anyMongo(t)
	large := 30
	if genuine {
		large = 500
	}
	countTrips(t, c, large, genuine)
	// The scripted server takes any number.
	c = testConfig((&scriptedMongo{}).start(t))
	countTrips(t, c, 500, true)
}

// countTrips fails the test unless batches of 1 and of large take the same trips. FerretDB
// does not say which index a duplicate key is in, so that has to be looked up.
func countTrips(t *testing.T, c Config, large int, namesIndex bool) {
	t.Helper()
	var mu sync.Mutex
	var sent []string
	c.monitor = &drivers.CommandMonitor{Started: func(_ context.Context, e *drivers.CommandStartedEvent) {
		mu.Lock()
		defer mu.Unlock()
		sent = append(sent, e.CommandName)
	}}
	m := openTest(t, c)
	if err := m.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	n := 0
	trips := func(size int) string {
		var ids []event.Identity
		var refs []shipment.Ref
		var seqs []uint64
		var fresh, again []event.Change
		var intake []ingestion.Record
		for range size {
			n++
			intake = append(intake, storetest.Single(n, "a", ingestion.Refused), storetest.Aggregate(1_000_000+n, "b", ingestion.Refused))
			id, ref := event.Identity{Courier: "c", Key: fmt.Sprint(n)}, shipment.Ref{Courier: "c", ID: fmt.Sprint(n)}
			ids, refs, seqs = append(ids, id), append(refs, ref), append(seqs, uint64(n))
			for version, changes := range []*[]event.Change{&fresh, &again} {
				*changes = append(*changes, event.Change{
					Shipment:    &shipment.Shipment{Ref: ref, Version: int64(version)},
					Records:     []event.Record{{Identity: id, Status: event.Processed, Version: int64(version)}},
					DeadLetters: []event.DeadLetter{{ID: fmt.Sprint(n), Sequence: uint64(n), DeadAt: storetest.Noon}},
				})
			}
		}
		mu.Lock()
		sent = nil
		mu.Unlock()
		storetest.CommitAll(t, m.Ledger, fresh...)
		storetest.CommitAll(t, m.Ledger, again...)
		storetest.Must(m.Ledger.Records(t.Context(), ids))
		storetest.Must(m.Ledger.Shipments(t.Context(), refs))
		storetest.Must(m.DeadLetters.DeadSequences(t.Context(), seqs))
		storetest.PutIngestions(t, m.Ingestions, intake...)
		storetest.PutIngestions(t, m.Ingestions, intake...) // all of them are there
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(sent, " ")
	}
	look := ""
	if !namesIndex {
		look = " find"
	}
	want := "insert insert insert update " + // new rows: reserve, shipments, letters, finish
		"update update insert" + look + " update " + // rows that exist
		"find find find " +
		"insert insert" + look // ingestion records
	for _, size := range []int{1, large} {
		if got := trips(size); got != want {
			t.Errorf("a batch of %d takes %q, want %q", size, got, want)
		}
	}
}

// TestInterrupted ends a commit after each of its steps, as a crash would,
// and applies the same event again.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	c, _ := anyMongo(t)
	var cut atomic.Pointer[func()] // called after each command that writes
	c.monitor = &drivers.CommandMonitor{Succeeded: func(_ context.Context, e *drivers.CommandSucceededEvent) {
		if fn := cut.Load(); fn != nil && (e.CommandName == "insert" || e.CommandName == "update") {
			(*fn)()
		}
	}}
	m := openTest(t, c)
	for steps := 1; steps <= 4; steps++ {
		key, id := fmt.Sprintf("key-%d", steps), fmt.Sprintf("shp-%d", steps)
		p := shipment.Shipment{Ref: shipment.Ref{Courier: "demo", ID: id}, History: []shipment.Checkpoint{{Key: key, At: storetest.Noon}}}
		change := event.Change{Shipment: &p, Records: []event.Record{storetest.FullRecord("demo", key)}, DeadLetters: []event.DeadLetter{storetest.FullLetter(key, 1)}}

		ctx, cancel := context.WithCancel(t.Context())
		done := 0
		cutter := func() {
			if done++; done == steps {
				cancel()
			}
		}
		cut.Store(&cutter)
		outcomes, err := m.Ledger.Commit(ctx, []event.Change{change})
		cut.Store(nil)
		cancel()
		if steps < 4 && event.CodeOf(err) != event.Interrupted || steps == 4 && (err != nil || outcomes[0] != nil) {
			t.Fatalf("cut after step %d: %v, %v", steps, outcomes, err)
		}

		r, _ := storetest.GetRecord(t, m.Ledger, event.Identity{Courier: "demo", Key: key})
		if steps < 4 && (r.Status != event.Processing || !r.EndedAt.IsZero() || r.BodyHash == "" || r.Attempts[2].Outcome != "") {
			t.Errorf("cut after step %d: the record is %+v", steps, r)
		}
		storetest.AppendCheckpoint(t, m.Ledger, p.Ref, key)
		storetest.CommitAll(t, m.Ledger, storetest.DeadLetters(change.DeadLetters...))

		r, _ = storetest.GetRecord(t, m.Ledger, event.Identity{Courier: "demo", Key: key})
		stored, _ := storetest.GetShipment(t, m.Ledger, p.Ref)
		if r.Status != event.Processed || len(stored.History) != 1 {
			t.Errorf("cut after step %d, applied again: %s, history %+v", steps, r.Status, stored.History)
		}
	}
}

// TestInterruptedAgain ends the commit of a row that exists after it is reserved.
func TestInterruptedAgain(t *testing.T) {
	t.Parallel()
	c, _ := anyMongo(t)
	ctx, cancel := context.WithCancel(t.Context())
	c.monitor = &drivers.CommandMonitor{Succeeded: func(_ context.Context, e *drivers.CommandSucceededEvent) {
		if e.CommandName == "update" {
			cancel()
		}
	}}
	m := openTest(t, c)
	before := storetest.FullRecord("demo", "k")
	storetest.CommitAll(t, m.Ledger, storetest.Records(before))
	after := before
	after.Version, after.Conflicts = 1, 99
	p := storetest.FullShipment("demo", "i")
	if _, err := m.Ledger.Commit(ctx, []event.Change{{Shipment: &p, Records: []event.Record{after}}}); event.CodeOf(err) != event.Interrupted {
		t.Fatal(err)
	}
	// Reserved, so at a higher version; but an event that had ended has still ended.
	before.Version = 2
	got, _ := storetest.GetRecord(t, m.Ledger, before.Identity)
	storetest.Same(t, got, before)
}

// TestLost has an update find one row less than it was sent for: the one
// that does not carry the commit's mark is the lost one.
func TestLost(t *testing.T) {
	t.Parallel()
	s := &scriptedMongo{}
	s.answer = func(name string, c bson.M) bson.M {
		switch {
		case name == "update" && c["update"] == "active_shipments":
			return bson.M{"ok": 1, "n": 1, "nModified": 1}
		case name == "find" && c["find"] == "active_shipments":
			return cursorAnswer(bson.M{"_id": "demo:2"})
		}
		return nil
	}
	m := openTest(t, testConfig(s.start(t)))
	var changes []event.Change
	for _, id := range []string{"1", "2"} {
		p := storetest.FullShipment("demo", id)
		p.Version = 5
		changes = append(changes, event.Change{Shipment: &p, Records: []event.Record{storetest.FullRecord("demo", id)}, DeadLetters: []event.DeadLetter{storetest.FullLetter(id, 1)}})
	}
	storetest.Same(t, storetest.Codes(t, storetest.CommitSome(t, m.Ledger, changes...)), []event.Code{event.VersionConflict, ""})
	// The rest of the commit goes on without it.
	inserts, updates := s.named("insert"), s.named("update")
	if len(inserts) != 2 || len(inserts[1]["documents"].([]bson.M)) != 1 || inserts[1]["documents"].([]bson.M)[0]["_id"] != "2" {
		t.Errorf("inserted %v", inserts)
	}
	if len(updates) != 2 || len(updates[1]["updates"].([]bson.M)) != 1 {
		t.Errorf("updated %v", updates)
	}
	if filter := fmt.Sprint(s.named("find")[0]["filter"]); !strings.Contains(filter, "commit") {
		t.Errorf("looked for %s", filter)
	}
}
