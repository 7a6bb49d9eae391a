package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"
)

func TestGarbageIsAFixedAmount(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		name         string
		inUse        uint64
		before, want int
	}{
		{"as much as is in use", 48 * mib, 0, 100},
		{"a small heap may be mostly garbage", 8 * mib, 100, 600},
		{"a large one may not", 480 * mib, 100, 10},
		{"nearly nothing in use", 1, 100, mostPercent},
		{"nothing in use", 0, 100, mostPercent},
		{"very much in use", 1 << 40, 100, leastPercent},
		{"about right already", 50 * mib, 100, 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := &garbage{allowance: 48 * mib, percent: c.before, inUse: func() uint64 { return c.inUse }}
			got, sets := c.before, 0
			g.set = func(percent int) { got = percent; sets++ }
			g.adjust()
			g.adjust()
			if got != c.want || sets > 1 {
				t.Errorf("set to %d in %d calls, want %d in one at most", got, sets, c.want)
			}
		})
	}
}

// TestGarbageFollowsEachCollection holds the runtime itself to the allowance.
func TestGarbageFollowsEachCollection(t *testing.T) {
	t.Setenv("GOGC", "")
	g := newGarbage()
	var percent atomic.Int64
	set := g.set
	g.set = func(p int) { set(p); percent.Store(int64(p)) }
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.run(ctx) }()

	follows := func(what string, is func(percent int64) bool) {
		t.Helper()
		eventually(t, what, func() bool {
			runtime.GC()
			return is(percent.Load())
		})
	}
	follows("a high percentage for a small heap", func(p int64) bool { return p > 100 })
	held := make([]byte, 8*garbageBytes)
	follows("a low one for a large heap", func(p int64) bool { return p > 0 && p < 15 })
	runtime.KeepAlive(held)
	follows("a high one again", func(p int64) bool { return p > 100 })

	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestEachCollectionIsTold, one after the other, until nobody wants to know.
func TestEachCollectionIsTold(t *testing.T) {
	var calls atomic.Int64
	stop := eachCollection(func() { calls.Add(1) })
	for range 3 {
		before := calls.Load()
		eventually(t, "a call after a collection", func() bool {
			runtime.GC()
			return calls.Load() > before
		})
	}
	stop()
	last(t, 10*time.Millisecond) // for one that is under way
	after := calls.Load()
	for range 3 {
		runtime.GC()
		last(t, 10*time.Millisecond)
	}
	if n := calls.Load() - after; n != 0 {
		t.Errorf("%d calls after the end", n)
	}
}

func TestGarbageLeavesGOGCAlone(t *testing.T) {
	t.Setenv("GOGC", "50")
	if g := newGarbage(); g != nil {
		t.Error("GOGC is overruled")
	}
	if err := newGarbage().run(t.Context()); err != nil {
		t.Error(err)
	}
}
