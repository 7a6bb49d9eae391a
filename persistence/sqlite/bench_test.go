package sqlite

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/persistence"
	"github.com/fincart/courier-gateway/persistence/storetest"
)

func BenchmarkBatch(b *testing.B) {
	storetest.BenchmarkStore(b, func(t testing.TB) persistence.Store {
		c := testConfig(t)
		c.CacheBytes = 16 << 20
		return openTest(t, c).Parts()
	}, 300_000)
}

// BenchmarkGivesWay measures how long a batch of 256 keeps the only processor
// from other goroutines, at its longest.
func BenchmarkGivesWay(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	s, work := openTest(b, testConfig(b)), &storetest.Batcher{}
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
		work.Batch(b, s.Ledger, 256)
		sum += longest.Load()
	}
	cancel()
	waiting.Wait()
	b.ReportMetric(float64(sum)/float64(b.N)/1e6, "ms-longest-wait")
}

func BenchmarkPutIngestions(b *testing.B) {
	storetest.BenchmarkPutIngestions(b, func(t testing.TB, keep persistence.Retention) persistence.Store {
		c := testConfig(t)
		c.CacheBytes, c.Retention = 16<<20, keep
		return openTest(t, c).Parts()
	})
}
