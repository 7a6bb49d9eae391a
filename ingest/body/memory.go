package body

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// memoryBytes bounds the memory for the long bodies of all requests together, unless
	// bodies may be so large that fewer than memoryBodies of them fit.
	memoryBytes  = 64 << 20
	memoryBodies = 16
	// slowBody is how long a body may take before it is evicted for another one of the
	// same holder.
	slowBody = 500 * time.Millisecond
	// evictedShare is which part of a pool may be held, beyond its limit, by evicted bodies
	// whose readers have not ended yet; one body may be, however long it is.
	evictedShare = 8
	// evictedWait is how long a body waits for those to end, and maxWaiting how many bodies
	// do at once.
	evictedWait = 500 * time.Millisecond
	maxWaiting  = 1024
	// maxCompared bounds how many holders are looked at to find the largest, which a
	// map's order chooses, so that many of them don't make each request cost more.
	maxCompared = 256
	// spareHoldings bounds the holdings that a pool keeps for later holders.
	spareHoldings = 64
)

// pool is one half of the body memory.
type pool struct {
	limit int64 // bytes

	mu       sync.Mutex
	used     int64           // bytes, by all but evicted bodies
	evicted  int64           // bytes, of evicted bodies that are still being read
	waiting  []chan struct{} // of bodies that wait for those to end, the first one first
	holdings map[holder]*holding
	spare    []*holding
}

// holder is who memory is counted for: a courier or an address.
type holder struct {
	courier string
	address netip.Prefix
}

// holding is what one holder has of a pool.
type holding struct {
	bytes        int64
	reservations int
	oldest       *reservation // of those that are being read
	newest       *reservation
}

// reservation is the memory that one body has of a pool. The zero value has none. All but
// evicted is the pool's, under its lock.
type reservation struct {
	pool       *pool // nil for none
	holder     holder
	holding    *holding
	bytes      int64
	began      time.Time
	reader     interruptible // nil for one that can't be evicted
	prev, next *reservation  // in the holding, while it is being read
	reading    bool
	evicted    atomic.Bool
}

// interruptible is a connection on which a blocked or later Read can be made to fail.
type interruptible interface{ Interrupt() }

// open reserves n bytes for a body that is about to be read; false when there are none.
func (p *pool) open(r *reservation, owner holder, reader interruptible, n int64, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.pool, r.holder, r.reader, r.began = p, owner, reader, now
	r.holding = p.holdingOf(owner)
	r.holding.reservations++
	r.holding.append(r)
	if !p.reserve(r, n, now) {
		p.drop(r)
		return false
	}
	return true
}

// grow reserves n bytes more for a body; false when there are none, or it was evicted.
func (r *reservation) grow(n int64, now time.Time) bool {
	r.pool.mu.Lock()
	defer r.pool.mu.Unlock()
	return !r.evicted.Load() && r.pool.reserve(r, n, now)
}

// shrink takes back n bytes of what a body has.
func (r *reservation) shrink(n int64) {
	r.pool.mu.Lock()
	defer r.pool.mu.Unlock()
	r.bytes -= n
	if r.evicted.Load() {
		r.pool.evicted -= n
		return
	}
	r.pool.used -= n
	r.holding.bytes -= n
}

// complete says that all of the body is there, so that it can no longer be evicted; false
// when it already was.
func (r *reservation) complete() bool {
	if r.pool == nil {
		return true
	}
	r.pool.mu.Lock()
	defer r.pool.mu.Unlock()
	if r.evicted.Load() {
		return false
	}
	r.holding.remove(r)
	return true
}

// close takes back all that a body has. A reservation that has nothing may be closed.
func (r *reservation) close() {
	if r.pool == nil {
		return
	}
	p := r.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(r)
}

func (p *pool) usage() Usage {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Usage{Bytes: p.used, Evicted: p.evicted, Holders: len(p.holdings)}
}

// What follows is called with the pool's lock held.

// reserve counts n bytes more for a body, and evicts others for them. While too many of
// those have not ended, it waits, without the lock.
func (p *pool) reserve(r *reservation, n int64, now time.Time) (ok bool) {
	var until time.Time
	for p.used+n > p.limit {
		victim := p.victim(r, n, now)
		if victim == nil {
			return false
		}
		if p.evicted == 0 || p.evicted+victim.bytes <= p.limit/evictedShare {
			p.evict(victim)
			continue
		}
		if until.IsZero() {
			until = time.Now().Add(evictedWait)
			defer p.wakeOne() // the next one may find memory too
		}
		if !p.awaitEvicted(until) || r.evicted.Load() {
			return false
		}
	}
	p.used += n
	r.bytes += n
	r.holding.bytes += n
	return true
}

