package storetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/persistence"
)

// Batcher makes batches of new events as a worker writes them.
type Batcher struct {
	n         int
	shipments int // how many there are; 0 for a new one with each event
}

// next returns what a worker looks up for a batch, and the change for each event
// over the shipments that it finds.
func (b *Batcher) next(size int) ([]event.Identity, []shipment.Ref, func([]shipment.Shipment) []event.Change) {
	ids, refs := make([]event.Identity, size), make([]shipment.Ref, size)
	first := b.n
	for i := range size {
		b.n++
		// Ids in no order, as most couriers' are.
		ids[i] = event.Identity{Courier: "courier-x", Key: fmt.Sprintf("courier-x:evt_%016x", uint64(b.n)*0x9E3779B97F4A7C15)}
		number := b.n
		if b.shipments > 0 {
			number %= b.shipments
		}
		refs[i] = shipment.Ref{Courier: "courier-x", ID: fmt.Sprintf("shp_%016x", uint64(number)*0xBF58476D1CE4E5B9)}
	}
	return ids, refs, func(found []shipment.Shipment) []event.Change {
		byRef := make(map[shipment.Ref]*shipment.Shipment, len(found))
		for i := range found {
			byRef[found[i].Ref] = &found[i]
		}
		changes := make([]event.Change, size)
		for i := range changes {
			p := byRef[refs[i]]
			if p == nil {
				p = &shipment.Shipment{Ref: refs[i], OrderID: "ord_789", Leg: 1, CreatedAt: Noon}
			}
			changes[i] = b.change(ids[i], p, uint64(first+i))
		}
		return changes
	}
}

func (b *Batcher) change(id event.Identity, p *shipment.Shipment, seq uint64) event.Change {
	at := Noon.Add(time.Duration(seq) * time.Millisecond)
	p.State, p.RawStatus, p.EventTime, p.LastEvent, p.UpdatedAt = shipment.OutForDelivery, "out_for_delivery", at, id.Key, at
	p.History = append(p.History, shipment.Checkpoint{At: at, State: p.State, Status: p.RawStatus, Key: id.Key, EventID: "evt_123456", Type: "shipment.status.updated"})
	return event.Change{Shipment: p, Records: []event.Record{{
		Identity: id, Status: event.Processed, EventID: "evt_123456", EventType: "shipment.status.updated", OccurredAt: at,
		ShipmentID: p.ID, TraceID: "req_0123456789abcdef", ReceivedAt: at, Sequence: seq, BodyHash: strings.Repeat("0f", 32),
		Attempts:  []event.Attempt{{Number: 1, StartedAt: at, EndedAt: at, Outcome: event.Succeeded}},
		UpdatedAt: at, EndedAt: at,
	}}}
}

// Batch looks up and commits the next events, as a worker does.
func (b *Batcher) Batch(t testing.TB, s persistence.Ledger, size int) {
	ids, refs, decide := b.next(size)
	if found := Must(s.Records(t.Context(), ids)); len(found) != 0 {
		t.Fatalf("%d new events are known", len(found))
	}
	for _, err := range Must(s.Commit(t.Context(), decide(Must(s.Shipments(t.Context(), refs))))) {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkStore measures batches of 256 events, each of a shipment of its own:
// of new shipments in an empty store, of known ones with a history of 8 and more
// checkpoints, and of new ones behind as many others as already says.
func BenchmarkStore(b *testing.B, open func(testing.TB) persistence.Store, already int) {
	for _, bench := range []struct {
		name               string
		already, shipments int
	}{
		{"new", 0, 0}, {"known", 8 * 4096, 4096}, {"large", already, 0},
	} {
		b.Run(bench.name, func(b *testing.B) {
			s, work := open(b), &Batcher{shipments: bench.shipments}
			for work.n < bench.already {
				work.Batch(b, s.Ledger, 1024)
			}
			b.ReportAllocs()
			for b.Loop() {
				work.Batch(b, s.Ledger, 256)
			}
			b.ReportMetric(256*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// intake makes records of requests of about a kilobyte, as the intake puts them.
type intake struct{ n int }

func (k *intake) next(size int) []ingestion.Record {
	body := []byte(strings.Repeat("0123456789abcdef", 64))
	batch := make([]ingestion.Record, size)
	for i := range batch {
		at := Noon.Add(time.Duration(k.n) * time.Millisecond)
		batch[i] = ingestion.Record{
			ID: recordID(at, uint64(k.n)), Courier: "courier-x", Outcome: ingestion.Refused, Count: 1, Bytes: int64(len(body)), At: at, Until: at,
			Code: event.InvalidSignature, Reason: "mismatch", Detail: "the signature does not match the body", Status: 401,
			Address: "203.0.113.7", TraceID: "req_0123456789abcdef",
			Request: &ingestion.Request{
				Method: "POST", Path: "/v1/events/courier/courier-x", Body: body, BodyBytes: len(body),
				Headers: []ingestion.Header{
					{Name: "Host", Value: "gateway.example.com"}, {Name: "User-Agent", Value: "courier-x/1.0"},
					{Name: "Content-Type", Value: "application/json"}, {Name: "Content-Length", Value: "1024"},
					{Name: "X-Signature", Value: strings.Repeat("0f", 32)}, {Name: "X-Signature-Timestamp", Value: "1772107200"},
				},
			},
		}
		k.n++
	}
	return batch
}

// BenchmarkPutIngestions measures batches of 256 records of one courier, in a
// store that keeps all and in one that is full and keeps 10,000.
func BenchmarkPutIngestions(b *testing.B, open func(t testing.TB, keep persistence.Retention) persistence.Store) {
	for _, bench := range []struct {
		name    string
		already int
		keep    persistence.Retention
	}{
		{"growing", 0, persistence.Retention{}}, {"full", 10_000, persistence.Retention{IngestionsPerCourier: 10_000}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			s, k := open(b, bench.keep), &intake{}
			put := func(size int) {
				if err := s.Ingestions.PutIngestions(b.Context(), k.next(size)); err != nil {
					b.Fatal(err)
				}
			}
			put(bench.already)
			b.ReportAllocs()
			for b.Loop() {
				put(256)
			}
			b.ReportMetric(256*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
