package limits

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// knownFor is how long an address counts as known after a verified request.
	knownFor = 24 * time.Hour
	// knownRefresh is how old the time of an address may be before it is set again, so
	// that a courier's requests rarely write to it.
	knownRefresh = time.Minute
	// maxKnown bounds the addresses that are known of one courier.
	maxKnown = 1024
	// evictionSample is how many entries of a full map are looked at to find one that is
	// taken out.
	evictionSample = 8
)

// addressBook holds the addresses from which requests of one courier were verified of
// late. Only the holder of the courier's secret can put one in, so strangers can't fill
// the book.
type addressBook struct {
	mu   sync.RWMutex
	seen map[netip.Prefix]*atomic.Int64 // Unix nanoseconds
}

// add makes an address known.
func (b *addressBook) add(from netip.Prefix, now time.Time) {
	nanos := now.UnixNano()
	b.mu.RLock()
	at := b.seen[from]
	b.mu.RUnlock()
	if at != nil {
		if nanos-at.Load() > int64(knownRefresh) {
			at.Store(nanos)
		}
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.seen == nil {
		b.seen = make(map[netip.Prefix]*atomic.Int64)
	}
	if len(b.seen) >= maxKnown {
		deleteLeast(b.seen, (*atomic.Int64).Load) // the oldest
	}
	at = new(atomic.Int64)
	at.Store(nanos)
	b.seen[from] = at
}

// has reports whether an address is known.
func (b *addressBook) has(from netip.Prefix, now time.Time) bool {
	b.mu.RLock()
	at := b.seen[from]
	b.mu.RUnlock()
	return at != nil && now.UnixNano()-at.Load() < int64(knownFor)
}

// deleteLeast takes out the one of a few, which a map's order chooses, whose value is least.
func deleteLeast[V any](m map[netip.Prefix]V, value func(V) int64) {
	var first netip.Prefix
	least, looked := int64(0), 0
	for address, v := range m {
		if n := value(v); looked == 0 || n < least {
			first, least = address, n
		}
		if looked++; looked == evictionSample {
			break
		}
	}
	delete(m, first)
}
