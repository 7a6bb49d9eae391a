// Package payload reads the bodies that couriers post.
//
// A body comes in, with the headers of its request, and an [event.Event] goes out,
// or every fault of the body. The canonical body is read by [DecodeCanonical]; what
// another sender posts is read by its [Mapping], which [NewDecoder] compiles once
// for all requests. The intake decodes a request by [Decoder.Decode]; the worker
// decodes the same body from the queue by [Decoder.DecodeQueued], which appliance/app
// hands to it as a function.
//
// It knows no HTTP server and no queue, and does no I/O.
package payload

import (
	"slices"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/ingest/jsontext"
)

// DefaultType is the type of events whose [Mapping] says nothing about it.
const DefaultType = "shipment.status.updated"

// Mapping says where a sender's own JSON holds what an [event.Event] is made of. The
// zero Mapping is that of the canonical body, which [DecodeCanonical] reads.
//
// Each place is a list of templates, of which the first that can be filled
// counts. A template is text with placeholders in braces:
//
//	{result.id}                a member: names and array indices from the root of
//	                           the body, "$." before them if you like
//	{scans[0].code}            an element of an array; [-1] is the last one
//	{meta["odd.name"].id}      a name with dots, brackets or braces, quoted
//	{header:x-event-id}        a header of the request
//	{sha256:body}              the hash of the whole body, 64 hex digits
//	{awb}:{status}:{time}      several of them, with text between
//	shipment.updated           text alone, the same for every event
//
// A placeholder can't be filled when its member or header is absent, null or
// blank. Numbers are taken as the text that is in the body, and so are true
// and false where a status is read. Anything else in such a place is passed over for
// the next alternative. Where there is none it is a fault, unless the event can do without:
// see [Decoder.Decode]. White space at the ends of a value goes.
//
// Only EventID and Key may look at headers and hash the body: the worker reads an
// event a second time, from the queue, where the envelope has both and the
// request's headers are gone. Type and Source alone may be text alone.
type Mapping struct {
	// EventID and Key name the event; where one is left out the other takes its place,
	// so at least one is needed. What is not the same in each copy of an event
	// (a delivery time, a retry count) must not be part of a Key, and what
	// distinguishes two events of a shipment must be.
	EventID []string `koanf:"event_id"`
	Key     []string `koanf:"idempotency_key"`

	Type   []string    `koanf:"event_type"` // none means [DefaultType]
	Time   TimeMapping `koanf:"time"`       // needed unless Checkpoints have it
	Source []string    `koanf:"source"`     // none leaves it empty

	// ShipmentID is needed. It must stay the same as long as the parcel travels: an
	// alternative that can be filled later only makes another shipment.
	ShipmentID []string `koanf:"shipment_id"`
	// OrderID must stay the same as well: after the end of a journey another one is taken for
	// the next order under the same number. So it is no text for people, and an alternative is
	// for another name of the same id, not for another id.
	OrderID []string `koanf:"order_id"`

	Status    []string `koanf:"status"`
	Substatus []string `koanf:"substatus"`
	// States lists, for each state of our vocabulary, the sender's statuses that
	// mean it: "InTransit", or with Substatus also "TRANSIT/out_for_delivery",
	// which wins over "TRANSIT" alone; of several substatuses in a body the first
	// counts that is listed with the status. Letter case and white space around them
	// don't matter, and "_" and "-" count as a space. With a table only the table counts,
	// and what it does not list is kept raw as [shipment.Unknown]; without one
	// [shipment.ParseState] decides.
	// [NoState] lists statuses that leave the state as it is.
	States map[shipment.State][]string `koanf:"states"`

	Checkpoints CheckpointMapping `koanf:"checkpoints"`

	// Single lists arrays, without braces, of which only the first element is read,
	// such as the parcels of a push: an event is about one shipment. A body with more
	// elements would lose the others silently, so for the worker it has a fault, which
	// keeps the whole of it as a dead letter.
	Single []string `koanf:"single"`

	// Ignore lists what this sender posts that says nothing of a shipment. Such a request
	// has to be valid JSON, and each of the members that are read may be there once.
	Ignore []IgnoreRule `koanf:"ignore"`
}

// Canonical reports whether the mapping is that of the canonical body, of which some
// may be ignored.
func (m Mapping) Canonical() bool {
	m.Ignore = nil
	return m.zero()
}

// TimeMapping says where a time is and how it is written.
type TimeMapping struct {
	From []string `koanf:"from"`
	// Formats are tried in order; none means rfc3339.
	//
	//	rfc3339    2026-02-26T12:00:00.5+01:00, nothing else
	//	iso8601    the same, but a space may replace the T, and seconds,
	//	           offset (also +0100, +01 and +01.00) or the whole clock may be missing;
	//	           also 20260226T120000, without hyphens and colons, and 24:00
	//	unix       seconds since 1970, as a number or a string, with a fraction or not
	//	unix_ms    milliseconds since 1970
	//
	// Anything else is a layout of Go's package time, such as "02-01-2006 15:04:05".
	Formats []string `koanf:"formats"`
	// Zone is where a time without an offset was written: the name of a time zone
	// as in "Asia/Kolkata", or an offset as in "+05:30". None means UTC, and for
	// checkpoints the zone of the event.
	Zone string `koanf:"zone"`
	// Received allows the time of receipt in the place of one that the body lacks, or
	// has in a form that can't be read, or has in checkpoints that can't be the event's
	// own. Such events are in the order of arrival.
	Received bool `koanf:"received"`
}

