// Package ops is the operators' side of the appliance: the admin HTTP server
// ([Admin]), a typed client for it ([Client]), and the commands that talk to it
// ([Commands]).
//
// In comes what an operator asks, by HTTP or on a command line. Out goes what
// the appliance knows: its health and figures, events, shipments, dead letters,
// refused requests and couriers; and what the operator decides: to replay, close
// or review dead letters, to take in a refused request, to reload the couriers.
// Package appliance starts the server and adds the commands to its own; nobody
// else calls this package, and this package calls nobody: what it needs from the
// stores, the queue and the intake stands here as small interfaces.
package ops

import (
	"context"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// Events looks up rows of the ledger.
type Events interface {
	// RecordsByKey returns the rows of every courier that used this idempotency
	// key; none is not an error.
	RecordsByKey(ctx context.Context, key string) ([]event.Record, error)
}

// Shipments looks up shipments.
type Shipments interface {
	// ShipmentsByID returns the shipments of every courier that uses this
	// number; none is not an error.
	ShipmentsByID(ctx context.Context, id string) ([]event.Shipment, error)
}

// DeadLetters reads and reviews dead letters. A letter that does not exist is
// an error with the code [event.NotFound].
type DeadLetters interface {
	DeadLetters(ctx context.Context, filter event.DeadLetterFilter) ([]event.DeadLetter, error)
	DeadLetter(ctx context.Context, id string) (event.DeadLetter, error)
	// Review sets a letter's status and note and returns the letter as it then
	// is. This package always passes a nil link: the [Replayer] keeps the links.
	Review(ctx context.Context, id string, status event.ReviewStatus, note string, link *event.ReplayLink) (event.DeadLetter, error)
}

// Counter counts what a store holds.
type Counter interface {
	Counts(ctx context.Context) (event.StoreCounts, error)
}

// Queue tells how the queue is, and what it has lost.
type Queue interface {
	State(ctx context.Context) (event.QueueState, error)
	// Losses returns what it is known to have lost, the oldest first.
	Losses() []event.Loss
	// AcknowledgeLoss marks a loss as known to an operator and returns it as it then
	// is, or an error with the code [event.NotFound].
	AcknowledgeLoss(ctx context.Context, id, note string) (event.Loss, error)
}

// Replayer puts a dead letter's event back on the queue, reopens its ledger row
// and links the letter to the replay.
type Replayer interface {
	Replay(ctx context.Context, id string) (event.ReplayLink, error)
}

// Ingestions reads what the intake has recorded of requests. A record that does
// not exist is an error with the code [event.NotFound].
type Ingestions interface {
	// Ingestions returns the records that filter selects, newest first.
	Ingestions(ctx context.Context, filter event.IngestionFilter) ([]event.IngestionRecord, error)
	Ingestion(ctx context.Context, id string) (event.IngestionRecord, error)
	// TakeIngestion marks a record as taken in, as the event of this key, and
	// returns it as it then is.
	TakeIngestion(ctx context.Context, id, key, keyID string, at time.Time) (event.IngestionRecord, error)
}

// Intake takes in a refused request by hand. When it returns without an error
// the event is on the queue's disk; doing it again leads to no second outcome.
type Intake interface {
	// Take checks the request anew, by the couriers in force, and publishes its
	// event. With vouch the event needs no proof of who sent it.
	Take(ctx context.Context, r event.IngestionRecord, vouch bool) (event.Taken, error)
}
