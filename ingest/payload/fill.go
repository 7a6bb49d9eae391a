package payload

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unsafe"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
)

// fill fills the event from the values that value has recorded.
func (m *decoding) fill() {
	p, e := m.plan, m.event
	if p.list != nil {
		if c := m.values.kinds[p.list.node.id]; c != 0 && c != 'n' && c != '[' {
			m.faults.wrongKind(&m.values, p.list.node, "an array")
		}
	}
	if !m.queued {
		m.text(&p.id, true, &e.ID)
		e.Key = e.ID
	}
	m.text(&p.kind, true, &e.Type)
	m.fillTime()
	m.text(&p.source, false, &e.Source)
	if !m.queued && len(p.key.alternatives) > 0 {
		m.text(&p.key, true, &e.Key)
	}
	m.text(&p.shipment, true, &e.ShipmentID)
	m.text(&p.order, false, &e.OrderID)
	m.fillStatus()
	if m.queued {
		m.single()
	}
}

// single adds a fault for each element that is there and not read.
func (m *decoding) single() {
	for _, n := range m.plan.extra {
		if c := m.values.kinds[n.id]; c != 0 && c != 'n' {
			m.faults.at(n, "is not read: an event is about one shipment, and this is another")
		}
	}
}

// clockTime reads the time of the first template that can be filled. When that is
// no time, it says so.
func (m *decoding) clockTime(c *clock) (at time.Time, got found) {
	for i := range c.from {
		t := &c.from[i]
		var memory [64]byte
		b, one := m.values.join(memory[:0], t)
		if one == wrong {
			m.faults.parts(&m.values, t, wrong)
			return at, wrong
		}
		got = max(got, one)
		if one < filled {
			continue
		}
		at, ok := c.read(unsafe.String(unsafe.SliceData(b), len(b)))
		switch {
		case !ok:
			m.faults.atTemplate(t, c.expected)
		case at.Year() < minYear || at.Year() > maxYear:
			m.faults.atTemplate(t, "must be in the years "+strconv.Itoa(minYear)+" to "+strconv.Itoa(maxYear))
		default:
			return at, filled
		}
		return at, wrong
	}
	return at, got
}

// fillTime fills the event's time.
func (m *decoding) fillTime() {
	at, got := m.clockTime(&m.plan.time)
	latest := m.newest(func(*event.Moment) bool { return true })
	switch {
	case got >= wrong:
		m.event.OccurredAt = at
	case latest != nil:
		m.event.OccurredAt = latest.At
	case m.plan.time.received && !m.received.IsZero():
		m.event.OccurredAt = m.received.UTC()
	case len(m.plan.time.from) > 0:
		m.faults.missing(&m.values, m.plan.time.from, got)
	case m.plan.list != nil:
		m.faults.at(m.plan.list.node, "has no time")
	default:
		m.faults.add("$", "has no time")
	}
}

// fillStatus fills the event's status, and adds it to the checkpoints when their
// newest status is another.
func (m *decoding) fillStatus() {
	e := m.event
	m.readStatus(&m.plan.status, &e.Status, &e.State)
	latest := m.newest(func(c *event.Moment) bool { return c.State != "" })
	switch {
	case len(e.Checkpoints) == 0:
	case e.State == "" && latest != nil:
		e.Status, e.State = latest.Status, latest.State
	case e.State == "" || e.State == shipment.Unknown:
	case latest == nil || latest.State != e.State:
		e.Checkpoints = append(e.Checkpoints, event.Moment{At: e.OccurredAt, State: e.State, Status: e.Status})
	}
}

func (m *decoding) readStatus(s *report, to *string, state *shipment.State) {
	text, t, got := m.values.first(s.status)
	if got == wrong {
		m.faults.parts(&m.values, t, wrong)
	}
	if got != filled {
		return
	}
	if hasControl(text) { // a line break in a text for people, as a rule
		if text = strings.TrimSpace(strings.Map(spaceForControl, text)); text == "" {
			return
		}
	}
	if message := textFault(memberStatus, text); message != "" {
		m.faults.atTemplate(t, message)
	}
	*to, *state = text, s.states.of(text, m.listed(s, text))
}

func spaceForControl(r rune) rune {
	if unicode.IsControl(r) {
		return ' '
	}
	return r
}

// listed returns the first of the substatuses that the table lists with status; "" when
// it lists none of them.
func (m *decoding) listed(s *report, status string) string {
	for i := range s.substatus {
		t := &s.substatus[i]
		sub, got := m.values.fillIn(t)
		if got == wrong {
			m.faults.parts(&m.values, t, wrong)
			return ""
		}
		if got == filled && s.states.lists(status, sub) {
			return sub
		}
	}
	return ""
}

// addCheckpoint adds the checkpoint of an element of the list.
func (m *decoding) addCheckpoint(l *list) {
	if c := m.values.kinds[l.element.id]; !l.element.fits(c) {
		if c != 'n' {
			m.faults.wrongKind(&m.values, l.element, l.element.wants())
		}
		return
	}
	at, got := m.clockTime(&l.time)
	if got != filled {
		return
	}
	c := event.Moment{At: at}
	m.readStatus(&l.status, &c.Status, &c.State)
	m.event.Checkpoints = append(m.event.Checkpoints, c)
}

// newest returns the newest checkpoint of those that count, by rank at the same
// instant; nil when none counts.
func (m *decoding) newest(counts func(*event.Moment) bool) (newest *event.Moment) {
	for i := range m.event.Checkpoints {
		c := &m.event.Checkpoints[i]
		if !counts(c) {
			continue
		}
		if newest == nil || c.At.After(newest.At) || c.At.Equal(newest.At) && c.State.Rank() > newest.State.Rank() {
			newest = c
		}
	}
	return newest
}
