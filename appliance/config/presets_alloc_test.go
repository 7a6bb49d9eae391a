//go:build !race

package config_test

import (
	"testing"

	"github.com/fincart/courier-gateway/appliance/config/sendertest"
)

// The race detector makes pools forget at random, so this test runs without it.

// TestPresetsVerifyWithoutAllocating holds for every preset by HMAC, whether the
// request is good or not.
func TestPresetsVerifyWithoutAllocating(t *testing.T) {
	for _, v := range hmacVerifications(t) {
		if n := testing.AllocsPerRun(500, func() {
			if _, err := v.scheme.Verify(v.good, sendertest.SignedAt); err != nil {
				t.Fatal(err)
			}
			if _, err := v.scheme.Verify(v.forged, sendertest.SignedAt); err == nil {
				t.Fatal("a forged request is accepted")
			}
		}); n != 0 {
			t.Errorf("%s: verifying allocates %v times, want 0", v.name, n)
		}
	}
}
