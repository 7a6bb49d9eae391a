package bench

import (
	"math"
	"testing"
	"time"
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

func TestShareTakesItsShare(t *testing.T) {
	t.Parallel()
	for _, s := range []Share{0, 0.01, 0.5, 1} {
		taken := 0
		for i := range uint64(100_000) {
			if s.takes(mix(i)) {
				taken++
			}
		}
		if got := float64(taken) / 100_000; math.Abs(got-float64(s)) > 0.005 {
			t.Errorf("%v takes %v", s, got)
		}
	}
}

func TestRates(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"5000": "5000/s", "5000/s": "5000/s", "300/m": "300/m", " 7/h ": "7/h",
		"0": "", "-1": "", "1/d": "", "": "", "/s": "", "5/": "", "1.5/s": "", "9999999999/s": "",
	} {
		var r rate
		if err := r.Set(text); (err == nil) != (want != "") || r.String() != want || r.set() != (want != "") {
			t.Errorf("%q: %v, %v; want %q", text, r, err, want)
		}
	}
}

func TestHitsAreDueAtEvenIntervals(t *testing.T) {
	t.Parallel()
	for text, every := range map[string]time.Duration{"1000/s": time.Millisecond, "30/m": 2 * time.Second, "1/h": time.Hour} {
		var r rate
		if err := r.Set(text); err != nil {
			t.Fatal(err)
		}
		for n := range uint64(1000) {
			if got := r.due(n) - r.due(0); got != every*time.Duration(n) {
				t.Fatalf("%s: hit %d is due after %v", text, n, got)
			}
		}
	}
}
