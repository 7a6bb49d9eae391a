package event

import "time"

// SequenceRange is a run of stream sequences, both ends included.
type SequenceRange struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// Count returns how many sequences the range has.
func (r SequenceRange) Count() uint64 { return r.Last - r.First + 1 }

// LossCause says how a loss was noticed.
type LossCause string

// The causes.
const (
	// LossCut: the stream ended before a sequence that it had acknowledged.
	LossCut LossCause = "cut"
	// LossRecreated: the stream is another one than the one that acknowledged.
	LossRecreated LossCause = "recreated"
	// LossHole: the stream has no readable event at sequences that nothing may remove.
	LossHole LossCause = "hole"
	// LossReused: the stream acknowledged a sequence for the second time.
	LossReused LossCause = "reused"
)

// Loss is a set of events that the queue acknowledged and no longer holds, and
// that have no outcome as far as is known.
type Loss struct {
	ID      string    `json:"id"`
	FoundAt time.Time `json:"foundAt"`
	Cause   LossCause `json:"cause"`
	Events  uint64    `json:"events"`          // 0 when only Bytes is known
	Bytes   uint64    `json:"bytes,omitempty"` // that the broker dropped as unreadable, where that is all it says
	// Sequences has the events in ascending order; with Truncated only the first
	// of them.
	Sequences []SequenceRange `json:"sequences"`
	Truncated bool            `json:"truncated,omitempty"`
	// Unchecked counts the events that were not looked up in the ledger yet. Those
	// that turn out to have their outcome leave the loss.
	Unchecked      uint64    `json:"unchecked,omitempty"`
	AcknowledgedAt time.Time `json:"acknowledgedAt,omitzero"` // by an operator
	Note           string    `json:"note,omitempty"`          // the operator's
}

// MissingEvents asks which sequences of one run of the ledger have an outcome.
type MissingEvents struct {
	LossID   string
	Sequence SequenceRange
	// The events were received before ReceivedBefore and ended after EndedAfter;
	// rows that did not are of another event with the same sequence. A zero time
	// sets no bound.
	EndedAfter, ReceivedBefore time.Time
}