// victim returns a body that is to be evicted for r, which needs n bytes: one of the
// largest holder, if that has more than the holder of r would have, else one of the same
// holder that is slow or has at least twice as much as r would have. It returns nil when
// there is none.
func (p *pool) victim(r *reservation, n int64, now time.Time) (victim *reservation) {
	most, compared := r.holding.bytes+n, 0
	for _, h := range p.holdings {
		if h.bytes > most {
			if v := h.first(r); v != nil {
				victim, most = v, h.bytes
			}
		}
		if compared++; compared == maxCompared {
			break
		}
	}
	if victim == nil {
		victim = r.holding.firstBelow(r, n, now)
	}
	return victim
}

// evict takes a body out. Its memory can be reserved for others at once, but is not free
// before its reader has ended.
func (p *pool) evict(v *reservation) {
	p.used -= v.bytes
	p.evicted += v.bytes
	v.holding.bytes -= v.bytes
	v.holding.remove(v)
	v.evicted.Store(true)
	v.reader.Interrupt()
}

// awaitEvicted waits until one of the evicted bodies has ended and no other body waits
// before this one; false when that does not happen in time.
func (p *pool) awaitEvicted(until time.Time) (ended bool) {
	if len(p.waiting) >= maxWaiting {
		return false
	}
	wake, limit := make(chan struct{}), time.NewTimer(time.Until(until))
	defer limit.Stop()
	p.waiting = append(p.waiting, wake)
	p.mu.Unlock()
	select {
	case <-wake:
		ended = true
	case <-limit.C:
	}
	p.mu.Lock()
	if !ended {
		p.waiting = slices.DeleteFunc(p.waiting, func(c chan struct{}) bool { return c == wake })
	}
	return ended
}

// wakeOne wakes the first body that waits.
func (p *pool) wakeOne() {
	if len(p.waiting) > 0 {
		close(p.waiting[0])
		p.waiting = slices.Delete(p.waiting, 0, 1)
	}
}

// drop ends a reservation.
func (p *pool) drop(r *reservation) {
	h := r.holding
	if r.evicted.Load() {
		p.evicted -= r.bytes
		p.wakeOne()
	} else {
		p.used -= r.bytes
		h.bytes -= r.bytes
	}
	h.remove(r)
	if h.reservations--; h.reservations == 0 {
		delete(p.holdings, r.holder)
		if len(p.spare) < spareHoldings {
			p.spare = append(p.spare, h)
		}
	}
	r.pool, r.holding, r.reader, r.bytes = nil, nil, nil, 0
}

func (p *pool) holdingOf(owner holder) *holding {
	h := p.holdings[owner]
	if h != nil {
		return h
	}
	if p.holdings == nil {
		p.holdings = make(map[holder]*holding)
	}
	if last := len(p.spare) - 1; last >= 0 {
		h, p.spare = p.spare[last], p.spare[:last]
	} else {
		h = new(holding)
	}
	p.holdings[owner] = h
	return h
}

// first returns the oldest body that is being read and can be evicted, but not except.
func (h *holding) first(except *reservation) *reservation {
	for r := h.oldest; r != nil; r = r.next {
		if r != except && r.reader != nil {
			return r
		}
	}
	return nil
}

// firstBelow returns the oldest other body of the same holding that can be evicted for r.
func (h *holding) firstBelow(r *reservation, n int64, now time.Time) *reservation {
	for v := h.oldest; v != nil; v = v.next {
		if v != r && v.reader != nil && (now.Sub(v.began) >= slowBody || v.bytes >= 2*(r.bytes+n)) {
			return v
		}
	}
	return nil
}

// append adds a body that is being read.
func (h *holding) append(r *reservation) {
	r.reading, r.prev, r.next = true, h.newest, nil
	if h.newest == nil {
		h.oldest = r
	} else {
		h.newest.next = r
	}
	h.newest = r
}

// remove takes out a body that is no longer being read.
func (h *holding) remove(r *reservation) {
	if !r.reading {
		return
	}
	if r.prev == nil {
		h.oldest = r.next
	} else {
		r.prev.next = r.next
	}
	if r.next == nil {
		h.newest = r.prev
	} else {
		r.next.prev = r.prev
	}
	r.reading, r.prev, r.next = false, nil, nil
}
