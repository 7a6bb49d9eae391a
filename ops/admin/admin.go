// Package admin is the server of the admin API: the operators' HTTP listener.
//
// In come an operator's requests: to look at events, shipments,
// dead letters, records of requests and couriers; to replay, close or review dead
// letters; to accept a refused request; to reload the couriers. Out go the documents
// of package ops. Every request passes the same checks (access.go), then its route
// (routes.go), whose function is in the file of what it is about; a refusal is
// written in one place (problem.go).
//
// Package appliance/app makes and serves it, appliance/config asks it for [Loopback].
// What it needs of the stores, the queue and the intake are the interfaces of this
// file; ops/admintest implements them for tests.
package admin

import (
	"context"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ingest/event/loss"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
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
	ShipmentsByID(ctx context.Context, id string) ([]shipment.Shipment, error)
}

// DeadLetters reads and reviews dead letters. A letter that does not exist is
// an error with the code [event.NotFound].
type DeadLetters interface {
	DeadLetters(ctx context.Context, filter event.DeadLetterFilter) ([]event.DeadLetter, error)
	DeadLetter(ctx context.Context, id string) (event.DeadLetter, error)
	// Review sets a letter's status and note and returns the letter as it then
	// is. This package always passes a nil link: the [Replayer] writes the links.
	Review(ctx context.Context, id string, status event.ReviewStatus, note string, link *event.ReplayLink) (event.DeadLetter, error)
}

// Counter counts what a store holds.
type Counter interface {
	Counts(ctx context.Context) (event.StoreCounts, error)
}

// Queue reports the state of the queue, and what it has lost.
type Queue interface {
	State(ctx context.Context) (event.QueueState, error)
	// Losses returns what it is known to have lost, the oldest first.
	Losses() []loss.Loss
	// AcknowledgeLoss marks a loss as known to an operator and returns it as it then
	// is, or an error with the code [event.NotFound].
	AcknowledgeLoss(ctx context.Context, id, note string) (loss.Loss, error)
}

// Replayer requeues a dead letter's event, reopens its ledger row
// and links the letter to the replay.
type Replayer interface {
	Replay(ctx context.Context, id string) (event.ReplayLink, error)
}

// Ingestions reads what the intake has recorded of requests. A record that does
// not exist is an error with the code [event.NotFound].
type Ingestions interface {
	// Ingestions returns the records that filter selects, newest first.
	Ingestions(ctx context.Context, filter ingestion.Filter) ([]ingestion.Record, error)
	Ingestion(ctx context.Context, id string) (ingestion.Record, error)
	// AcceptIngestion marks a record as accepted, as the event of this key, and
	// returns it as it then is.
	AcceptIngestion(ctx context.Context, id, key, keyID string, at time.Time) (ingestion.Record, error)
}

// Intake accepts a refused request by hand. When it returns without an error
// the event is on the queue's disk; doing it again leads to no second outcome.
type Intake interface {
	// AcceptRefused checks the request again, by the active couriers, and publishes its
	// event. With vouch the request is not verified.
	AcceptRefused(ctx context.Context, r ingestion.Record, vouch bool) (ingestion.Acceptance, error)
}
