package process

import (
	"strconv"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// BenchmarkHandle is what a batch of 256 costs beside its store, which is a map here:
// stamps and bodies, verdicts, shipments and ledger rows. New events are four to a
// shipment; known ones are in the ledger and in no cache; cached ones are acknowledged
// by the cache.
//
//	go test -run '^$' -bench Handle -benchmem ./process
func BenchmarkHandle(b *testing.B) {
	const size = 256
	for _, bench := range []struct {
		name          string
		known, cached bool
	}{{"new", false, false}, {"known", true, false}, {"cached", true, true}} {
		b.Run(bench.name, func(b *testing.B) {
			d := newFixture(b)
			n := 0
			next := func() (batch []event.Delivery) {
				for range size {
					batch = append(batch, d.arrives("k"+strconv.Itoa(n), "s"+strconv.Itoa(n/4), "in_transit", noon.Add(time.Duration(n))))
					n++
				}
				return batch
			}
			batch := next()
			if bench.known {
				d.handle(b, batch...)
			}
			b.ReportAllocs()
			for b.Loop() {
				if !bench.known {
					b.StopTimer()
					d.store, d.cache = newFakeStore(), &fakeCache{hashes: map[event.Identity]string{}}
					d.Store, d.Cache = d.store, d.cache
					batch = next()
					b.StartTimer()
				} else if !bench.cached {
					clear(d.cache.hashes)
				}
				for i, v := range d.handle(b, batch...) {
					if v.Action != event.Ack {
						b.Fatalf("event %d is settled with %+v", i, v)
					}
				}
			}
			b.ReportMetric(size*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
