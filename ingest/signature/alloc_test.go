//go:build !race

package signature

import (
	"strings"
	"testing"
)

// The race detector makes pools forget at random, so this test runs without it.

// TestVerifyDoesNotAllocate holds for every scheme by HMAC, and for credentials.
// Public keys cost what the standard library takes, and claims what it takes to
// compare them.
func TestVerifyDoesNotAllocate(t *testing.T) {
	for _, s := range senders() {
		if strings.HasPrefix(s.config.Scheme, "rsa") || s.config.Scheme == "ed25519" || s.publicKeys() {
			continue
		}
		scheme := compile(t, s.verifier(t, "new", "old"))
		good, bad := s.wires(t)
		nothing := &wire{raw: []byte("{}")}
		if n := testing.AllocsPerRun(500, func() {
			if _, err := scheme.Verify(good, noon); err != nil {
				t.Fatal(err)
			}
			if _, err := scheme.Verify(bad, noon); err == nil {
				t.Fatal("a wrong secret is accepted")
			}
			if _, err := scheme.Verify(nothing, noon); err == nil {
				t.Fatal("nothing is accepted")
			}
		}); n != 0 {
			t.Errorf("%s: Verify allocates %v times, want 0", s.name, n)
		}
	}
}
