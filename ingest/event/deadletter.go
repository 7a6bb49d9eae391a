package event

import "time"

// ReviewStatus is what the operators have made of a dead letter.
type ReviewStatus string

// The review statuses. Pending and Reviewed are open; a letter that was
// replayed or closed can be replayed again.
const (
	ReviewPending  ReviewStatus = "pending"
	ReviewReviewed ReviewStatus = "reviewed"
	ReviewReplayed ReviewStatus = "replayed"
	ReviewClosed   ReviewStatus = "closed"
)

// ReviewStatuses lists every status, in the order of a letter's life.
var ReviewStatuses = []ReviewStatus{ReviewPending, ReviewReviewed, ReviewReplayed, ReviewClosed}

// DeadLetter is an event that could not be applied, with all that is needed to
// understand and replay it (dead_letter_events).
type DeadLetter struct {
	// ID is the same whenever the same message becomes a dead letter, so that storing
	// it twice is harmless.
	ID string `json:"id"`
	Identity
	Sequence     uint64            `json:"sequence"` // position in the stream
	EventID      string            `json:"eventId,omitempty"`
	ShipmentID   string            `json:"shipmentId,omitempty"`
	TraceID      string            `json:"traceId,omitempty"`
	ReceivedAt   time.Time         `json:"receivedAt,omitzero"`
	DeadAt       time.Time         `json:"deadAt"`
	Code         Code              `json:"errorCode"`
	Message      string            `json:"message"`
	Attempts     []Attempt         `json:"attempts"` // oldest first
	Headers      map[string]string `json:"headers"`  // as they were on the queue
	Body         []byte            `json:"body"`     // the courier's bytes, untouched
	ReviewStatus ReviewStatus      `json:"reviewStatus"`
	ReviewedAt   time.Time         `json:"reviewedAt,omitzero"`
	Note         string            `json:"note,omitempty"`     // the operator's words
	Replays      []ReplayLink      `json:"replays,omitempty"`  // oldest first
	ReplayOf     string            `json:"replayOf,omitempty"` // the nonce it came in by, when it is a replay itself
}

// ReplayLink ties a dead letter to an event that was requeued.
type ReplayLink struct {
	Nonce    string    `json:"nonce"`
	Sequence uint64    `json:"sequence"` // position of the replay in the stream
	At       time.Time `json:"at"`
}

// DeadLetterFilter selects dead letters; zero members select all.
type DeadLetterFilter struct {
	Courier string
	Code    Code
	Status  ReviewStatus
	Key     string // idempotency key
	Limit   int    // at most this many; 0 means 100
	// After continues a listing behind the letter with this id.
	After string
}