// CheckpointMapping describes a sender whose every push repeats the shipment's
// history. Its templates are filled from one element of the array.
type CheckpointMapping struct {
	Path      string      `koanf:"path"` // of the array, as between braces
	Time      TimeMapping `koanf:"time"` // an element without one is left out
	Status    []string    `koanf:"status"`
	Substatus []string    `koanf:"substatus"`
	// States is the elements' own table; none means that of the [Mapping].
	States map[shipment.State][]string `koanf:"states"`
}

// Headers are the headers of a request. A request that verifies its signature
// has this method already.
type Headers interface {
	// Header returns the first value of a header and how often the header
	// occurs. The name is in lower case; the match must ignore case.
	Header(name string) (value []byte, count int)
}

// Input is what a sender posted.
type Input struct {
	Body     []byte    // JSON, or a form that has it in a field
	Headers  Headers   // may be nil: none
	Received time.Time // as in the envelope, for mappings that fall back on it
}

// Decoder reads a sender's body by a [Mapping]. It is immutable and safe for
// concurrent use. A nil Decoder reads the canonical body.
type Decoder struct {
	root   *node // nil for the canonical body of which nothing is ignored
	ignore []ignoreRule
	// standard says that what is not ignored is the canonical body.
	standard  bool
	formField string // that has the JSON of a form; "" for the default

	id       field
	key      field // without alternatives: the same as id
	kind     field
	source   field
	shipment field
	order    field

	status report
	time   clock
	list   *list   // of checkpoints, nil for none
	extra  []*node // elements that must not be there, see [Mapping.Single]
}

// Decode fills e from a request, appends every fault it finds to faults and
// returns the result; e is usable when nothing was appended. It is as strict as
// [DecodeCanonical], whose rules on the text of members hold here too, and names
// faults by the paths of the sender's own body ("header:…" for a header).
//
// Only what names the event or its shipment has to be readable, and a time, and a status
// where there is one. What the event can do without is left out when it can't be
// read, and [event.Event.LeftOut] says so: a type, an order id, an element of the
// checkpoints, a time or a status in the place of which another is found. Of more
// checkpoints than [MaxCheckpoints] the later ones count.
//
// Of an event with checkpoints, a time or status that the body does not have
// beside them is that of the newest one. One that is dated ahead is not the newest, see
// [event.Moment.Ahead]. The receipt, where the mapping allows it, is the time when
// a checkpoint is dated after it, or the status beside them is not the newest one's.
//
// A request that says nothing of a shipment by [Mapping.Ignore] has no faults either:
// e then has a type at most, and [event.Event.Ignored].
//
// Decode neither changes nor keeps the body, but e shares memory with it, with
// the headers and with the Decoder. It reads the body once; once more the
// elements that [-1] or both a path and the checkpoints ask for, and a canonical body
// of which some are ignored. It allocates for
// strings with escapes, for each text joined of several parts or hashed, for
// times written in a layout that has an offset, and for the checkpoints beyond
// those that e.Checkpoints has memory for; in other cases it does not.
func (d *Decoder) Decode(in Input, e *event.Event, faults event.Faults) event.Faults {
	return d.decode(in, false, e, faults)
}

func (d *Decoder) decode(in Input, queued bool, e *event.Event, faults event.Faults) event.Faults {
	text, fault := d.jsonIn(in.Body)
	switch {
	case fault != "":
		return append(faults, event.Fault{Path: "$", Message: fault})
	case d == nil || d.root == nil || queued && d.standard:
		return DecodeCanonical(text, e, faults)
	}
	m := decoding{Scanner: jsontext.NewScanner(text), plan: d, event: e, received: in.Received, queued: queued,
		values: values{body: text, sent: in.Body, headers: in.Headers}, faults: reporter{all: faults}}
	return m.run()
}

// Tells reports whether a body has anything from which an event is read, but for its type
// and source: what names it, its shipment or its order, its time, or its state. It may be
// no event all the same.
func (d *Decoder) Tells(body []byte) bool {
	text, fault := d.jsonIn(body)
	if fault != "" {
		return false
	}
	var ev event.Event
	if d == nil || d.root == nil || d.standard {
		c := canonical{Scanner: jsontext.NewScanner(text), event: &ev}
		c.document()
		return c.seen&^(memberType|memberSource) != 0
	}
	m := decoding{Scanner: jsontext.NewScanner(text), plan: d, event: &ev, values: values{body: text, sent: body}}
	m.Space()
	m.value(d.root)
	typed := nodesOf(d.kind.alternatives)
	for _, n := range nodesOf(d.id.alternatives, d.key.alternatives, d.shipment.alternatives, d.order.alternatives, d.time.from, d.status.status) {
		if m.values.has(n) && !slices.Contains(typed, n) {
			return true
		}
	}
	return d.list != nil && m.values.has(d.list.node)
}

// nodesOf returns what templates read of a body.
func nodesOf(all ...[]template) (nodes []*node) {
	for _, alternatives := range all {
		for _, t := range alternatives {
			for _, p := range t.parts {
				if p.node != nil {
					nodes = append(nodes, p.node)
				}
			}
		}
	}
	return nodes
}

// DecodeQueued is [Decoder.Decode] for an event from the queue. The envelope
// has its id and key, so the body's own are not looked for. It alone checks
// [Mapping.Single]: the intake accepts such an event, because its sender can't change it.
// It ignores nothing, because what is on the queue has to get an outcome.
func (d *Decoder) DecodeQueued(env *event.Envelope, e *event.Event, faults event.Faults) event.Faults {
	faults = d.decode(Input{Body: env.Body, Received: env.ReceivedAt}, true, e, faults)
	e.ID, e.Key = env.EventID, env.Key
	return faults
}
