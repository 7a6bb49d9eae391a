package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

// garbage bounds what the heap holds beside what is in use.
//
// Left alone, the Go runtime collects when the heap has doubled, so that every
// byte of a backlog costs two. Here it collects after a fixed amount of garbage,
// however much is in use. That makes no more collections: what is in use is a few
// times the allowance at most, and what grows with a backlog, ids and the broker's
// block caches, holds no pointers and is not searched.
//
// The runtime knows a percentage only, so after each collection it is set anew to
// what the allowance is of what is left.
type garbage struct {
	allowance uint64        // bytes
	inUse     func() uint64 // bytes after the last collection
	set       func(percent int)
	percent   int // as last set
}

const (
	garbageBytes = 48 << 20 // how it was chosen stands in docs/performance.md
	mostPercent  = 1000     // of a heap that holds next to nothing
	leastPercent = 10
)

// newGarbage returns one for this process; nil when GOGC says what to do.
func newGarbage() *garbage {
	if os.Getenv("GOGC") != "" {
		return nil
	}
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"},
	}
	return &garbage{
		allowance: garbageBytes, percent: 100,
		set: func(percent int) { debug.SetGCPercent(percent) },
		inUse: func() (sum uint64) {
			metrics.Read(samples)
			for _, s := range samples {
				sum += s.Value.Uint64()
			}
			return sum
		},
	}
}

// run bounds the garbage until ctx ends.
func (g *garbage) run(ctx context.Context) error {
	if g == nil {
		return nil
	}
	collected := make(chan struct{}, 1)
	stop := eachCollection(func() {
		select {
		case collected <- struct{}{}:
		default:
		}
	})
	defer stop()
	for {
		g.adjust()
		select {
		case <-ctx.Done():
			return nil
		case <-collected:
		}
	}
}

// adjust sets the percentage that makes the allowance, unless it is about that:
// setting it stops the world for a moment.
func (g *garbage) adjust() {
	want := min(max(int(100*g.allowance/max(g.inUse(), 1)), leastPercent), mostPercent)
	if off := want - g.percent; 10*max(off, -off) > g.percent {
		g.set(want)
		g.percent = want
	}
}

// eachCollection calls f soon after each garbage collection, from a goroutine of
// the runtime's, until stop is called: f must not block. It lets an object die
// that nobody needs, and makes the next one when the runtime has noticed.
func eachCollection(f func()) (stop func()) {
	var stopped atomic.Bool
	var next func(struct{})
	next = func(struct{}) {
		if !stopped.Load() {
			f()
			runtime.AddCleanup(new(*int), next, struct{}{})
		}
	}
	runtime.AddCleanup(new(*int), next, struct{}{}) // a pointer, or it could share its place with what lives
	return func() { stopped.Store(true) }
}
