package bench

import (
	"math/bits"
	"time"
)

// Latencies are counted in buckets: up to 128 µs one for each microsecond, above
// that 64 for each doubling, so that a reading is at most 1.6 % too high. The
// last bucket takes everything from four minutes on.
const (
	perDoubling = 64
	doublings   = 22
	buckets     = (doublings + 1) * perDoubling
)

// histogram counts latencies. The zero value is empty. Its size is fixed,
// whatever it counts.
type histogram struct {
	counts [buckets]uint32 // of one bucket at most 4 billion
	n      uint64
	sum    time.Duration
	max    time.Duration
}

func bucketOf(d time.Duration) int {
	us := uint64(max(d, 0) / time.Microsecond)
	if us < perDoubling {
		return int(us)
	}
	shift := bits.Len64(us) - bits.Len64(perDoubling)
	return min(shift*perDoubling+int(us>>shift), buckets-1)
}

// upperEdge returns the latency that no latency in bucket i reaches.
func upperEdge(i int) time.Duration {
	shift := max(i/perDoubling-1, 0)
	return time.Duration(i-shift*perDoubling+1) << shift * time.Microsecond
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucketOf(d)]++
	h.n++
	h.sum += d
	h.max = max(h.max, d)
}

// merge adds what o has counted.
func (h *histogram) merge(o *histogram) {
	for i, c := range o.counts {
		h.counts[i] += c
	}
	h.n += o.n
	h.sum += o.sum
	h.max = max(h.max, o.max)
}

// quantile returns the latency that a share q of all are within, 0 when there is
// none.
func (h *histogram) quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	rank := uint64(q*float64(h.n) + 0.5)
	seen := uint64(0)
	for i, c := range h.counts {
		if seen += uint64(c); c > 0 && seen >= rank {
			return min(upperEdge(i), h.max)
		}
	}
	return h.max
}

// mean returns the average, 0 when there is none.
func (h *histogram) mean() time.Duration {
	if h.n == 0 {
		return 0
	}
	return h.sum / time.Duration(h.n)
}

// DistributionPoint says that a share of the latencies is within a time.
type DistributionPoint struct {
	Share   float64 `json:"share"`
	Seconds float64 `json:"seconds"`
}

// distribution returns a point for each bucket that has any, in their order.
func (h *histogram) distribution() (points []DistributionPoint) {
	seen := uint64(0)
	for i, c := range h.counts {
		if c == 0 {
			continue
		}
		seen += uint64(c)
		points = append(points, DistributionPoint{
			Share: float64(seen) / float64(h.n), Seconds: min(upperEdge(i), h.max).Seconds(),
		})
	}
	return points
}
