package integrity

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/fincart/courier-gateway/ingest/event/loss"
)

// TestRangesAreSets compares the operations with those on maps.
func TestRangesAreSets(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	some := func() (ranges, map[uint64]bool) {
		var list []loss.Range
		set := map[uint64]bool{}
		for range r.IntN(6) {
			first := r.Uint64N(30) + 1
			run := loss.Range{First: first, Last: first + r.Uint64N(6)}
			list = append(list, run)
			for seq := run.First; seq <= run.Last; seq++ {
				set[seq] = true
			}
		}
		return rangesOf(list...), set
	}
	check := func(what string, got ranges, in func(uint64) bool) {
		t.Helper()
		n := uint64(0)
		for seq := range uint64(50) {
			last, ok := got.end(seq)
			if ok != in(seq) || ok && (last < seq || in(last+1)) {
				t.Fatalf("%s: %v has %d: %v up to %d", what, got, seq, ok, last)
			}
			if ok {
				n++
			}
		}
		if got.count() != n {
			t.Fatalf("%s: %v counts as %d, want %d", what, got, got.count(), n)
		}
	}
	for range 5000 {
		a, inA := some()
		b, inB := some()
		check("a set", a, func(seq uint64) bool { return inA[seq] })
		check("union", a.union(b), func(seq uint64) bool { return inA[seq] || inB[seq] })
		check("difference", a.without(b), func(seq uint64) bool { return inA[seq] && !inB[seq] })
	}
}

func TestRangesForPeople(t *testing.T) {
	t.Parallel()
	for want, seqs := range map[string][]uint64{"": nil, "3": {3}, "1-3, 7": {3, 7, 1, 2}} {
		if got := sequencesOf(seqs).String(); got != want {
			t.Errorf("%v is shown as %q, want %q", seqs, got, want)
		}
	}
	var many []uint64
	for i := range uint64(50) {
		many = append(many, 2*i)
	}
	if got := sequencesOf(many).String(); len(got) > 200 || !slices.Contains([]byte(got), 'm') {
		t.Errorf("many are shown as %q", got)
	}
}
