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

// tune controls the Go runtime's memory, which all appliances of a process share, until
// stop is called.
func tune() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, control := range []func(context.Context) error{newTidier().run, newGarbage().run} {
		running.Go(func() { _ = control(ctx) })
	}
	return func() {
		cancel()
		running.Wait()
	}
}

// processors is how many the Go runtime found that this process may use.
var processors = runtime.GOMAXPROCS(0)

// addProcessor lets Go run one thread more than there are processors, where a group
// flush is all but always under way.
//
// A thread that waits in a system call keeps its turn to run Go until the runtime's
// monitor takes it away, and then has to wait for another one: a processor is idle for
// a part of each flush, and each flush ends late. One thread more makes up for it. What
// it is worth, and costs, stands in docs/decisions/0006-group-flush.md.
//
// GOMAXPROCS in the environment says otherwise. The runtime does not follow later
// changes of a container's limit any more.
func addProcessor(queue config.JetStreamConfig) {
	if os.Getenv("GOMAXPROCS") == "" && queue.Mode == config.ModeEmbedded && queue.Sync == "group" {
		runtime.GOMAXPROCS(processors + 1)
	}
}

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

// tidier gives memory back to the system after a busy time.
//
// The Go runtime keeps what garbage collection has freed, up to the size at which
// the next collection is due; when load ends there is none for two minutes, and
// then it gives back slowly. So when little has been allocated for a turn, and
// much before, the tidier collects and gives back at once, and once more when
// the caches that the load has filled have expired. Under load it does nothing.
type tidier struct {
	every     time.Duration // a turn
	allocated func() uint64 // bytes since the process began
	free      func()
}

const (
	quietBytes  = 4 << 20 // less than that in a second is no load
	worthBytes  = 8 << 20 // less than that is not worth a collection
	expiryTurns = 4       // quiet turns after which caches have expired
)

func newTidier() *tidier {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	return &tidier{
		every: 5 * time.Second, free: giveBack,
		allocated: func() uint64 { metrics.Read(sample); return sample[0].Value.Uint64() },
	}
}

// giveBack collects and returns what is free to the system. It takes two
// collections: what a [sync.Pool] holds survives the first.
func giveBack() {
	runtime.GC()
	debug.FreeOSMemory()
}

// run tidies until ctx ends.
func (t *tidier) run(ctx context.Context) error {
	tick := time.NewTicker(t.every)
	defer tick.Stop()
	limit := uint64(t.every.Seconds() * quietBytes)
	var tidied uint64 // allocated when it was last tidy
	rest := 0         // quiet turns until caches have expired
	for before := t.allocated(); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := t.allocated()
		if now-before >= limit {
			before, rest = now, 0
			continue
		}
		rest--
		worth := now-tidied > worthBytes
		if worth || rest == 0 {
			t.free()
			now = t.allocated()
			tidied = now
		}
		if worth {
			rest = expiryTurns
		}
		before = now
	}
}
