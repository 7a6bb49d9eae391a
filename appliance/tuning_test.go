package main

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fincart/courier-gateway/appliance/config"
)

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
