package event

import (
	"errors"
	"time"
)

// ErrStopped is what pulling from the queue returns after it has been stopped and
// everything handed out before is taken.
var ErrStopped = errors.New("pulling from the queue has been stopped")

// Receipt is the broker's confirmation that it holds an event. With the default sync
// mode the event is on disk by the time a Receipt exists.
type Receipt struct {
	Sequence  uint64 // position in the stream; a duplicate has that of its original
	Duplicate bool   // the broker already held this identity
	Conflict  bool   // a duplicate whose body differs from the original's
}

// Delivery is one attempt at one event, as the queue hands it to a worker. Its
// bytes belong to the receiver.
type Delivery struct {
	Envelope
	Sequence uint64 // position in the stream
	Attempt  int    // 1 for the first delivery, counted by the broker
	AckTo    string // the queue's own handle for settling; opaque to others
	// Fault says why the headers are no envelope of ours; nil for a good one.
	// With a Fault only Body, Sequence, Attempt and AckTo can be relied on.
	Fault error
	// Gap says that the stream has no event at Sequence, which is all that can be
	// relied on then. Only what is pulled for the reconciler has gaps.
	Gap Gap
}

// Gap says why a stream has no event at a sequence.
type Gap uint8

// The gaps.
const (
	NoGap      Gap = iota // it has one
	GapMissing            // it should have one
	GapKnown              // what it had is on the list of losses, as are those before it that are left out
)

// Action is what a verdict asks the queue to do.
type Action uint8

// The actions. The zero value asks for a retry, so that a forgotten verdict
// loses nothing.
const (
	Retry Action = iota // deliver again after a delay
	Ack                 // done, never deliver again
	Dead                // stored as a dead letter, never deliver again
)

// Verdict is the handler's decision on a delivery.
type Verdict struct {
	Action Action
	Code   Code          // why, for Retry and Dead
	Delay  time.Duration // how long to wait before the next delivery, for Retry
}

// Advisory is the broker's notice that it will not deliver an event again.
type Advisory struct {
	Sequence   uint64 // the event's position in the stream
	Deliveries int    // how often it was delivered
	Terminated bool   // by a Dead verdict; false when the deliveries ran out
	Reason     string // of a termination
	Unanswered bool   // the last delivery was not answered
	AckTo      string // the queue's own handle for settling; opaque to others
}

// QueueState is a snapshot of the queue's figures.
type QueueState struct {
	Mode        string    `json:"mode"` // embedded or connected
	Sync        string    `json:"sync"` // group, always, interval, or what is known of an external server
	Healthy     bool      `json:"healthy"`
	Problem     string    `json:"problem,omitempty"` // why it is not healthy
	Messages    uint64    `json:"messages"`          // stored, history included
	Bytes       uint64    `json:"bytes"`             // stored, history included
	MaxBytes    int64     `json:"maxBytes"`          // limit of the stream, -1 for none
	FirstSeq    uint64    `json:"firstSequence"`
	LastSeq     uint64    `json:"lastSequence"`
	AckFloor    uint64    `json:"ackFloor"`      // every sequence up to here is settled
	Verified    uint64    `json:"verified"`      // every sequence up to here is reconciled
	Pending     uint64    `json:"pending"`       // waiting for a first delivery
	InFlight    int       `json:"inFlight"`      // delivered and not settled yet
	Redelivered int       `json:"redelivered"`   // of those, delivered more than once
	Advisories  uint64    `json:"advisories"`    // waiting to become dead letters
	DiskFree    int64     `json:"diskFreeBytes"` // on the store's file system, -1 when unknown
	At          time.Time `json:"at"`

	// UnconsumedSince is since when no process has asked for events, zero while one does.
	UnconsumedSince time.Time `json:"unconsumedSince,omitzero"`
	// Servers are those of an external broker, nil of an embedded one.
	Servers *QueueServers `json:"servers,omitempty"`

	// Problems is what is wrong while events are accepted all the same, one line each.
	Problems []string `json:"problems,omitempty"`
}

// QueueServers is what an external broker says of its servers.
type QueueServers struct {
	Wanted   int            `json:"wanted"`             // how many are to hold the events
	Leader   string         `json:"leader"`             // of those that do, "" for none
	Replicas []QueueReplica `json:"replicas,omitempty"` // the others
	// Connected is the server that each of our connections is on, "" for none.
	Connected map[string]string `json:"connected"`
}

// QueueReplica is a server that holds the events beside their leader.
type QueueReplica struct {
	Name    string `json:"name"`
	Missing bool   `json:"missing"` // the leader has not heard of it for seconds
	Current bool   `json:"current"` // it has what the leader has
	Lag     uint64 `json:"lag"`     // operations behind the leader
}

// Unprocessed is the backlog: events accepted but not settled.
func (s QueueState) Unprocessed() uint64 { return s.Pending + uint64(max(s.InFlight, 0)) }
