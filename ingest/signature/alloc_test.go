//go:build !race

package signature

import "testing"

// The race detector makes pools forget at random, so this test runs without it.

func TestVerifyDoesNotAllocate(t *testing.T) {
	for _, scheme := range Names() {
		s := compile(t, config(scheme))
		good := newWire(s.Sign(body, noon), body)
		bad := newWire(s.Sign(body, noon), body[1:])
		if n := testing.AllocsPerRun(1000, func() {
			if _, err := s.Verify(good, noon); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Verify(bad, noon); err == nil {
				t.Fatal("a wrong body is accepted")
			}
		}); n != 0 {
			t.Errorf("%s: Verify allocates %v times, want 0", scheme, n)
		}
	}
}
