package jetstream

import (
	"bytes"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/fincart/courier-gateway/ingest/event"
)

// benchConfig is a broker large enough for a benchmark.
func benchConfig(b *testing.B) Config {
	cfg := testConfig(b)
	cfg.MaxBytes, cfg.HistoryHighBytes, cfg.HistoryLowBytes = 8<<30, 4<<30, 3<<30
	return cfg
}

// publishFrom publishes n events of 330 bytes from a number of callers.
func publishFrom(b *testing.B, broker *Broker, callers, n int) {
	body := bytes.Repeat([]byte("x"), 330)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			e := envelope("x")
			e.Body = body
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				e.Key = strconv.FormatInt(i, 10)
				if _, err := broker.Publish(b.Context(), e); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkPublish(b *testing.B) {
	for _, sync := range []string{SyncGroup, SyncAlways, SyncInterval} {
		for _, callers := range []int{1, 10, 100, 1000} {
			b.Run(sync+"/callers="+strconv.Itoa(callers), func(b *testing.B) {
				cfg := benchConfig(b)
				cfg.Sync = sync
				broker := open(b, cfg)
				b.ReportAllocs()
				b.ResetTimer()
				publishFrom(b, broker, callers, b.N)
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			})
		}
	}
}

// BenchmarkDrain pulls and acknowledges a backlog, a batch of 256 at a time.
func BenchmarkDrain(b *testing.B) {
	cfg := benchConfig(b)
	cfg.Sync = SyncInterval
	broker := open(b, cfg)
	publishFrom(b, broker, 100, b.N)
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; {
		ds, err := broker.Pull(b.Context(), 256)
		if err != nil {
			b.Fatal(err)
		}
		for _, d := range ds {
			if err := broker.Settle(d, event.Verdict{Action: event.Ack}); err != nil {
				b.Fatal(err)
			}
		}
		done += len(ds)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
