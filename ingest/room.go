package ingest

import (
	"sync"
	"sync/atomic"
)

const (
	// roomBytes bounds the rooms of all requests together, unless bodies may be
	// so large that fewer than roomBodies of them fit. The first bytes of a body,
	// which fasthttp holds and which are the whole of a usual event, don't count.
	roomBytes  = 64 << 20
	roomBodies = 16
)

// rooms is the memory for bodies that are longer than what fasthttp waits for. It is
// bounded, because a body counts for nothing else until it is all there: neither as
// one of the requests that its courier may have in work, nor as proved.
type rooms struct {
	most int64        // bytes
	lent atomic.Int64 // bytes, to all
	// strangers is what requests have that name no courier of ours.
	strangers atomic.Int64
	spare     sync.Pool // of *room, none larger than keepBodyBytes
}

// room is memory for one body.
type room struct{ b []byte }

func newRooms(largest int) *rooms { return &rooms{most: max(roomBytes, roomBodies*int64(largest))} }

// lend counts n bytes as lent to the one whose count own is. Nobody gets more than
// what would be left for everybody else: one alone half of it all, two of them a third
// each. So however much some take, a share as large as theirs stays free.
func (r *rooms) lend(own *atomic.Int64, n int) bool {
	lent, has := r.lent.Add(int64(n)), own.Add(int64(n))
	if has <= r.most-lent {
		return true
	}
	r.giveBack(own, n)
	return false
}

func (r *rooms) giveBack(own *atomic.Int64, n int) {
	r.lent.Add(-int64(n))
	own.Add(-int64(n))
}

// widen makes the call's room larger, but not larger than most bytes, and keeps what
// is in it. It reports false when there is no memory for that.
func (r *rooms) widen(c *call, most int) bool {
	if c.room == nil {
		return r.open(c, most)
	}
	had := cap(c.room.b)
	larger := min(2*had, most)
	if !r.lend(c.roomOf, larger) {
		return false
	}
	c.room.b = append(make([]byte, 0, larger), c.room.b...)
	r.giveBack(c.roomOf, had)
	return true
}

// open gets the call its first room.
func (r *rooms) open(c *call, most int) bool {
	c.roomOf = &r.strangers
	if c.sender != nil {
		c.roomOf = c.sender.limits.room
	}
	from, ok := r.spare.Get().(*room)
	if !ok {
		from = &room{make([]byte, 0, min(firstRoom, most))}
	}
	if !r.lend(c.roomOf, cap(from.b)) {
		return false
	}
	c.room = from
	return true
}

// close takes the call's room back, if it has one; spare says that nobody else can
// still look at it.
func (r *rooms) close(c *call, spare bool) {
	if c.room == nil {
		return
	}
	n := cap(c.room.b)
	r.giveBack(c.roomOf, n)
	if spare && n >= firstRoom && n <= keepBodyBytes {
		c.room.b = c.room.b[:0]
		r.spare.Put(c.room)
	}
	c.room = nil
}
