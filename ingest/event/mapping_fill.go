package event

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unsafe"
)

// fill fills the event from the notes.
func (m *reading) fill() {
	p, e := m.plan, m.event
	if p.list != nil {
		if c := m.kinds[p.list.node.id]; c != 0 && c != 'n' && c != '[' {
			m.blameKind(p.list.node, "an array")
		}
	}
	if !m.queued {
		m.text(&p.id, true, &e.ID)
		e.Key = e.ID
	}
	m.text(&p.kind, true, &e.Type)
	m.occurred()
	m.text(&p.source, false, &e.Source)
	if !m.queued && len(p.key.alternatives) > 0 {
		m.text(&p.key, true, &e.Key)
	}
	m.text(&p.shipment, true, &e.ShipmentID)
	m.text(&p.order, false, &e.OrderID)
	m.told()
	if m.queued {
		m.single()
	}
}

// single finds fault with elements that nobody reads.
func (m *reading) single() {
	for _, n := range m.plan.extra {
		if c := m.kinds[n.id]; c != 0 && c != 'n' {
			m.blame(n, "is not read: an event tells of one shipment, and this is another")
		}
	}
}

// clockTime reads the time of the first template that can be filled. When that is
// no time, it says so.
func (m *reading) clockTime(c *clock) (at time.Time, got found) {
	for i := range c.from {
		t := &c.from[i]
		var room [64]byte
		b, one := m.join(room[:0], t)
		if one == wrong {
			m.blameParts(t, wrong)
			return at, wrong
		}
		got = max(got, one)
		if one < filled {
			continue
		}
		at, ok := c.read(unsafe.String(unsafe.SliceData(b), len(b)))
		switch {
		case !ok:
			m.faultAt(t, c.expected)
		case at.Year() < minYear || at.Year() > maxYear:
			m.faultAt(t, "must be in the years "+strconv.Itoa(minYear)+" to "+strconv.Itoa(maxYear))
		default:
			return at, filled
		}
		return at, wrong
	}
	return at, got
}

// occurred fills the event's time.
func (m *reading) occurred() {
	at, got := m.clockTime(&m.plan.time)
	latest := m.newest(func(*Moment) bool { return true })
	switch {
	case got >= wrong:
		m.event.OccurredAt = at
	case latest != nil:
		m.event.OccurredAt = latest.At
	case m.plan.time.received && !m.received.IsZero():
		m.event.OccurredAt = m.received.UTC()
	case len(m.plan.time.from) > 0:
		m.missing(m.plan.time.from, got)
	case m.plan.list != nil:
		m.blame(m.plan.list.node, "tells no time")
	default:
		m.fault("$", "tells no time")
	}
}

// told fills the event's status, and adds it to the checkpoints when they tell
// something else.
func (m *reading) told() {
	e := m.event
	m.readStatus(&m.plan.status, &e.Status, &e.State)
	latest := m.newest(func(c *Moment) bool { return c.State != "" })
	switch {
	case len(e.Checkpoints) == 0:
	case e.State == "" && latest != nil:
		e.Status, e.State = latest.Status, latest.State
	case e.State == "" || e.State == StateUnknown:
	case latest == nil || latest.State != e.State:
		e.Checkpoints = append(e.Checkpoints, Moment{At: e.OccurredAt, State: e.State, Status: e.Status})
	}
}

func (m *reading) readStatus(s *report, to *string, state *State) {
	text, t, got := m.first(s.status)
	if got == wrong {
		m.blameParts(t, wrong)
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
		m.faultAt(t, message)
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
func (m *reading) listed(s *report, status string) string {
	for i := range s.substatus {
		t := &s.substatus[i]
		sub, got := m.fillIn(t)
		if got == wrong {
			m.blameParts(t, wrong)
			return ""
		}
		if got == filled && s.states.lists(status, sub) {
			return sub
		}
	}
	return ""
}

// addCheckpoint adds what an element of the list tells.
func (m *reading) addCheckpoint(l *list) {
	if c := m.kinds[l.element.id]; !l.element.fits(c) {
		if c != 'n' {
			m.blameKind(l.element, l.element.wants())
		}
		return
	}
	at, got := m.clockTime(&l.time)
	if got != filled {
		return
	}
	c := Moment{At: at}
	m.readStatus(&l.status, &c.Status, &c.State)
	m.event.Checkpoints = append(m.event.Checkpoints, c)
}

// newest returns the newest checkpoint of those that count, by rank at the same
// instant; nil when none counts.
func (m *reading) newest(counts func(*Moment) bool) (newest *Moment) {
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
