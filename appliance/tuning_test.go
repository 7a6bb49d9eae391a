package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fincart/courier-gateway/appliance/config"
)

func TestGCTunerAllowsAFixedAmount(t *testing.T) {
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
			g := &gcTuner{allowance: 48 * mib, percent: c.before, inUse: func() uint64 { return c.inUse }}
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

// TestGCTunerFollowsEachCollection holds the runtime itself to the allowance.
func TestGCTunerFollowsEachCollection(t *testing.T) {
	g := newGCTuner()
	var percent atomic.Int64
	set := g.set
	g.set = func(p int) { set(p); percent.Store(int64(p)) }
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		g.run(ctx)
	}()

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
	<-ended
}

func TestAfterEachCollectionCallsUntilItIsStopped(t *testing.T) {
	var calls atomic.Int64
	stop := afterEachCollection(func() { calls.Add(1) })
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

// TestTuneRuntimeLeavesGOGCAlone: a percentage from the environment stays as it is,
// whatever is collected.
func TestTuneRuntimeLeavesGOGCAlone(t *testing.T) {
	before := debug.SetGCPercent(50)
	defer debug.SetGCPercent(before)
	queue := config.Defaults().JetStream
	queue.Mode = config.ModeExternal // which needs no more processors
	for _, gogc := range []string{"50", ""} {
		t.Setenv("GOGC", gogc)
		stop := tuneRuntime(queue)
		changed := func() bool {
			runtime.GC()
			percent := debug.SetGCPercent(50)
			return percent != 50
		}
		if gogc == "" {
			eventually(t, "another percentage", changed)
		} else {
			for range 5 {
				last(t, 5*time.Millisecond)
				if changed() {
					t.Error("GOGC is overruled")
				}
			}
		}
		stop()
	}
}

// TestMemoryReleaserWaitsForTheLoadToEnd lets load come and go, and counts.
func TestMemoryReleaserWaitsForTheLoadToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const every = 5 * time.Second
		var allocated atomic.Uint64
		var released atomic.Int64
		r := &memoryReleaser{every: every, allocated: allocated.Load, release: func() { released.Add(1) }}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.run(ctx)
		}()
		synctest.Wait()
		for _, step := range []struct {
			what      string
			bytes     uint64 // allocated in an interval
			intervals int
			released  int64 // times, by the end of it
		}{
			{"a start that takes much", 100 << 20, 1, 0},
			{"rest after it", 1 << 18, 3, 1},
			{"rest until caches have expired", 1 << 18, 2, 2},
			{"load", 50 << 20, 10, 2},
			{"rest", 1 << 18, 1, 3},
			{"load again, before caches have expired", 50 << 20, 2, 3},
			{"rest", 1 << 18, 1, 4},
			{"more rest", 1 << 18, 20, 5},
			{"rest that adds up", 1 << 18, 20, 6},
			{"little load", 21 << 20, 3, 6},
		} {
			for range step.intervals {
				allocated.Add(step.bytes)
				time.Sleep(every)
				synctest.Wait()
			}
			if n := released.Load(); n != step.released {
				t.Errorf("%s: released %d times, want %d", step.what, n, step.released)
			}
		}
		cancel()
		<-done
	})
}

func TestAddProcessorWhereFlushesAreShared(t *testing.T) {
	embedded, external, each := config.Defaults().JetStream, config.Defaults().JetStream, config.Defaults().JetStream
	external.Mode, each.Sync = config.ModeExternal, config.SyncAlways
	for _, test := range []struct {
		name string
		cfg  config.JetStreamConfig
		env  string
		more int
	}{
		{"embedded, group flush", embedded, "", 1},
		{"the environment says how many", embedded, "2", 0},
		{"external broker", external, "", 0},
		{"each message flushed", each, "", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := runtime.GOMAXPROCS(processors)
			defer runtime.GOMAXPROCS(before)
			t.Setenv("GOMAXPROCS", test.env)
			for range 2 { // an appliance that starts again adds none
				addProcessor(test.cfg)
			}
			if n := runtime.GOMAXPROCS(0); n != processors+test.more {
				t.Errorf("%d processors, want %d", n, processors+test.more)
			}
		})
	}
}
