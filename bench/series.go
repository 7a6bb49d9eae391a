package bench

import "time"

// Bounds of a series: it has at most maxSlots slots; when a run lasts longer two
// neighbours become one.
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

// halve makes each two neighbours one.
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
