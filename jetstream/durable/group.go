package durable

import (
	"context"
	"runtime"
	"sync"
)

// Group makes items durable in groups: it takes all that were added, flushes once, and
// releases them; meanwhile the next group forms. It never waits for a group to grow. It
// only lets every goroutine go first that could run already, publishes just released and
// answers on their way, so that a flush isn't begun for the first of many; see
// decision 6.
//
// After a failed flush no group is released as durable until the store is repaired: an
// earlier hole in a block would take the events behind it along (see repair.go).
type Group[T any] struct {
	flush   func() error
	release func(items []T, err error)

	wake    chan struct{} // one token when waiting has grown
	mu      sync.Mutex
	waiting []T
}

// NewGroup returns a group that makes items durable by flush, which fails for good after
// a failure until the store is repaired. release gets each group with the flush's error;
// the slice is valid during the call only.
func NewGroup[T any](flush func() error, release func(items []T, err error)) *Group[T] {
	return &Group[T]{flush: flush, release: release, wake: make(chan struct{}, 1)}
}

// Add adds items that are written. It keeps no reference to the slice.
func (g *Group[T]) Add(items ...T) {
	g.mu.Lock()
	g.waiting = append(g.waiting, items...)
	g.mu.Unlock()
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// Waiting returns how many items wait for the next flush.
func (g *Group[T]) Waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.waiting)
}

// Run flushes groups until ctx ends, and then what is left.
func (g *Group[T]) Run(ctx context.Context) {
	var spare []T
	for {
		select {
		case <-g.wake:
		case <-ctx.Done():
			g.commit(g.take(spare))
			return
		}
		runtime.Gosched()
		group := g.take(spare)
		g.commit(group)
		clear(group)
		spare = group[:0]
	}
}

// take returns the group that has formed, and lets the next form in spare.
func (g *Group[T]) take(spare []T) []T {
	g.mu.Lock()
	defer g.mu.Unlock()
	group := g.waiting
	g.waiting = spare
	return group
}

func (g *Group[T]) commit(group []T) {
	if len(group) > 0 {
		g.release(group, g.flush())
	}
}
