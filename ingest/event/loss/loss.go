// Package loss describes what the queue has acknowledged and no longer holds: a [Loss] is
// a set of such events, as the operators see it, and [Missing] is the question to the
// ledger which of them have their outcome all the same.
//
// The queue makes losses, the reconciler looks them up, the admin API lists them. The
// package does no I/O and imports the standard library only.
package loss

import "time"

// Range is a run of stream sequences, both ends included.
type Range struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// Count returns how many sequences the range has.
func (r Range) Count() uint64 { return r.Last - r.First + 1 }

// Cause says how a loss was noticed.
type Cause string

// The causes.
const (
	// Cut: the stream ended before a sequence that it had acknowledged.
	Cut Cause = "cut"
	// Recreated: the stream is another one than the one that acknowledged.
	Recreated Cause = "recreated"
	// Hole: the stream has no readable event at sequences that nothing may remove.
	Hole Cause = "hole"
	// Reused: the stream acknowledged a sequence for the second time.
	Reused Cause = "reused"
)

// Loss is a set of events that the queue acknowledged and no longer holds, and
// that have no outcome as far as is known.
type Loss struct {
	ID      string    `json:"id"`
	FoundAt time.Time `json:"foundAt"`
	Cause   Cause     `json:"cause"`
	Events  uint64    `json:"events"`          // 0 when only Bytes is known
	Bytes   uint64    `json:"bytes,omitempty"` // that the broker dropped as unreadable, where that is all it says
	// Sequences has the events in ascending order; with Truncated only the first
	// of them.
	Sequences []Range `json:"sequences"`
	Truncated bool    `json:"truncated,omitempty"`
	// Unchecked counts the events that were not looked up in the ledger yet. Those
	// that turn out to have their outcome leave the loss.
	Unchecked      uint64    `json:"unchecked,omitempty"`
	AcknowledgedAt time.Time `json:"acknowledgedAt,omitzero"` // by an operator
	Note           string    `json:"note,omitempty"`          // the operator's
}

// Missing asks which sequences of one run of the ledger have an outcome.
type Missing struct {
	LossID   string
	Sequence Range
	// The events were received before ReceivedBefore and ended after EndedAfter;
	// rows that did not are of another event with the same sequence. A zero time
	// sets no bound.
	EndedAfter, ReceivedBefore time.Time
}
