//go:build !race

package stamp

import "testing"

// The race detector makes pools forget at random, so this test runs without it.

func TestAppendStampDoesNotAllocate(t *testing.T) {
	s, e, buf := testStamper(t, keyOne), testEnvelope(), make([]byte, 0, 64)
	if n := testing.AllocsPerRun(1000, func() { s.AppendStamp(buf, e) }); n != 0 {
		t.Errorf("AppendStamp allocates %v times, want 0", n)
	}
}
