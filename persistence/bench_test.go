package persistence

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// How many events a second each store takes, of a worker that looks 256 of them up
// and commits them, time after time (MongoDB only where MONGO_URI names one):
//
//	go test -run '^$' -bench Batch ./persistence

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

// BenchmarkSQLiteGivesWay measures how long a batch of 256 keeps the only processor
// from whoever else could run, at its longest.
func BenchmarkSQLiteGivesWay(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	s, work := openTestSQLite(b, testSQLite(b)), &batcher{}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var longest atomic.Int64
	var waiting sync.WaitGroup
	waiting.Go(func() {
		for before := time.Now(); ctx.Err() == nil; {
			runtime.Gosched()
			now := time.Now()
			if took := now.Sub(before).Nanoseconds(); took > longest.Load() {
				longest.Store(took)
			}
			before = now
		}
	})
	var sum int64
	for b.Loop() {
		longest.Store(0)
		work.batch(b, s, 256)
		sum += longest.Load()
	}
	cancel()
	waiting.Wait()
	b.ReportMetric(float64(sum)/float64(b.N)/1e6, "ms-longest-wait")
}

// BenchmarkMongoBatchOnFerretDB measures batches of 256 new events where there is
// no MongoDB. What it says is how fast FerretDB is: each of its updates reads the
// whole collection, so every batch has a database of its own.
func BenchmarkMongoBatchOnFerretDB(b *testing.B) {
	uri := ferret().uri
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		m := openTestMongo(b, testMongo(uri))
		if err := m.Ping(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		new(batcher).batch(b, inPieces{m}, 256)
	}
	b.ReportMetric(256*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// inPieces is a store whose commits FerretDB can take.
type inPieces struct{ Store }

func (s inPieces) Commit(ctx context.Context, changes []event.Change) (outcomes []error, err error) {
	for piece := range slices.Chunk(changes, 64) {
		some, err := s.Store.Commit(ctx, piece)
		if err != nil {
			return nil, err
		}
		outcomes = append(outcomes, some...)
	}
	return outcomes, nil
}

// intake makes records of requests of about a kilobyte, as the intake puts them.
type intake struct{ n int }

func (k *intake) next(size int) []event.IngestionRecord {
	body := []byte(strings.Repeat("0123456789abcdef", 64))
	batch := make([]event.IngestionRecord, size)
	for i := range batch {
		at := noon.Add(time.Duration(k.n) * time.Millisecond)
		batch[i] = event.IngestionRecord{
			ID: recordID(at, uint64(k.n)), Courier: "courier-x", Outcome: event.IntakeRefused, Count: 1, Bytes: int64(len(body)), At: at, Until: at,
			Code: event.InvalidSignature, Reason: "mismatch", Detail: "the signature does not match the body", Status: 401,
			Address: "203.0.113.7", TraceID: "req_0123456789abcdef",
			Request: &event.CapturedRequest{
				Method: "POST", Path: "/v1/events/courier/courier-x", Body: body, BodyBytes: len(body),
				Headers: []event.CapturedHeader{
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

// benchmarkPutIngestions measures batches of 256 records of one courier, in a
// store that keeps all and in one that is full and keeps 10,000.
func benchmarkPutIngestions(b *testing.B, open func(t testing.TB, keep Retention) Store) {
	for _, bench := range []struct {
		name    string
		already int
		keep    Retention
	}{
		{"growing", 0, Retention{}}, {"full", 10_000, Retention{IngestionsPerCourier: 10_000}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			s, k := open(b, bench.keep), &intake{}
			put := func(size int) {
				if err := s.PutIngestions(b.Context(), k.next(size)); err != nil {
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

func BenchmarkSQLitePutIngestions(b *testing.B) {
	benchmarkPutIngestions(b, func(t testing.TB, keep Retention) Store {
		c := testSQLite(t)
		c.CacheBytes, c.Retention = 16<<20, keep
		return openTestSQLite(t, c)
	})
}

func BenchmarkMongoPutIngestions(b *testing.B) {
	benchmarkPutIngestions(b, func(t testing.TB, keep Retention) Store {
		c := realMongo(t)
		c.OperationTimeout, c.Retention = time.Minute, keep
		return openTestMongo(t, c)
	})
}
