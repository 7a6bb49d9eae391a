package load

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

// Bounds of a series: it has at most maxSlots slots; when a run lasts longer, each two
// adjacent slots are merged.
const (
	maxSlots  = 360
	firstSlot = 250 * time.Millisecond
)

// series is what happened over time, in slots of equal width. The zero value is
// empty. Memory is bounded, however long a run lasts.
type series struct {
	width time.Duration
	slots []*slot
}

// slot is one stretch of time.
type slot struct {
	latencies histogram // of acknowledged events that were due in it
	answered  uint32    // acknowledged in it
	failed    uint32    // valid ones that ended otherwise in it
}

// join adds what o has counted.
func (s *slot) join(o *slot) {
	s.latencies.merge(&o.latencies)
	s.answered += o.answered
	s.failed += o.failed
}

// at returns the slot of a time since the start.
func (s *series) at(since time.Duration) *slot {
	if s.width == 0 {
		s.width = firstSlot
	}
	for since >= s.width*maxSlots {
		s.halve()
	}
	i := int(max(since, 0) / s.width)
	for len(s.slots) <= i {
		s.slots = append(s.slots, &slot{})
	}
	return s.slots[i]
}

// halve merges each two adjacent slots.
func (s *series) halve() {
	s.width *= 2
	for i := 0; i < len(s.slots); i += 2 {
		first := s.slots[i]
		if i+1 < len(s.slots) {
			first.join(s.slots[i+1])
		}
		s.slots[i/2] = first
	}
	s.slots = s.slots[:(len(s.slots)+1)/2]
}

// Moment is one slot of a run, as reports have it.
type Moment struct {
	At           float64 `json:"atSeconds"`             // since the start, where the slot begins
	Acknowledged float64 `json:"acknowledgedPerSecond"` // answered in it
	Failed       float64 `json:"failedPerSecond"`       // valid ones that were not acknowledged
	// Latencies of those that were due in it; absent where none was.
	P50 float64 `json:"p50Seconds,omitempty"`
	P95 float64 `json:"p95Seconds,omitempty"`
	P99 float64 `json:"p99Seconds,omitempty"`
	Max float64 `json:"maxSeconds,omitempty"`
}

// moments returns the slots of a run that lasted so long. What is left over at
// its end, shorter than half a slot, joins the one before.
func (s *series) moments(lasted time.Duration) []Moment {
	var all []Moment
	for i := 0; i < len(s.slots); i++ {
		slot, begin, width := *s.slots[i], time.Duration(i)*s.width, s.width
		if end := begin + width; i == len(s.slots)-2 && lasted-end < s.width/2 {
			i++
			slot.join(s.slots[i])
			width = lasted - begin
		} else if i == len(s.slots)-1 {
			width = lasted - begin
		}
		all = append(all, slot.moment(begin, max(width, s.width/10)))
	}
	return all
}

func (s *slot) moment(begin, width time.Duration) Moment {
	l := &s.latencies
	return Moment{
		At: begin.Seconds(), Acknowledged: float64(s.answered) / width.Seconds(), Failed: float64(s.failed) / width.Seconds(),
		P50: l.quantile(0.5).Seconds(), P95: l.quantile(0.95).Seconds(), P99: l.quantile(0.99).Seconds(), Max: l.max.Seconds(),
	}
}
