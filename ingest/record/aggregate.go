package record

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
)

// NewID returns an id for a record. Later records have greater ids; the random part
// distinguishes those of one millisecond.
func NewID(at time.Time) string {
	return fmt.Sprintf("%012x-%016x", max(at.UnixMilli(), 0), rand.Uint64())
}

// Key is what requests have in common that are counted in one aggregate. All of
// its texts are from closed lists, the courier's name from that of the couriers.
type Key struct {
	Courier string // "" for none of ours
	Outcome ingestion.Outcome
	Code    event.Code
	Reason  string
}

// Aggregate counts requests since they were last written. A nil Aggregate counts nothing.
type Aggregate struct {
	count, bytes atomic.Int64
	first, last  atomic.Int64 // when, in Unix nanoseconds; of two at once either
}

// Add counts one request. It is on the way of every event, so it takes no lock.
func (a *Aggregate) Add(at time.Time, bytes int) {
	if a == nil {
		return
	}
	nanos := at.UnixNano()
	if a.first.Load() == 0 {
		a.first.CompareAndSwap(0, nanos)
	}
	a.last.Store(nanos)
	a.bytes.Add(int64(bytes))
	a.count.Add(1)
}

// take returns what was counted and starts again. A request that is being counted
// meanwhile may have its bytes in the one and its count in the other record.
func (a *Aggregate) take(key Key) (r ingestion.Record, ok bool) {
	n := a.count.Swap(0)
	if n == 0 {
		return r, false
	}
	bytes, first, last := a.bytes.Swap(0), a.first.Swap(0), a.last.Load()
	if first == 0 || first > last {
		first = last
	}
	at := time.Unix(0, first).UTC()
	return ingestion.Record{
		ID: NewID(at), Courier: key.Courier, Outcome: key.Outcome, Code: key.Code, Reason: key.Reason,
		Count: n, Bytes: bytes, At: at, Until: time.Unix(0, last).UTC(),
	}, true
}

// aggregates are all there are: bounded, because their keys are.
type aggregates struct {
	mu  sync.Mutex
	all map[Key]*Aggregate
}

// of returns the aggregate of a key, which stays the same forever.
func (a *aggregates) of(key Key) *Aggregate {
	a.mu.Lock()
	defer a.mu.Unlock()
	one := a.all[key]
	if one == nil {
		if a.all == nil {
			a.all = make(map[Key]*Aggregate)
		}
		one = new(Aggregate)
		a.all[key] = one
	}
	return one
}

// take returns a record of each aggregate that has counted something, the earliest first.
func (a *aggregates) take() (records []ingestion.Record) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for key, one := range a.all {
		if r, ok := one.take(key); ok {
			records = append(records, r)
		}
	}
	slices.SortFunc(records, func(x, y ingestion.Record) int { return cmp.Compare(x.ID, y.ID) })
	return records
}
