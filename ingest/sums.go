package ingest

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

// newRecordID names a record. Later records have greater names; the random part
// distinguishes those of one millisecond.
func newRecordID(at time.Time) string {
	return fmt.Sprintf("%012x-%016x", max(at.UnixMilli(), 0), rand.Uint64())
}

// sumKey is what requests have in common that are summed up in one record. All of
// its texts are from closed lists, the courier's name from that of the couriers.
type sumKey struct {
	courier string // "" for none of ours
	outcome ingestion.Outcome
	code    event.Code
	reason  string
}

// sum counts requests since they were last written down. A nil sum counts nothing.
type sum struct {
	count, bytes atomic.Int64
	first, last  atomic.Int64 // when, in Unix nanoseconds; of two at once either
}

// add counts one request. It is on the way of every event: it waits for nobody.
func (s *sum) add(at time.Time, bytes int) {
	if s == nil {
		return
	}
	nanos := at.UnixNano()
	if s.first.Load() == 0 {
		s.first.CompareAndSwap(0, nanos)
	}
	s.last.Store(nanos)
	s.bytes.Add(int64(bytes))
	s.count.Add(1)
}

// take returns what was counted and starts again. A request that is being counted
// meanwhile may have its bytes in the one and its count in the other record.
func (s *sum) take(key sumKey) (r ingestion.Record, ok bool) {
	n := s.count.Swap(0)
	if n == 0 {
		return r, false
	}
	bytes, first, last := s.bytes.Swap(0), s.first.Swap(0), s.last.Load()
	if first == 0 || first > last {
		first = last
	}
	at := time.Unix(0, first).UTC()
	return ingestion.Record{
		ID: newRecordID(at), Courier: key.courier, Outcome: key.outcome, Code: key.code, Reason: key.reason,
		Count: n, Bytes: bytes, At: at, Until: time.Unix(0, last).UTC(),
	}, true
}

// sums are all there are: bounded, because their keys are.
type sums struct {
	mu  sync.Mutex
	all map[sumKey]*sum
}

// of returns the sum of a key, which stays the same for good.
func (s *sums) of(key sumKey) *sum {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.all[key]
	if one == nil {
		if s.all == nil {
			s.all = make(map[sumKey]*sum)
		}
		one = new(sum)
		s.all[key] = one
	}
	return one
}

// take returns a record of each sum that has counted something, the earliest first.
func (s *sums) take() (records []ingestion.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, one := range s.all {
		if r, ok := one.take(key); ok {
			records = append(records, r)
		}
	}
	slices.SortFunc(records, func(a, b ingestion.Record) int { return cmp.Compare(a.ID, b.ID) })
	return records
}
