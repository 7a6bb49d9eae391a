//go:build !race

package ingest

import "testing"

// The race detector makes pools forget at random, so this test runs without it.

func TestHandlingDoesNotAllocate(t *testing.T) {
	if n := testing.AllocsPerRun(1000, warm(t)); n != 0 {
		t.Errorf("a good request costs %v allocations, want 0", n)
	}
}
