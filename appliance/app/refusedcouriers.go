package app

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fincart/courier-gateway/ingest/event"
)

const (
	// allRefused is from how many refusals on, with no event accepted among them, a
	// courier counts as refused altogether.
	allRefused = 10
	// refusedFor is for how long after its last refusal it does.
	refusedFor = time.Hour
	// requestsMetric counts answered requests by courier and code.
	requestsMetric = "courier_gateway_ingest_requests_total"
)

// refusedCouriers finds couriers of which every event is refused, from the intake's
// own figures: wrong settings on either side, which stay unnoticed as long as the
// other couriers come through.
type refusedCouriers struct {
	figures  prometheus.Gatherer
	couriers func() []string // active
	now      func() time.Time
	of       map[string]*refusedCourier
}

type refusedCourier struct {
	accepted, refused float64   // counted by the intake so far
	row               float64   // refused since the last event that was accepted
	first, last       time.Time // of that row
	code              string    // the most frequent one, of all time
}

// update counts what the intake has answered until now. One caller at a time.
func (w *refusedCouriers) update() {
	all, err := answersOf(w.figures)
	if err != nil {
		return // what could not be counted now is counted next time
	}
	for courier, f := range all {
		c := w.of[courier]
		if c == nil {
			c = &refusedCourier{}
			w.of[courier] = c
		}
		c.count(f.accepted, f.refused, w.now())
		c.code = f.code
	}
}

// answered is how many requests of a courier the intake has answered.
type answered struct {
	accepted, refused float64
	most              float64 // of refused, with code
	code              string
}

// answersOf reads them by courier from the intake's metrics.
func answersOf(figures prometheus.Gatherer) (map[string]*answered, error) {
	families, err := figures.Gather()
	all := map[string]*answered{}
	for _, family := range families {
		if family.GetName() != requestsMetric {
			continue
		}
		for _, metric := range family.GetMetric() {
			labels := map[string]string{}
			for _, label := range metric.GetLabel() {
				labels[label.GetName()] = label.GetValue()
			}
			f := all[labels["courier"]]
			if f == nil {
				f = &answered{}
				all[labels["courier"]] = f
			}
			f.add(labels["code"], metric.GetCounter().GetValue())
		}
	}
	return all, err
}

// add adds n requests that were answered with code.
func (f *answered) add(code string, n float64) {
	switch code {
	case "ACCEPTED", "DUPLICATE", "CONFLICT":
		f.accepted += n
	case "HANDSHAKE", "IGNORED", string(event.RateLimited), string(event.IntakeUnavailable), string(event.Internal):
		// no sign of wrong settings
	default:
		f.refused += n
		if n > f.most {
			f.most, f.code = n, code
		}
	}
}

func (c *refusedCourier) count(accepted, refused float64, now time.Time) {
	if accepted > c.accepted || now.Sub(c.last) > refusedFor {
		c.row = 0
	}
	if more := refused - c.refused; more > 0 && accepted == c.accepted {
		if c.row == 0 {
			c.first = now
		}
		c.row, c.last = c.row+more, now
	}
	c.accepted, c.refused = accepted, refused
}

// problems returns the couriers all of whose requests were refused of late.
func (w *refusedCouriers) problems() (problems []string) {
	for _, name := range w.couriers() {
		c := w.of[name]
		if c == nil || c.row < allRefused || w.now().Sub(c.last) > refusedFor {
			continue
		}
		problems = append(problems, fmt.Sprintf(
			"courier %s: all of its %.0f requests since %s were refused, most with %s: "+
				"`appliance rejections list --courier %s` has them, `appliance couriers test` says what is wrong with one",
			name, c.row, c.first.UTC().Format(time.RFC3339), c.code, name))
	}
	return problems
}
