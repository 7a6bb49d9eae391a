// Package shipment describes parcels: the states of the vocabulary, and the row that is
// kept about a parcel ([Shipment]) with its history.
//
// The rules by which events move a shipment are in package process. This package does no
// I/O and imports the standard library only.
package shipment

import (
	"slices"
	"strings"
	"time"
)

// State is a shipment's state in our vocabulary.
type State string

// The states, in the order in which a parcel usually passes through them.
const (
	Unknown            State = "unknown"
	Pending            State = "pending"
	InfoReceived       State = "info_received"
	InTransit          State = "in_transit"
	OutForDelivery     State = "out_for_delivery"
	AttemptFailed      State = "attempt_failed"
	AvailableForPickup State = "available_for_pickup"
	Exception          State = "exception"
	Delivered          State = "delivered"
	Returned           State = "returned"
	Cancelled          State = "cancelled"
	Expired            State = "expired"
)

// States lists the vocabulary by rank: of two events at the same instant, the
// one whose state is later here is the newer.
var States = []State{
	Unknown, Pending, InfoReceived, InTransit, OutForDelivery,
	AttemptFailed, AvailableForPickup, Exception,
	Expired, Cancelled, Returned, Delivered,
}

// ParseState returns the state that a courier's status names in our vocabulary,
// ignoring case, with "-" and " " taken as "_"; [Unknown] for any other.
func ParseState(status string) State {
	for _, s := range States {
		if string(s) == status {
			return s
		}
	}
	folded := State(strings.NewReplacer("-", "_", " ", "_").Replace(strings.ToLower(strings.TrimSpace(status))))
	if slices.Contains(States, folded) {
		return folded
	}
	return Unknown
}

// Rank orders states at the same instant; see [States].
func (s State) Rank() int { return slices.Index(States, s) }

// Terminal reports whether a parcel's journey ends here.
func (s State) Terminal() bool {
	switch s {
	case Delivered, Returned, Cancelled, Expired:
		return true
	default:
		return false
	}
}

// Ref names a shipment. Couriers' numbers are neither unique across
// couriers nor over time, so the courier is part of the name.
type Ref struct {
	Courier string `json:"courier"`
	ID      string `json:"shipmentId"`
}

// String returns "courier:id", the natural key in every store.
func (r Ref) String() string { return r.Courier + ":" + r.ID }

// Checkpoint is one entry of a shipment's history: a plain event, or one element
// of a cumulative push, which has no type.
type Checkpoint struct {
	At      time.Time `json:"occurredAt"`
	State   State     `json:"state"`
	Status  string    `json:"rawStatus,omitempty"` // as the courier wrote it
	Key     string    `json:"idempotencyKey"`      // of the event that has it, the first by name of several pushes
	EventID string    `json:"eventId"`
	Type    string    `json:"eventType,omitempty"`
}

// Shipment is what is known of a parcel (active_shipments).
type Shipment struct {
	Ref
	OrderID   string       `json:"orderId,omitempty"`
	State     State        `json:"state"`
	RawStatus string       `json:"rawStatus,omitempty"` // as the courier wrote it
	EventTime time.Time    `json:"eventTime,omitzero"`  // of the event that set the state
	LastEvent string       `json:"lastEvent,omitempty"` // its idempotency key
	Leg       int          `json:"leg"`                 // 1, and one more for each journey after a terminal state
	History   []Checkpoint `json:"history"`             // by event time, oldest first
	Dropped   int          `json:"historyDropped,omitempty"`
	CreatedAt time.Time    `json:"createdAt"`
	UpdatedAt time.Time    `json:"updatedAt"`
	// Version counts the writes of this row; 0 means that it is not stored yet.
	// A store writes a Shipment only over the version it was read at.
	Version int64 `json:"-"`
}
