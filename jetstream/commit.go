package jetstream

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// committer makes acknowledged publishes durable in groups: it takes all that
// the broker has acknowledged, flushes once, and releases them; meanwhile the
// next group forms. It never waits for a group to grow. It only lets everybody go
// first who could run already, publishes just released and answers on their way,
// so that a flush isn't begun for the first of many; see decision 6.
//
// After a failed flush no group is released as durable until the store is
// repaired: an earlier hole in a block would take the events behind it along (see
// repair.go).
type committer struct {
	flush    func() error  // fails for good after a failure, until the store is repaired
	position *positionFile // takes over what is durable
	m        *metrics

	wake  chan struct{} // one token when acked has grown
	mu    sync.Mutex
	acked []*slot
}

func newCommitter(flush func() error, position *positionFile, m *metrics) *committer {
	return &committer{flush: flush, position: position, m: m, wake: make(chan struct{}, 1)}
}

// add queues slots whose publishes are acknowledged.
func (c *committer) add(acked []*slot) {
	c.mu.Lock()
	c.acked = append(c.acked, acked...)
	c.mu.Unlock()
	signal(c.wake)
}

// run commits groups until ctx ends, and then what is left.
func (c *committer) run(ctx context.Context) {
	var spare []*slot
	for {
		select {
		case <-c.wake:
		case <-ctx.Done():
			c.commit(c.take(spare))
			return
		}
		runtime.Gosched()
		group := c.take(spare)
		c.commit(group)
		clear(group)
		spare = group[:0]
	}
}

// take returns the group that has formed, and lets the next form in spare.
func (c *committer) take(spare []*slot) []*slot {
	c.mu.Lock()
	defer c.mu.Unlock()
	group := c.acked
	c.acked = spare
	return group
}

// commit flushes and releases a group.
func (c *committer) commit(group []*slot) {
	if len(group) == 0 {
		return
	}
	err := c.flush()
	if err == nil {
		c.m.flushedEvents.Add(float64(len(group)))
		c.position.raise(highestOf(group), time.Now())
	}
	for _, s := range group {
		if err != nil {
			s.answer = ack{err: refuse("flush failed, it is not known to be on disk: %w", err)}
		}
		s.resolve()
	}
}

// highestOf returns the highest sequence that a group of answers names.
func highestOf(group []*slot) (highest uint64) {
	for _, s := range group {
		highest = max(highest, s.answer.seq)
	}
	return highest
}
