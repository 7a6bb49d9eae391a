// Package event is the vocabulary of the appliance: the courier's [Event], the
// [Envelope] in which it travels, the [Delivery] that a worker is handed, the [Verdict]
// on it, the rows that are kept about it ([Record], [DeadLetter]), the closed list of
// reasons ([Code]), and the [Faults] of bodies and settings. Parts of the vocabulary
// have packages of their own: shipment, stamp, ingestion (what is recorded of
// requests), loss (what the queue no longer holds).
//
// Nothing comes in but values, and values go out: the package does no I/O, starts
// nothing and imports package shipment and the standard library only. Every package may
// use it, and the parts below it. The rest of the appliance meets here, because the
// packages that receive, queue, process and store events never import each other.
package event

import (
	"slices"
	"strings"
	"time"

	"github.com/fincart/courier-gateway/ingest/event/shipment"
)

// Event is what a courier says happened, in the canonical vocabulary.
//
// Strings of an Event may share memory with the body and the headers that it was
// decoded from: they are valid as long as those are neither changed nor reused.
// Use [Event.Clone] to keep one longer.
type Event struct {
	ID         string    // eventId
	Type       string    // eventType, such as "shipment.status.updated"
	OccurredAt time.Time // when it happened, by the courier's clock
	Source     string    // who says so
	Key        string    // idempotencyKey
	ShipmentID string    // payload.shipmentId
	OrderID    string    // payload.orderId, may be empty
	Status     string    // payload.status as the courier wrote it, may be empty
	// State is what Status means by the courier's mapping; empty when there is
	// none, so that [shipment.ParseState] has to find it.
	State shipment.State
	// Substatus is the detail that the courier gave beside a Status whose State is unknown;
	// empty otherwise.
	Substatus string
	// Checkpoints is the shipment's history in a cumulative push, in the sender's
	// order. What the event says of the present is its own Status, at OccurredAt.
	// The array is the event's own, and the next decode into the same Event uses
	// it again; their strings are shared like the others.
	Checkpoints []Moment
	// LeftOut is what of the body could not be read and was left out: the rest counts.
	LeftOut Faults
	// Ignored is why the request says nothing of a shipment, by its courier's settings;
	// empty when it does. With it nothing but the type is set.
	Ignored string
}

// Moment is a shipment's state at a time: one element of a cumulative push.
type Moment struct {
	At        time.Time
	State     shipment.State // empty when the sender gave no status
	Status    string         // as the courier wrote it
	Substatus string         // as that of [Event]
}

// clockSkew is how far a sender's clock may be ahead of ours and be right enough.
const clockSkew = 5 * time.Minute

// Ahead reports whether m, in a history that was received then, can't be where the parcel
// is now, as its time is still to come. The end of a journey counts all the same: a local
// time may be hours ahead, and no later push would bring the end again. No receipt: false.
func (m Moment) Ahead(received time.Time) bool {
	return !received.IsZero() && m.At.After(received.Add(clockSkew)) && !m.State.Terminal()
}

// Clone returns a copy of e that shares no memory with e and the body.
func (e Event) Clone() Event {
	e.ID = strings.Clone(e.ID)
	e.Type = strings.Clone(e.Type)
	e.Source = strings.Clone(e.Source)
	e.Key = strings.Clone(e.Key)
	e.ShipmentID = strings.Clone(e.ShipmentID)
	e.OrderID = strings.Clone(e.OrderID)
	e.Status, e.Substatus = strings.Clone(e.Status), strings.Clone(e.Substatus)
	e.Checkpoints = slices.Clone(e.Checkpoints)
	for i := range e.Checkpoints {
		c := &e.Checkpoints[i]
		c.Status, c.Substatus = strings.Clone(c.Status), strings.Clone(c.Substatus)
	}
	return e
}

// FullStatus returns a status with its detail, as a mapping lists the two: "status/substatus".
func FullStatus(status, substatus string) string {
	if substatus == "" {
		return status
	}
	return status + "/" + substatus
}

// Identity names one business event. Whatever happens to the copies of an
// event, each identity has at most one outcome.
type Identity struct {
	Courier string `json:"courier"`
	Key     string `json:"idempotencyKey"`
}

// String returns "courier:key", the natural key in every store. A courier's
// name holds no colon (see [ValidCourier]), so the form is unambiguous.
func (id Identity) String() string { return id.Courier + ":" + id.Key }

// ValidCourier reports whether name can name a courier: 1 to 63 characters of
// a-z, 0-9, "-" and "_", starting with a letter or digit. Such a name is safe
// as a URL path segment, a broker subject token and a metrics label.
func ValidCourier(name string) bool {
	if name == "" || len(name) > 63 || name[0] == '-' || name[0] == '_' {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
