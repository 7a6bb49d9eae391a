package event

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Years within which an event may have happened. They keep the time inside what
// 64 bits of nanoseconds hold, which is how stores order events.
const (
	minYear = 1970
	maxYear = 2261
)

// member is a member of the canonical body that Decode reads; its bits record
// which of them a body had.
type member uint16

const (
	memberID member = 1 << iota
	memberType
	memberOccurredAt
	memberSource
	memberKey
	memberPayload
	memberShipmentID
	memberOrderID
	memberStatus
)

// required lists the members that a body must have, in canonical order.
var required = [...]member{
	memberID, memberType, memberOccurredAt, memberSource, memberKey, memberPayload, memberShipmentID,
}

func (m member) path() string {
	switch m {
	case memberID:
		return "eventId"
	case memberType:
		return "eventType"
	case memberOccurredAt:
		return "occurredAt"
	case memberSource:
		return "source"
	case memberKey:
		return "idempotencyKey"
	case memberPayload:
		return "payload"
	case memberShipmentID:
		return "payload.shipmentId"
	case memberOrderID:
		return "payload.orderId"
	default:
		return "payload.status"
	}
}

func (m member) optional() bool { return m == memberOrderID || m == memberStatus }

// maxBytes returns the limit on the member's text.
func (m member) maxBytes() int {
	if m == memberKey {
		return MaxKeyBytes
	}
	return MaxIDBytes
}

// Decode fills e from a courier's canonical body, appends every fault it finds
// to faults and returns the result; e is usable when nothing was appended.
//
// A body that isn't JSON has one fault, at "$", which says what was expected at
// which byte. In a JSON body each member that Decode reads is checked, and none
// of them may stand there twice, because two readers could then disagree on its
// value. Other members may hold anything. A null optional member counts as absent.
//
// Decode neither changes nor keeps body, but e shares its memory (see [Event]).
// A good body without escapes in the members read costs no allocation.
func (e *Event) Decode(body []byte, faults []Fault) []Fault {
	*e = Event{}
	d := decoder{scanner: scanner{src: body}, event: e, faults: faults}
	d.document()
	if d.failed() {
		return append(d.faults[:len(faults)], Fault{Path: "$", Message: d.problem()})
	}
	return d.faults
}

type decoder struct {
	scanner
	event   *Event
	faults  []Fault
	seen    member // members met so far
	doubled member // of those, the ones whose repetition has been reported
	inside  bool   // payload was an object, so that its members count
}

// document consumes the whole body.
func (d *decoder) document() {
	d.space()
	c := d.peek()
	if c == '{' {
		for ok := d.enter('}'); ok; ok = d.more('}') {
			d.topMember(d.key())
		}
	} else {
		d.skip()
	}
	d.space()
	switch {
	case d.failed():
	case d.pos < len(d.src):
		d.fail("the end of the body")
	case c != '{':
		d.faults = append(d.faults, Fault{Path: "$", Message: "must be an object, is " + kind(c)})
	default:
		d.requireAll()
	}
}

func (d *decoder) topMember(name string) {
	switch name {
	case "eventId":
		d.text(memberID, &d.event.ID)
	case "eventType":
		d.text(memberType, &d.event.Type)
	case "occurredAt":
		d.time(memberOccurredAt, &d.event.OccurredAt)
	case "source":
		d.text(memberSource, &d.event.Source)
	case "idempotencyKey":
		d.text(memberKey, &d.event.Key)
	case "payload":
		d.payload()
	default:
		d.skip()
	}
}

func (d *decoder) payload() {
	if !d.first(memberPayload) {
		d.skip()
		return
	}
	d.inside = true
	for ok := d.enter('}'); ok; ok = d.more('}') {
		d.payloadMember(d.key())
	}
}

func (d *decoder) payloadMember(name string) {
	switch name {
	case "shipmentId":
		d.text(memberShipmentID, &d.event.ShipmentID)
	case "orderId":
		d.text(memberOrderID, &d.event.OrderID)
	case "status":
		d.text(memberStatus, &d.event.Status)
	default:
		d.skip()
	}
}

// first records that m is met. When it was met before, or when it has another
// type than is wanted, it reports so and the value is to be skipped.
func (d *decoder) first(m member) bool {
	if d.seen&m != 0 {
		if d.doubled&m == 0 {
			d.doubled |= m
			d.fault(m, "appears more than once")
		}
		return false
	}
	d.seen |= m
	want, start := "a string", byte('"')
	if m == memberPayload {
		want, start = "an object", '{'
	}
	c := d.peek()
	if c == start {
		return true
	}
	if c != 'n' || !m.optional() {
		d.fault(m, "must be "+want+", is "+kind(c))
	}
	return false
}

// text consumes the value of a member that holds text.
func (d *decoder) text(m member, to *string) {
	if !d.first(m) {
		d.skip()
		return
	}
	*to = d.str()
	if msg := textFault(m, *to); msg != "" {
		d.fault(m, msg)
	}
}

func (d *decoder) time(m member, to *time.Time) {
	if !d.first(m) {
		d.skip()
		return
	}
	at, ok := parseTime(d.str())
	switch {
	case !ok:
		d.fault(m, "must be an RFC 3339 time such as 2026-02-26T12:00:00Z")
	case at.Year() < minYear || at.Year() > maxYear:
		d.fault(m, "must be in the years "+strconv.Itoa(minYear)+" to "+strconv.Itoa(maxYear))
	}
	*to = at
}

func (d *decoder) fault(m member, message string) {
	d.faults = append(d.faults, Fault{Path: m.path(), Message: message})
}

func (d *decoder) requireAll() {
	for _, m := range required {
		if d.seen&m == 0 && (m != memberShipmentID || d.inside) {
			d.fault(m, "is missing")
		}
	}
}

// textFault returns what is wrong with the text of m, "" when nothing is. Texts
// that identify something become header values and database keys, where white
// space at the ends would be lost and control characters would do harm.
func textFault(m member, text string) string {
	switch {
	case text == "" && !m.optional():
		return "must not be empty"
	case len(text) > m.maxBytes():
		return "must not be longer than " + strconv.Itoa(m.maxBytes()) + " bytes"
	case hasControl(text):
		return "must not hold control characters"
	case m != memberStatus && strings.TrimSpace(text) != text:
		return "must not start or end with white space"
	default:
		return ""
	}
}

func hasControl(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c >= 0x7f {
			return c < utf8.RuneSelf || strings.ContainsFunc(text[i:], unicode.IsControl)
		}
	}
	return false
}

// kind names the type of the value that starts with c.
func kind(c byte) string {
	switch c {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	default:
		return "a number"
	}
}
