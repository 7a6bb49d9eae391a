// Package shipment describes parcels: the states of the vocabulary, and the row that is
// kept about a parcel ([Shipment]) with its history.
//
// The rules by which events move a shipment are in package process/journey. This package
// does no I/O and imports the standard library only.
package shipment

import (
	"slices"
	"time"
)

// Ref names a shipment. Couriers' numbers are neither unique across
// couriers nor over time, so the courier is part of the name.
type Ref struct {
	Courier string `json:"courier"`
	ID      string `json:"shipmentId"`
}

// String returns "courier:id", the natural key in every store.
func (r Ref) String() string { return r.Courier + ":" + r.ID }

// Checkpoint is one entry of a shipment's history: what an event says of the present, or
// a scan in the history that it repeats, which has no type.
type Checkpoint struct {
	At      time.Time `json:"occurredAt"`
	State   State     `json:"state"`
	Status  string    `json:"rawStatus,omitempty"` // as the courier wrote it
	Key     string    `json:"idempotencyKey"`      // of the event that has it; of a scan, of the first by name that do
	EventID string    `json:"eventId"`
	Type    string    `json:"eventType,omitempty"`
	OrderID string    `json:"orderId,omitempty"` // of the event; scans have none
	// ClaimedAt is the courier's own time, where it is not believed and At is the receipt.
	ClaimedAt time.Time `json:"claimedAt,omitzero"`
	// ScanAt is the time of the event's newest scan, when that says the same. What has one
	// is not shown, because the scan is; see [Shipment.Shown].
	ScanAt time.Time `json:"scanAt,omitzero"`
}

// Shipment is what is known of a parcel (active_shipments).
type Shipment struct {
	Ref
	OrderID   string       `json:"orderId,omitempty"`
	State     State        `json:"state"`
	RawStatus string       `json:"rawStatus,omitempty"` // the courier's last word, which may mean nothing to us
	EventTime time.Time    `json:"eventTime,omitzero"`  // of the event that set the state
	LastEvent string       `json:"lastEvent,omitempty"` // its idempotency key
	Leg       int          `json:"leg"`                 // 1, and one more for each journey after the end of one
	History   []Checkpoint `json:"history"`             // by event time, oldest first
	Dropped   int          `json:"historyDropped,omitempty"`
	CreatedAt time.Time    `json:"createdAt"`
	UpdatedAt time.Time    `json:"updatedAt"`
	// Version counts the writes of this row; 0 means that it is not stored yet.
	// A store writes a Shipment only over the version it was read at.
	Version int64 `json:"-"`
}

// Shown returns s with the part of its history that people want to see: each scan once.
func (s Shipment) Shown() Shipment {
	s.History = slices.DeleteFunc(slices.Clone(s.History), func(c Checkpoint) bool { return !c.ScanAt.IsZero() })
	return s
}
