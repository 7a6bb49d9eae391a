package mongo

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/persistence"
	"github.com/fincart/courier-gateway/persistence/storetest"
)

// BenchmarkBatchOnFerretDB measures batches of 256 new events where there is
// no MongoDB. What it says is how fast FerretDB is: each of its updates reads the
// whole collection, so every batch has a database of its own.
func BenchmarkBatchOnFerretDB(b *testing.B) {
	uri := ferret().uri
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		m := openTest(b, testConfig(uri))
		if err := m.Ping(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		new(storetest.Batcher).Batch(b, inPieces{m.Ledger}, 256)
	}
	b.ReportMetric(256*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// inPieces is a ledger whose commits FerretDB can take.
type inPieces struct{ persistence.Ledger }

func (s inPieces) Commit(ctx context.Context, changes []event.Change) (outcomes []error, err error) {
	for piece := range slices.Chunk(changes, 64) {
		some, err := s.Ledger.Commit(ctx, piece)
		if err != nil {
			return nil, err
		}
		outcomes = append(outcomes, some...)
	}
	return outcomes, nil
}

func BenchmarkPutIngestions(b *testing.B) {
	storetest.BenchmarkPutIngestions(b, func(t testing.TB, keep persistence.Retention) persistence.Store {
		c := realMongo(t)
		c.OperationTimeout, c.Retention = time.Minute, keep
		return openTest(t, c).Parts()
	})
}

func BenchmarkBatch(b *testing.B) {
	storetest.BenchmarkStore(b, func(t testing.TB) persistence.Store {
		c := realMongo(t)
		c.OperationTimeout = time.Minute
		return openTest(t, c).Parts()
	}, 300_000)
}
