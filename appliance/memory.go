package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

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
