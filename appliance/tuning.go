package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fincart/courier-gateway/appliance/config"
)

// tuneRuntime tunes the Go runtime for an appliance with this queue, until stop is
// called. The runtime belongs to the process, so main does it, and no package below. What
// each part is worth is in docs/decisions/0018-go-runtime.md.
//
//	part               does                                          off by
//	processors + 1     a group flush keeps no processor idle         GOMAXPROCS
//	gcTuner            collects after a fixed amount of garbage      GOGC
//	memoryReleaser     returns memory to the system after a load     -
func tuneRuntime(queue config.JetStreamConfig) (stop func()) {
	addProcessor(queue)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { newMemoryReleaser().run(ctx) })
	if os.Getenv("GOGC") == "" {
		running.Go(func() { newGCTuner().run(ctx) })
	}
	return func() {
		cancel()
		running.Wait()
	}
}

// processors is how many the Go runtime found that this process may use.
var processors = runtime.GOMAXPROCS(0)

// addProcessor lets Go run one thread more than there are processors, where a group
// flush is under way most of the time.
//
// A thread that waits in a system call keeps its processor until the runtime's monitor
// takes it away, and then waits for another one: a processor is idle for a part of each
// flush, and each flush ends late. One more makes up for it, see
// docs/decisions/0006-group-flush.md.
//
// GOMAXPROCS in the environment overrides it. The runtime does not follow later changes
// of a container's limit any more.
func addProcessor(queue config.JetStreamConfig) {
	if os.Getenv("GOMAXPROCS") == "" && queue.Mode == config.ModeEmbedded && queue.Sync == config.SyncGroup {
		runtime.GOMAXPROCS(processors + 1)
	}
}

// gcTuner bounds the garbage on the heap.
//
// By default the Go runtime collects when the heap has doubled, so that every byte of a
// backlog costs two. The tuner lets it collect after a fixed amount of garbage, however
// much is in use. That makes no more collections: what is in use is a few times the
// allowance at most, and what grows with a backlog, ids and the broker's block caches,
// holds no pointers and is not scanned.
//
// The runtime has a percentage only, so after each collection it is set to what the
// allowance is of what is in use.
type gcTuner struct {
	allowance uint64        // bytes of garbage
	inUse     func() uint64 // bytes after the last collection
	set       func(percent int)
	percent   int // as last set
}

const (
	garbageBytes = 48 << 20 // docs/decisions/0018-go-runtime.md compares it with percentages
	mostPercent  = 1000     // of a heap that holds next to nothing
	leastPercent = 10
)

// newGCTuner returns one for this process.
func newGCTuner() *gcTuner {
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"},
	}
	return &gcTuner{
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

// run adjusts the percentage after each collection until ctx ends.
func (g *gcTuner) run(ctx context.Context) {
	collected := make(chan struct{}, 1)
	stop := afterEachCollection(func() {
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
			return
		case <-collected:
		}
	}
}

// adjust sets the percentage that makes the allowance, unless it is about that:
// setting it stops the world for a moment.
func (g *gcTuner) adjust() {
	want := min(max(int(100*g.allowance/max(g.inUse(), 1)), leastPercent), mostPercent)
	if off := want - g.percent; 10*max(off, -off) > g.percent {
		g.set(want)
		g.percent = want
	}
}

// afterEachCollection calls f soon after each garbage collection, from a goroutine of
// the runtime, until stop is called: f must not block. It makes an unreachable object and
// gets called when the runtime has collected that, and makes the next one.
func afterEachCollection(f func()) (stop func()) {
	var stopped atomic.Bool
	var next func(struct{})
	next = func(struct{}) {
		if !stopped.Load() {
			f()
			runtime.AddCleanup(new(*int), next, struct{}{})
		}
	}
	runtime.AddCleanup(new(*int), next, struct{}{}) // a pointer: an object without one may be in one block with others that live
	return func() { stopped.Store(true) }
}

// memoryReleaser returns memory to the system after a load.
//
// The Go runtime keeps what garbage collection has freed, up to the size at which the
// next collection is due; when the load ends there is none for two minutes, and then it
// returns memory slowly. So when little has been allocated for an interval, and much
// before, the releaser collects and returns memory at once, and once more when the caches
// that the load has filled have expired. Under load it does nothing.
type memoryReleaser struct {
	every     time.Duration // an interval
	allocated func() uint64 // bytes since the process began
	release   func()
}

const (
	quietBytes      = 4 << 20 // less than that in a second is no load
	worthBytes      = 8 << 20 // less than that is not worth a collection
	expiryIntervals = 4       // quiet intervals after which caches have expired
)

// newMemoryReleaser returns one for this process.
func newMemoryReleaser() *memoryReleaser {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	return &memoryReleaser{
		every: 5 * time.Second, release: releaseMemory,
		allocated: func() uint64 { metrics.Read(sample); return sample[0].Value.Uint64() },
	}
}

// releaseMemory collects and returns what is free to the system. It takes two
// collections: what a [sync.Pool] holds survives the first.
func releaseMemory() {
	runtime.GC()
	debug.FreeOSMemory()
}

// run releases memory until ctx ends.
func (r *memoryReleaser) run(ctx context.Context) {
	tick := time.NewTicker(r.every)
	defer tick.Stop()
	limit := uint64(r.every.Seconds() * quietBytes)
	var released uint64 // allocated at the last release
	untilExpiry := 0    // quiet intervals until caches have expired
	for before := r.allocated(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := r.allocated()
		if now-before >= limit {
			before, untilExpiry = now, 0
			continue
		}
		untilExpiry--
		worth := now-released > worthBytes
		if worth || untilExpiry == 0 {
			r.release()
			now = r.allocated()
			released = now
		}
		if worth {
			untilExpiry = expiryIntervals
		}
		before = now
	}
}
