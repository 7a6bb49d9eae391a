// Package reprocess is the vocabulary of reading events of the queue's history again:
// which of them, and what it changes. The work is done by package process.
package reprocess

import (
	"time"

	"github.com/fincart/courier-gateway/ingest/event/shipment"
)

// Request selects events that were processed and are in the queue's history still. What is
// empty selects all.
type Request struct {
	Courier  string    `json:"courier,omitempty"`
	Status   string    `json:"status,omitempty"`         // in the courier's words, in any letter case
	ID       string    `json:"id,omitempty"`             // of the shipment, or the event, or its idempotency key
	Since    time.Time `json:"receivedSince,omitzero"`   // from this receipt on
	Until    time.Time `json:"receivedBefore,omitzero"`  // receipts before this
	Sequence uint64    `json:"fromSequence,omitempty"`   // where to go on; 0 for the oldest
	To       uint64    `json:"throughSequence,omitzero"` // the last one to look at; 0 for the newest at this time
	DryRun   bool      `json:"dryRun,omitempty"`         // changes nothing
}

// Page is what became of a part of the history.
type Page struct {
	Next uint64 `json:"nextSequence,omitempty"` // where to go on; 0 at the end
	To   uint64 `json:"throughSequence"`        // of the request

	Read       int `json:"read"`       // events that were looked at
	Selected   int `json:"selected"`   // of those, selected
	Unreadable int `json:"unreadable"` // of those, not readable by the active mapping: they stay as they were
	NotApplied int `json:"notApplied"` // or without an outcome that could be changed: waiting, dead letters, copies
	// Changes are the shipments that differ. In a dry run one may be on several pages.
	Changes []Change `json:"changes"`
}

// Change is a shipment before and after.
type Change struct {
	shipment.Ref
	Before Outcome `json:"before"`
	After  Outcome `json:"after"`
	// Events is how many of its events were read again, all that the queue still has.
	Events int `json:"events"`
}

// Outcome is what a shipment says.
type Outcome struct {
	State       shipment.State `json:"state"`
	RawStatus   string         `json:"rawStatus,omitempty"`
	EventTime   time.Time      `json:"eventTime,omitzero"`
	OrderID     string         `json:"orderId,omitempty"`
	Leg         int            `json:"leg"`
	Checkpoints int            `json:"checkpoints"`
}

// OutcomeOf returns what s says.
func OutcomeOf(s shipment.Shipment) Outcome {
	return Outcome{State: s.State, RawStatus: s.RawStatus, EventTime: s.EventTime, OrderID: s.OrderID, Leg: s.Leg, Checkpoints: len(s.Shown().History)}
}
