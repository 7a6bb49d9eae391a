package main

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestTidierWaitsForTheLoadToEnd lets load come and go, and counts.
func TestTidierWaitsForTheLoadToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const every = 5 * time.Second
		var allocated atomic.Uint64
		var freed atomic.Int64
		tidy := &tidier{every: every, allocated: allocated.Load, free: func() { freed.Add(1) }}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- tidy.run(ctx) }()
		synctest.Wait()
		for _, step := range []struct {
			what  string
			bytes uint64 // allocated in a turn
			turns int
			freed int64 // by the end of it
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
			for range step.turns {
				allocated.Add(step.bytes)
				time.Sleep(every)
				synctest.Wait()
			}
			if n := freed.Load(); n != step.freed {
				t.Errorf("%s: tidied %d times, want %d", step.what, n, step.freed)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
