package payload

import (
	"slices"
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
		m.checkList(p.list)
	}
	if !m.queued {
		m.text(&p.id, true, &e.ID)
		e.Key = e.ID
	}
	m.fillType()
	m.fillTime(m.fillStatus())
	m.text(&p.source, false, &e.Source)
	if !m.queued && len(p.key.alternatives) > 0 {
		m.text(&p.key, true, &e.Key)
	}
	m.text(&p.shipment, true, &e.ShipmentID)
	m.text(&p.order, false, &e.OrderID)
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

// checkList says so when the list of checkpoints is none, or longer than it may be.
func (m *decoding) checkList(l *list) {
	m.faults.optional = true
	if c := m.values.kinds[l.node.id]; c != 0 && c != 'n' && c != '[' {
		m.faults.wrongKind(&m.values, l.node, "an array")
	}
	if m.tooMany {
		m.faults.at(l.node, "holds more than "+strconv.Itoa(MaxCheckpoints)+" checkpoints, of which the later ones count")
	}
	m.faults.optional = false
}

// fillType fills the event's type, which it can do without.
func (m *decoding) fillType() {
	e, kind := m.event, &m.plan.kind
	if m.text(kind, false, &e.Type); e.Type != "" {
		return
	}
	m.faults.optional = true
	m.faults.missing(&m.values, kind.alternatives, absent)
	m.faults.optional = false
	e.Type = DefaultType
}

// clockTime reads the time of the first template that holds one. Of those before it that
// hold something else, it says so; of one that lies too far ahead it returns [farAhead] as wrong.
func (m *decoding) clockTime(c *clock) (at time.Time, got found) {
	for i := range c.from {
		t := &c.from[i]
		var memory [64]byte
		b, one := m.values.join(memory[:0], t)
		switch one {
		case filled:
			var read time.Time
			if read, one = m.timeOf(c, t, strings.TrimSpace(unsafe.String(unsafe.SliceData(b), len(b)))); one == filled {
				return read, filled
			}
			if !read.IsZero() {
				at = read
			}
		case wrong:
			m.faults.parts(&m.values, t, wrong)
		default: // the next one may hold it
		}
		got = max(got, one)
	}
	return at, got
}

// timeOf reads the time that t is filled with.
func (m *decoding) timeOf(c *clock, t *template, text string) (at time.Time, got found) {
	at, ok := c.read(text)
	switch {
	case !ok:
		m.faults.atTemplate(t, c.expected)
	case at.Year() < minYear || at.Year() > maxYear:
		m.faults.atTemplate(t, "must be in the years "+strconv.Itoa(minYear)+" to "+strconv.Itoa(maxYear))
		if at.Year() > maxYear {
			return farAhead, wrong
		}
	default:
		return at, filled
	}
	return time.Time{}, wrong
}

// fillTime fills the event's time. One that can't be read is left out when the
// checkpoints or the receipt have another. ownStatus says that the event has a status
// beside its checkpoints.
func (m *decoding) fillTime(ownStatus bool) {
	before := len(m.faults.leftOut)
	m.faults.optional = true
	at, got := m.clockTime(&m.plan.time)
	m.faults.optional = false
	latest := m.newest(func(*event.Moment) bool { return true })
	if scan := m.present(); !ownStatus && scan != nil {
		latest = scan
	}
	receipt := m.plan.time.received && !m.received.IsZero()
	switch {
	case got == filled:
		m.event.OccurredAt = at
	case latest != nil && receipt:
		m.event.OccurredAt = m.timeByCheckpoints(latest.At, ownStatus)
	case latest != nil:
		m.event.OccurredAt = latest.At
	case receipt:
		m.event.OccurredAt = receiptOf(m.received)
	case got == wrong && at.Equal(farAhead):
		m.event.OccurredAt = at
	case got == wrong:
		if !m.faults.refuse(before) {
			m.faults.add("$", "has no time that can be read")
		}
	case len(m.plan.time.from) > 0:
		m.faults.missing(&m.values, m.plan.time.from, got)
	case m.plan.list != nil:
		if !m.faults.refuse(0) {
			m.faults.at(m.plan.list.node, "has no time")
		}
	default:
		m.faults.add("$", "has no time")
	}
}

// receiptOf is in whole seconds, as package journey has it where it does not believe a time.
func receiptOf(received time.Time) time.Time { return received.UTC().Truncate(time.Second) }

// pushDelay is how long a push may come after what it reports. Where a checkpoint is dated
// ahead, so that only the receipt is left, what another push reports of those minutes is newer.
const pushDelay = 20 * time.Minute

// timeByCheckpoints returns the time of an event that has none but in its checkpoints, of
// which the newest is latest: that, or the receipt where it can't be that of what the event
// says.
func (m *decoding) timeByCheckpoints(latest time.Time, ownStatus bool) time.Time {
	ahead := func(c event.Moment) bool { return c.Ahead(m.received) }
	receipt := receiptOf(m.received)
	switch dated := !latest.After(m.received); {
	case slices.ContainsFunc(m.event.Checkpoints, ahead):
		if after := latest.Add(time.Second); dated && after.After(receipt.Add(-pushDelay)) {
			return after
		}
		return receipt.Add(-pushDelay)
	case dated && (!ownStatus || !m.saysMore()):
		return latest
	default:
		return receipt
	}
}

