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
	// slowBody is how long a body may take before it gives way to another one of the
	// same holder.
	slowBody = 500 * time.Millisecond
	// leavingShare is which part of a pool may be held, beyond its limit, by bodies that
	// gave way and whose readers have not ended yet; one body may be, however long it is.
	leavingShare = 8
	// leaveWait is how long a body waits for those to end, and maxWaiting how many bodies
	// do at once.
	leaveWait  = 500 * time.Millisecond
	maxWaiting = 1024
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
	used     int64           // bytes, by all but those that gave way
	leaving  int64           // bytes, by those that gave way
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
	bytes  int64
	loans  int
	oldest *loan // of those that are being read
	newest *loan
}

// loan is the memory that one body has of a pool. The zero value has none. All but
// gaveWay is the pool's, under its lock.
type loan struct {
	pool       *pool // nil for none
	holder     holder
	holding    *holding
	bytes      int64
	began      time.Time
	reader     interruptible // nil for one that can't be made to give way
	prev, next *loan         // in the holding, while it is being read
	reading    bool
	gaveWay    atomic.Bool
}

// interruptible is a connection on which a blocked or later Read can be made to fail.
type interruptible interface{ Interrupt() }

// open lends n bytes to a body that is about to be read; false when there are none.
func (p *pool) open(l *loan, by holder, reader interruptible, n int64, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.pool, l.holder, l.reader, l.began = p, by, reader, now
	l.holding = p.holdingOf(by)
	l.holding.loans++
	l.holding.append(l)
	if !p.lend(l, n, now) {
		p.drop(l)
		return false
	}
	return true
}

// grow lends a body n bytes more; false when there are none, or it gave way.
func (l *loan) grow(n int64, now time.Time) bool {
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	return !l.gaveWay.Load() && l.pool.lend(l, n, now)
}

// shrink takes back n bytes of what a body has.
func (l *loan) shrink(n int64) {
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	l.bytes -= n
	if l.gaveWay.Load() {
		l.pool.leaving -= n
		return
	}
	l.pool.used -= n
	l.holding.bytes -= n
}

// complete says that all of the body is there, so that it no longer gives way; false
// when it already did.
func (l *loan) complete() bool {
	if l.pool == nil {
		return true
	}
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	if l.gaveWay.Load() {
		return false
	}
	l.holding.remove(l)
	return true
}

// close takes back all that a body has. A loan that has nothing may be closed.
func (l *loan) close() {
	if l.pool == nil {
		return
	}
	p := l.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(l)
}

func (p *pool) usage() Usage {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Usage{Bytes: p.used, Leaving: p.leaving, Holders: len(p.holdings)}
}

// What follows is called with the pool's lock held.

// lend counts n bytes more for a body, and makes others give way for them. While too
// many of those have not ended, it waits, without the lock.
func (p *pool) lend(l *loan, n int64, now time.Time) (lent bool) {
	var until time.Time
	for p.used+n > p.limit {
		victim := p.victim(l, n, now)
		if victim == nil {
			return false
		}
		if p.leaving == 0 || p.leaving+victim.bytes <= p.limit/leavingShare {
			p.evict(victim)
			continue
		}
		if until.IsZero() {
			until = time.Now().Add(leaveWait)
			defer p.wakeOne() // what is left of the turn is the next one's
		}
		if !p.awaitLeaving(until) || l.gaveWay.Load() {
			return false
		}
	}
	p.used += n
	l.bytes += n
	l.holding.bytes += n
	return true
}

// victim returns a body that has to give way to l, which needs n bytes: one of the
// largest holder, if that has more than the holder of l would have, else one of the same
// holder that is slow or has at least twice as much as l would have. It returns nil when
// there is none.
func (p *pool) victim(l *loan, n int64, now time.Time) (victim *loan) {
	most, compared := l.holding.bytes+n, 0
	for _, h := range p.holdings {
		if h.bytes > most {
			if v := h.first(l); v != nil {
				victim, most = v, h.bytes
			}
		}
		if compared++; compared == maxCompared {
			break
		}
	}
	if victim == nil {
		victim = l.holding.firstBelow(l, n, now)
	}
	return victim
}

// evict makes a body give way. Its memory is lent to others at once, but is not free
// before its reader has ended.
func (p *pool) evict(v *loan) {
	p.used -= v.bytes
	p.leaving += v.bytes
	v.holding.bytes -= v.bytes
	v.holding.remove(v)
	v.gaveWay.Store(true)
	v.reader.Interrupt()
}

// awaitLeaving waits for its turn to look again, which comes when one of the bodies that
// gave way has ended; false when it does not come in time.
func (p *pool) awaitLeaving(until time.Time) (ended bool) {
	if len(p.waiting) >= maxWaiting {
		return false
	}
	turn, limit := make(chan struct{}), time.NewTimer(time.Until(until))
	defer limit.Stop()
	p.waiting = append(p.waiting, turn)
	p.mu.Unlock()
	select {
	case <-turn:
		ended = true
	case <-limit.C:
	}
	p.mu.Lock()
	if !ended {
		p.waiting = slices.DeleteFunc(p.waiting, func(c chan struct{}) bool { return c == turn })
	}
	return ended
}

// wakeOne gives the first body that waits its turn.
func (p *pool) wakeOne() {
	if len(p.waiting) > 0 {
		close(p.waiting[0])
		p.waiting = slices.Delete(p.waiting, 0, 1)
	}
}

// drop forgets a loan.
func (p *pool) drop(l *loan) {
	h := l.holding
	if l.gaveWay.Load() {
		p.leaving -= l.bytes
		p.wakeOne()
	} else {
		p.used -= l.bytes
		h.bytes -= l.bytes
	}
	h.remove(l)
	if h.loans--; h.loans == 0 {
		delete(p.holdings, l.holder)
		if len(p.spare) < spareHoldings {
			p.spare = append(p.spare, h)
		}
	}
	l.pool, l.holding, l.reader, l.bytes = nil, nil, nil, 0
}

func (p *pool) holdingOf(by holder) *holding {
	h := p.holdings[by]
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
	p.holdings[by] = h
	return h
}

// first returns the oldest body that is being read and can give way, but not except.
func (h *holding) first(except *loan) *loan {
	for l := h.oldest; l != nil; l = l.next {
		if l != except && l.reader != nil {
			return l
		}
	}
	return nil
}

// firstBelow returns the oldest other body that gives way to l in the same holding.
func (h *holding) firstBelow(l *loan, n int64, now time.Time) *loan {
	for v := h.oldest; v != nil; v = v.next {
		if v != l && v.reader != nil && (now.Sub(v.began) >= slowBody || v.bytes >= 2*(l.bytes+n)) {
			return v
		}
	}
	return nil
}

// append adds a body that is being read.
func (h *holding) append(l *loan) {
	l.reading, l.prev, l.next = true, h.newest, nil
	if h.newest == nil {
		h.oldest = l
	} else {
		h.newest.next = l
	}
	h.newest = l
}

// remove takes out a body that is no longer being read.
func (h *holding) remove(l *loan) {
	if !l.reading {
		return
	}
	if l.prev == nil {
		h.oldest = l.next
	} else {
		l.prev.next = l.next
	}
	if l.next == nil {
		h.newest = l.prev
	} else {
		l.next.prev = l.prev
	}
	l.reading, l.prev, l.next = false, nil, nil
}
