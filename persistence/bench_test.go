package persistence

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// batcher makes batches of new events as a worker writes them.
type batcher struct {
	n         int
	shipments int // how many there are; 0 for a new one with each event
}

// next returns what a worker looks up for a batch, and the change for each event
// over the shipments that it finds.
func (b *batcher) next(size int) ([]event.Identity, []event.ShipmentRef, func([]event.Shipment) []event.Change) {
	ids, refs := make([]event.Identity, size), make([]event.ShipmentRef, size)
	first := b.n
	for i := range size {
		b.n++
		// Ids in no order, as most couriers' are.
		ids[i] = event.Identity{Courier: "courier-x", Key: fmt.Sprintf("courier-x:evt_%016x", uint64(b.n)*0x9E3779B97F4A7C15)}
		shipment := b.n
		if b.shipments > 0 {
			shipment %= b.shipments
		}
		refs[i] = event.ShipmentRef{Courier: "courier-x", ID: fmt.Sprintf("shp_%016x", uint64(shipment)*0xBF58476D1CE4E5B9)}
	}
	return ids, refs, func(found []event.Shipment) []event.Change {
		byRef := make(map[event.ShipmentRef]*event.Shipment, len(found))
		for i := range found {
			byRef[found[i].ShipmentRef] = &found[i]
		}
		changes := make([]event.Change, size)
		for i := range changes {
			p := byRef[refs[i]]
			if p == nil {
				p = &event.Shipment{ShipmentRef: refs[i], OrderID: "ord_789", Leg: 1, CreatedAt: noon}
			}
			changes[i] = b.change(ids[i], p, uint64(first+i))
		}
		return changes
	}
}

func (b *batcher) change(id event.Identity, p *event.Shipment, seq uint64) event.Change {
	at := noon.Add(time.Duration(seq) * time.Millisecond)
	p.State, p.RawStatus, p.EventTime, p.LastEvent, p.UpdatedAt = event.StateOutForDelivery, "out_for_delivery", at, id.Key, at
	p.History = append(p.History, event.Checkpoint{At: at, State: p.State, Status: p.RawStatus, Key: id.Key, EventID: "evt_123456", Type: "shipment.status.updated"})
	return event.Change{Shipment: p, Records: []event.Record{{
		Identity: id, Status: event.Processed, EventID: "evt_123456", EventType: "shipment.status.updated", OccurredAt: at,
		ShipmentID: p.ID, TraceID: "req_0123456789abcdef", ReceivedAt: at, Sequence: seq, BodyHash: strings.Repeat("0f", 32),
		Attempts:  []event.Attempt{{Number: 1, StartedAt: at, EndedAt: at, Outcome: event.Succeeded}},
		UpdatedAt: at, EndedAt: at,
	}}}
}

// batch looks up and commits the next events, as a worker does.
func (b *batcher) batch(t testing.TB, s Store, size int) {
	ids, refs, decide := b.next(size)
	if found := must(s.Records(t.Context(), ids)); len(found) != 0 {
		t.Fatalf("%d new events are known", len(found))
	}
	for _, err := range must(s.Commit(t.Context(), decide(must(s.Shipments(t.Context(), refs))))) {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// benchmarkStore measures batches of 256 events, each of a shipment of its own:
// of new shipments in an empty store, of known ones with a history of 8 and more
// checkpoints, and of new ones behind as many others as already says.
func benchmarkStore(b *testing.B, open func(testing.TB) Store, already int) {
	for _, bench := range []struct {
		name               string
		already, shipments int
	}{
		{"new", 0, 0}, {"known", 8 * 4096, 4096}, {"crowded", already, 0},
	} {
		b.Run(bench.name, func(b *testing.B) {
			s, work := open(b), &batcher{shipments: bench.shipments}
			for work.n < bench.already {
				work.batch(b, s, 1024)
			}
			b.ReportAllocs()
			for b.Loop() {
				work.batch(b, s, 256)
			}
			b.ReportMetric(256*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

func BenchmarkSQLiteBatch(b *testing.B) {
	benchmarkStore(b, func(t testing.TB) Store {
		c := testSQLite(t)
		c.CacheBytes = 16 << 20
		return openTestSQLite(t, c)
	}, 300_000)
}
