package event

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/fincart/courier-gateway/ingest/event/shipment"
)

// Status is the state of an event in the ledger.
type Status string

// The statuses. Processed and DeadLettered are terminal, until a replay of a dead
// letter reopens its row. An event that waits for its first attempt has no row: the
// queue keeps it, and a write for each of them would cost as much as its outcome.
// So nothing writes Received now; the stores know it all the same.
const (
	Received     Status = "received"
	Processing   Status = "processing"
	Processed    Status = "processed"
	Failed       Status = "failed" // the last attempt failed, another will follow
	DeadLettered Status = "dead_lettered"
)

// Terminal reports whether nothing more will happen by itself.
func (s Status) Terminal() bool { return s == Processed || s == DeadLettered }

// Outcome is how one attempt ended.
type Outcome string

// The outcomes of an attempt. An attempt without an outcome is under way.
const (
	Succeeded Outcome = "processed"
	WillRetry Outcome = "retry"
	GaveUp    Outcome = "dead_lettered"
	WasLost   Outcome = "interrupted" // the worker ended before it could report
)

// Attempt is one try at applying an event.
type Attempt struct {
	Number    int       `json:"number"` // 1 for the first, by the broker's count
	StartedAt time.Time `json:"startedAt"`
	EndedAt   time.Time `json:"endedAt,omitzero"`
	Outcome   Outcome   `json:"outcome,omitempty"`
	Code      Code      `json:"errorCode,omitempty"`
	Message   string    `json:"message,omitempty"` // of an attempt that succeeded: what was left out
}

// Record is an event's row in the ledger (processed_events).
type Record struct {
	Identity
	Status     Status    `json:"status"`
	EventID    string    `json:"eventId"`
	EventType  string    `json:"eventType,omitempty"`
	OccurredAt time.Time `json:"occurredAt,omitzero"`
	ShipmentID string    `json:"shipmentId,omitempty"`
	TraceID    string    `json:"traceId"`
	ReceivedAt time.Time `json:"receivedAt"`
	Sequence   uint64    `json:"sequence"`         // stream sequence of its latest entry
	BodyHash   string    `json:"bodyHash"`         // see [BodyHash]
	Attempts   []Attempt `json:"attempts"`         // oldest first, replays included
	Conflicts  int       `json:"conflicts"`        // copies with another body that came after it
	Replay     string    `json:"replay,omitempty"` // nonce of its latest replay
	Code       Code      `json:"errorCode,omitempty"`
	Message    string    `json:"message,omitempty"`
	UpdatedAt  time.Time `json:"updatedAt"`
	EndedAt    time.Time `json:"endedAt,omitzero"` // when it became terminal
	// Version counts the writes of this row; 0 means that it is not stored yet.
	// A store writes a Record only over the version it was read at.
	Version int64 `json:"-"`
}

// BodyHash returns the lower-case hex SHA-256 of body.
func BodyHash(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// Change is what one commit does to the stores, as a unit: the shipment's new
// state, the ledger rows of the events that led to it, and dead letters. Any of
// them may be absent.
//
// A store applies a Change whole or, when a version has moved, not at all. A
// store without transactions may be interrupted half way; the rules of package
// process make applying the same events again lead to the same state.
type Change struct {
	Shipment    *shipment.Shipment
	Records     []Record
	DeadLetters []DeadLetter
}

// StoreCounts are the figures of a store.
type StoreCounts struct {
	Records     map[Status]int64       `json:"events"`
	DeadLetters map[ReviewStatus]int64 `json:"deadLetters"`
	Shipments   int64                  `json:"shipments"`
	// Ingestions counts records, not the requests in them, by their outcome.
	Ingestions map[string]int64 `json:"ingestions"`
	// Approximate has the figures that are not exact, by their status, outcome or the word
	// "shipments": "about" is the store's estimate, "at least" where it stopped counting.
	Approximate map[string]string `json:"approximate,omitempty"`
}

// Approximately says that a figure is not exact, and how it is meant.
func (c *StoreCounts) Approximately(name, how string) {
	if c.Approximate == nil {
		c.Approximate = map[string]string{}
	}
	c.Approximate[name] = how
}