// saysMore reports whether the event's own status is another than the newest checkpoint's.
func (m *decoding) saysMore() bool {
	e := m.event
	if len(m.plan.list.status.status) == 0 {
		return false
	}
	latest := m.newest(func(c *event.Moment) bool { return c.State != "" })
	for i := range e.Checkpoints {
		if c := &e.Checkpoints[i]; latest != nil && c.At.Equal(latest.At) && c.State == e.State && (c.State != shipment.Unknown || c.Status == e.Status) {
			return false
		}
	}
	return true
}

// fillStatus fills the event's status, and reports whether it has one of its own. Without
// one it is that of the checkpoint that says where the parcel is.
func (m *decoding) fillStatus() (own bool) {
	e, before := m.event, len(m.faults.leftOut)
	m.faults.optional = true
	readable := m.readStatus(&m.plan.status, &e.Status, &e.Substatus, &e.State)
	m.faults.optional = false
	if e.State != "" {
		return true
	}
	scan := m.present()
	switch {
	case !readable && scan == nil: // nothing is left to say
		if !m.faults.refuse(before) {
			m.faults.add("$", "has no status that can be read")
		}
	case scan != nil:
		e.Status, e.Substatus, e.State = scan.Status, scan.Substatus, scan.State
	}
	return false
}

// readStatus reads a status, if there is one. It says so, and reports false, when it is
// none that can be read.
func (m *decoding) readStatus(s *report, to, detail *string, state *shipment.State) bool {
	text, t, got := m.values.first(s.status)
	if got == wrong {
		m.faults.parts(&m.values, t, wrong)
		return false
	}
	if got != filled {
		return true
	}
	if hasControl(text) { // a line break in a text for people, as a rule
		if text = strings.TrimSpace(strings.Map(spaceForControl, text)); text == "" {
			return true
		}
	}
	if message := textFault(memberStatus, text); message != "" {
		m.faults.atTemplate(t, message)
		return false
	}
	substatus := m.substatus(s, text)
	switch of := s.states.of(text, substatus); of {
	case NoState:
	case shipment.Unknown:
		*to, *detail, *state = text, substatus, of
	default:
		*to, *state = text, of
	}
	return true
}

func spaceForControl(r rune) rune {
	if unicode.IsControl(r) {
		return ' '
	}
	return r
}

// substatus returns the first of the substatuses that the table lists with status, or else
// the first that there is.
func (m *decoding) substatus(s *report, status string) (first string) {
	for i := range s.substatus {
		t := &s.substatus[i]
		sub, got := m.values.fillIn(t)
		switch {
		case got == wrong:
			m.faults.parts(&m.values, t, wrong)
		case got != filled:
		case s.states.listsPair(status, sub):
			return sub
		case first == "" && textFault(memberStatus, sub) == "":
			first = sub
		}
	}
	return first
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
	if m.readStatus(&l.status, &c.Status, &c.Substatus, &c.State) {
		m.keep(c)
	}
}

// keep keeps a checkpoint. Past the bound it takes the place of an earlier one: in a
// list that starts with the oldest, of the oldest that is left.
func (m *decoding) keep(c event.Moment) {
	all := m.event.Checkpoints
	if len(all) < MaxCheckpoints {
		m.event.Checkpoints = append(all, c)
		return
	}
	m.tooMany = true
	if earlier := &all[m.faults.index%MaxCheckpoints]; c.At.After(earlier.At) {
		*earlier = c
	}
}

// newest returns the newest checkpoint of those that count, by rank at the same
// instant; one that is dated ahead only if there is no other, and nil when none counts.
func (m *decoding) newest(counts func(*event.Moment) bool) (newest *event.Moment) {
	for i := range m.event.Checkpoints {
		c := &m.event.Checkpoints[i]
		if !counts(c) {
			continue
		}
		if newest == nil || later(c, newest, m.received) {
			newest = c
		}
	}
	return newest
}

// present returns the checkpoint that says where the parcel is, nil for none: the newest one
// with a status, or the end of its journey if nothing since then opened another one. A status
// that is not mapped is the courier's last word all the same.
func (m *decoding) present() *event.Moment {
	latest := m.newest(func(c *event.Moment) bool { return c.State != "" })
	end := m.newest(func(c *event.Moment) bool { return c.State.Arrived() })
	if latest == nil || end == nil || latest.State == shipment.Unknown {
		return latest
	}
	for i := range m.event.Checkpoints {
		if c := &m.event.Checkpoints[i]; later(c, end, m.received) && c.State.OpensLeg(c.At.Sub(end.At)) {
			return latest
		}
	}
	return end
}

// later reports whether a is newer than b in a history that was received then.
func later(a, b *event.Moment, received time.Time) bool {
	if ahead := a.Ahead(received); ahead != b.Ahead(received) {
		return !ahead
	}
	return a.At.After(b.At) || a.At.Equal(b.At) && a.State.Rank() > b.State.Rank()
}
