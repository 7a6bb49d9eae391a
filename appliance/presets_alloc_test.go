//go:build !race

package main

import (
	"testing"
)

// The race detector makes pools forget at random, so this test runs without it.

// TestPresetsVerifyWithoutAllocating holds for every preset by HMAC, whether the
// request is good or not.
func TestPresetsVerifyWithoutAllocating(t *testing.T) {
	for _, v := range hmacVerifications(t) {
		if n := testing.AllocsPerRun(500, func() {
			if _, err := v.scheme.Verify(v.good, signedAt); err != nil {
				t.Fatal(err)
			}
			if _, err := v.scheme.Verify(v.forged, signedAt); err == nil {
				t.Fatal("a forged request is accepted")
			}
		}); n != 0 {
			t.Errorf("%s: verifying allocates %v times, want 0", v.name, n)
		}
	}
}
