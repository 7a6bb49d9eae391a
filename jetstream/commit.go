package jetstream

import (
	"context"
	"log/slog"
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
// After a failed flush no group is released as durable until reset: an earlier
// hole in a block would take the events behind it along (see repair.go).
type committer struct {
	flush func() error
	log   *slog.Logger
	m     *metrics
	// failed is told about the first failure since reset.
	failed func(error)

	wake  chan struct{} // one token when acked has grown
	mu    sync.Mutex
	acked []*slot
	err   error     // of the flush that failed; nil while well
	good  time.Time // start of the last flush that succeeded
}

func newCommitter(flush func() error, log *slog.Logger, m *metrics, failed func(error)) *committer {
	return &committer{flush: flush, log: log, m: m, failed: failed, wake: make(chan struct{}, 1), good: time.Now()}
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
	err := c.flushOnce()
	if err == nil {
		c.m.flushedEvents.Add(float64(len(group)))
	}
	for _, s := range group {
		if err != nil {
			s.answer = ack{err: refuse("flush failed, it is not known to be on disk: %w", err)}
		}
		s.resolve()
	}
}

// flushOnce flushes unless an earlier flush has failed.
func (c *committer) flushOnce() error {
	c.mu.Lock()
	err := c.err
	c.mu.Unlock()
	if err != nil {
		return err
	}
	start := time.Now()
	err = c.flush()
	c.m.flushes.Inc()
	c.m.flushSeconds.Observe(time.Since(start).Seconds())
	c.mu.Lock()
	if err == nil {
		c.good = start
	} else {
		c.err = err
	}
	c.mu.Unlock()
	if err != nil {
		c.m.flushErrors.Inc()
		c.log.Error("flush failed, intake is shut until the store is repaired", "error", err)
		c.failed(err)
	}
	return err
}

// state returns when the last good flush began, and the error of the flush that
// failed, nil while well.
func (c *committer) state() (good time.Time, failed error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.good, c.err
}

// reset ends the refusal after a repair.
func (c *committer) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err, c.good = nil, time.Now()
}
