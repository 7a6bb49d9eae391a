package integrity

import (
	"strconv"
	"testing"
)

// TestReceiptBelowTheHighestIsALoss has the stream cut so fast that no comparison of it
// sees its end.
func TestReceiptBelowTheHighestIsALoss(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		seqs  []uint64
		reuse reusedRun
	}{
		"rising":             {[]uint64{3, 4, 9, 10}, reusedRun{}},
		"cut":                {[]uint64{3, 10, 8, 9, 10, 11}, reusedRun{first: 8, was: 10, wasID: "10", highest: 10}},
		"cut and cut again":  {[]uint64{3, 10, 8, 9, 5}, reusedRun{first: 5, was: 10, wasID: "10", highest: 10}},
		"acknowledged twice": {[]uint64{3, 3}, reusedRun{first: 3, was: 3, wasID: "3", highest: 3}},
	} {
		p := &Receipts{highest: func() uint64 { return 0 }}
		for _, seq := range test.seqs {
			p.Next(seq, strconv.FormatUint(seq, 10))
		}
		if got, ok := p.reused(); got != test.reuse || ok != (got.first > 0) {
			t.Errorf("%s: %+v, want %+v", name, got, test.reuse)
		}
		if got, ok := p.reused(); ok {
			t.Errorf("%s: %+v is returned twice", name, got)
		}
	}
}
