package load

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestQuantilesAreWithinABucket(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	var h histogram
	var all []time.Duration
	for range 20_000 {
		d := time.Duration(random.ExpFloat64() * float64(3*time.Millisecond))
		h.add(d)
		all = append(all, d)
	}
	slices.Sort(all)
	for _, q := range []float64{0.01, 0.5, 0.9, 0.95, 0.99, 0.999, 1} {
		want, got := all[int(q*float64(len(all)-1))], h.quantile(q)
		if got < want-2*time.Microsecond || got > want+want/50+2*time.Microsecond {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if h.quantile(1) != all[len(all)-1] {
		t.Errorf("the slowest is %v, want %v", h.quantile(1), all[len(all)-1])
	}
	points := h.distribution()
	for i := 1; i < len(points); i++ {
		if points[i].Share <= points[i-1].Share || points[i].Seconds < points[i-1].Seconds {
			t.Fatalf("%+v follows %+v", points[i], points[i-1])
		}
	}
	if last := points[len(points)-1]; last.Share != 1 || last.Seconds != h.max.Seconds() {
		t.Errorf("the distribution ends with %+v", last)
	}
}

func TestBucketsAreGapless(t *testing.T) {
	t.Parallel()
	for i := range buckets {
		edge := upperEdge(i)
		if got := bucketOf(edge - time.Microsecond); got != i {
			t.Fatalf("%v is in bucket %d, want %d", edge-time.Microsecond, got, i)
		}
		if got := bucketOf(edge); got != min(i+1, buckets-1) {
			t.Fatalf("%v is in bucket %d, want %d", edge, got, i+1)
		}
	}
	if bucketOf(-time.Second) != 0 || bucketOf(24*time.Hour) != buckets-1 {
		t.Error("what is out of range is not in the outer buckets")
	}
}

func TestEmptyHistogram(t *testing.T) {
	t.Parallel()
	var h histogram
	if h.quantile(0.99) != 0 || h.mean() != 0 || h.distribution() != nil {
		t.Error("nothing has latencies")
	}
}

func TestSeriesIsBounded(t *testing.T) {
	t.Parallel()
	var s series
	const hits = 100_000
	for i := range hits {
		s.at(time.Duration(i)*10*time.Millisecond).answered++
		s.at(time.Duration(i) * 10 * time.Millisecond).latencies.add(time.Millisecond)
	}
	if len(s.slots) > maxSlots || s.width < firstSlot*2 {
		t.Errorf("%d slots of %v", len(s.slots), s.width)
	}
	lasted := hits * 10 * time.Millisecond
	moments := s.moments(lasted)
	answered, counted := uint32(0), uint64(0)
	for i, m := range moments {
		answered += s.slots[i].answered
		counted += s.slots[i].latencies.n
		if m.Acknowledged < 95 || m.Acknowledged > 105 || m.P99 < 0.001 || m.P99 > 0.0011 {
			t.Errorf("%+v, want 100 a second in 1 ms", m)
		}
	}
	if answered != hits || counted != hits {
		t.Errorf("%d answered, %d latencies, want %d", answered, counted, hits)
	}
}
