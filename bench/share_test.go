package bench

import (
	"math"
	"testing"
)

func TestShares(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]float64{
		"10%": 0.1, "0%": 0, "0": 0, "100%": 1, "1": 1, "0.25": 0.25, " 2.5% ": 0.025, "1e-3": 0.001,
		"10": -1, "101%": -1, "-1%": -1, "": -1, "%": -1, "x": -1, "NaN": -1, "Inf": -1, "10%%": -1, "10 %x": -1,
	} {
		var s Share
		err := s.Set(text)
		if (err == nil) != (want >= 0) || err == nil && math.Abs(float64(s)-want) > 1e-12 {
			t.Errorf("%q: %v, %v; want %v", text, float64(s), err, want)
		}
	}
	for s, want := range map[Share]string{0: "0%", 0.1: "10%", 0.005: "0.5%", 1: "100%"} {
		var again Share
		if s.String() != want || again.Set(s.String()) != nil || again != s {
			t.Errorf("%v is written %s, want %s, and read as %v", float64(s), s, want, float64(again))
		}
	}
}

func TestShareIncludesItsShare(t *testing.T) {
	t.Parallel()
	for _, s := range []Share{0, 0.01, 0.5, 1} {
		taken := 0
		for i := range uint64(100_000) {
			if s.Includes(Spread(i)) {
				taken++
			}
		}
		if got := float64(taken) / 100_000; math.Abs(got-float64(s)) > 0.005 {
			t.Errorf("%v includes %v", s, got)
		}
	}
}
