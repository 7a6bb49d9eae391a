package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

	"github.com/fincart/courier-gateway/appliance/config"
)

// tuneRuntime tunes the Go runtime for an appliance with this queue, until stop is
// called: one thread more, so that a group flush keeps no processor idle, and the return
// of memory to the system after a load. The runtime belongs to the process, so main does
// it, and no package below. What each part is worth, and why the garbage collector is left
// as it is, is in docs/decisions/0018-go-runtime.md.
func tuneRuntime(queue config.JetStreamConfig) (stop func()) {
	addProcessor(queue)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { newMemoryReleaser().run(ctx) })
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
