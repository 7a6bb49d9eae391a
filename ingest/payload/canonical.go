package payload

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/jsontext"
)

// Limits on what a body says. Names end up in broker headers and database keys, so
// they are bounded before anything is queued.
const (
	// MaxIDBytes bounds eventId, eventType, source, shipmentId, orderId and
	// status, in bytes of UTF-8.
	MaxIDBytes = 256
	// MaxKeyBytes bounds idempotencyKey, in bytes of UTF-8.
	MaxKeyBytes = 512
	// MaxCheckpoints bounds the checkpoints of one cumulative push.
	MaxCheckpoints = 1000
)

// Years within which an event may have happened. They keep the time inside what
// 64 bits of nanoseconds hold, which is how stores order events.
const (
	minYear = 1970
	maxYear = 2261
)

// farAhead stands for every time after [maxYear]: it is no reason to lose an event, whose
// time becomes that of its receipt all the same.
var farAhead = time.Date(maxYear, time.December, 31, 0, 0, 0, 0, time.UTC)

// member is a member of the canonical body that DecodeCanonical reads; its bits record
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

// DecodeCanonical fills e from a canonical body, appends every fault it finds to
// faults and returns the result; e is usable when nothing was appended.
//
// A body that isn't JSON has one fault, at "$", which says what was expected at
// which byte. In a JSON body each member that is read is checked, and none
// of them may be there twice, because two readers could then disagree on its
// value. Other members may hold anything. A null optional member counts as absent.
//
// The body is neither changed nor kept, but e shares its memory (see [event.Event]).
// A good body without escapes in the members read costs no allocation.
func DecodeCanonical(body []byte, e *event.Event, faults event.Faults) event.Faults {
	*e = event.Event{}
	c := canonical{Scanner: jsontext.NewScanner(body), event: e, faults: faults}
	c.document()
	if c.Failed() {
		return append(c.faults[:len(faults)], event.Fault{Path: "$", Message: c.Problem()})
	}
	return c.faults
}

// canonical is one decode of a canonical body.
type canonical struct {
	jsontext.Scanner
	event   *event.Event
	faults  event.Faults
	seen    member // members met so far
	doubled member // of those, the ones whose repetition has been reported
	inside  bool   // payload was an object, so that its members count
}

// document consumes the whole body.
func (c *canonical) document() {
	c.Space()
	start := c.Peek()
	if start == '{' {
		for ok := c.Enter('}'); ok; ok = c.More('}') {
			c.topMember(c.Key())
		}
	} else {
		c.Skip()
	}
	c.End()
	switch {
	case c.Failed():
	case start != '{':
		c.faults = append(c.faults, event.Fault{Path: "$", Message: "must be an object, is " + jsontext.Kind(start)})
	default:
		c.requireAll()
	}
}

func (c *canonical) topMember(name string) {
	switch name {
	case "eventId":
		c.text(memberID, &c.event.ID)
	case "eventType":
		c.text(memberType, &c.event.Type)
	case "occurredAt":
		c.time(memberOccurredAt, &c.event.OccurredAt)
	case "source":
		c.text(memberSource, &c.event.Source)
	case "idempotencyKey":
		c.text(memberKey, &c.event.Key)
	case "payload":
		c.payload()
	default:
		c.Skip()
	}
}

func (c *canonical) payload() {
	if !c.first(memberPayload) {
		c.Skip()
		return
	}
	c.inside = true
	for ok := c.Enter('}'); ok; ok = c.More('}') {
		c.payloadMember(c.Key())
	}
}

func (c *canonical) payloadMember(name string) {
	switch name {
	case "shipmentId":
		c.text(memberShipmentID, &c.event.ShipmentID)
	case "orderId":
		c.text(memberOrderID, &c.event.OrderID)
	case "status":
		c.text(memberStatus, &c.event.Status)
	default:
		c.Skip()
	}
}

// first records that m is met. When it was met before, or when it has another
// type than is wanted, it reports so and the value is to be skipped.
func (c *canonical) first(m member) bool {
	if c.seen&m != 0 {
		if c.doubled&m == 0 {
			c.doubled |= m
			c.fault(m, doubled)
		}
		return false
	}
	c.seen |= m
	want, opening := "a string", byte('"')
	if m == memberPayload {
		want, opening = "an object", '{'
	}
	start := c.Peek()
	if start == opening {
		return true
	}
	if start != 'n' || !m.optional() {
		c.fault(m, "must be "+want+", is "+jsontext.Kind(start))
	}
	return false
}

// text consumes the value of a member that holds text.
func (c *canonical) text(m member, to *string) {
	if !c.first(m) {
		c.Skip()
		return
	}
	text, whole := c.Text()
	*to = text
	if !whole {
		c.fault(m, "must not hold "+halfPair)
	} else if msg := textFault(m, text); msg != "" {
		c.fault(m, msg)
	}
}

func (c *canonical) time(m member, to *time.Time) {
	if !c.first(m) {
		c.Skip()
		return
	}
	text, _ := c.Text() // half a surrogate pair is in no time
	at, ok := parseTime(text)
	switch {
	case !ok:
		c.fault(m, "must be an RFC 3339 time such as 2026-02-26T12:00:00Z")
	case at.Year() > maxYear:
		at = farAhead
	case at.Year() < minYear:
		c.fault(m, "must be in the years "+strconv.Itoa(minYear)+" to "+strconv.Itoa(maxYear))
	}
	*to = at
}

func (c *canonical) fault(m member, message string) {
	c.faults = append(c.faults, event.Fault{Path: m.path(), Message: message})
}

func (c *canonical) requireAll() {
	for _, m := range required {
		if c.seen&m == 0 && (m != memberShipmentID || c.inside) {
			c.fault(m, "is missing")
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

// doubled says what is wrong with a member that is there twice.
const doubled = "appears more than once, and readers disagree on which counts (RFC 8259, section 4)"

// halfPair names the one thing that JSON allows and no text may hold that an event is made of.
const halfPair = "half a surrogate pair, on whose meaning readers disagree (RFC 8259, section 8.2)"

func hasControl(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c >= 0x7f {
			return c < utf8.RuneSelf || strings.ContainsFunc(text[i:], unicode.IsControl)
		}
	}
	return false
}
