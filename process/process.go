// Package process applies queued events to shipments, exactly once each.
//
//	queue ──Pull──▶ Worker ──batch──▶ Handler: refuse ▸ cache ▸ ledger ▸ shipments ▸ commit
//	  ▲                │  ▲              │
//	  │                │  └──verdicts────┘
//	  ◀────Settle──────┘
//
//	advisories ───▶ DeadLetterer: gather ▸ classify ▸ act ──▶ dead letters
//	settled part ─▶ Reconciler: outcome? ── none ──▶ queue, or Handler when it is full
//	dead letter ──▶ Replayer ──▶ queue
//
// Deliveries, advisories and the settled part of the stream come in, by the interfaces
// below; verdicts, rows and requeued events go out. A [Worker] pulls batches and hands
// them to the [Handler], which answers each delivery with a verdict: done, again later,
// or dead. The [DeadLetterer] turns the broker's notice that an event's deliveries ran out
// into a dead letter, the [Reconciler] verifies that no settled event lacks an outcome,
// and the [Replayer] requeues a dead letter, through the same path as everything else.
// How events that harm others are handled apart from them is in quarantine.go.
//
// Only package appliance and its parts, which configure and start all of them, may call
// this one. It knows the queue, the store and the cache by its interfaces only, and
// decides nothing about how they keep their data.
package process

import (
	"context"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
)

// DefaultMaxAhead is how far ahead of its receipt an event may be dated, where the courier
// has no setting: as far as a local time that passes for UTC can be, and a clock that is
// somewhat wrong.
const DefaultMaxAhead = 24 * time.Hour

// Store keeps the ledger, the shipments and the dead letters. Each call is one
// unit of work for a whole batch, whatever its size. Errors carry an
// [event.Code]; [event.DependencyDown] makes the worker wait instead of failing
// events.
type Store interface {
	// Records returns the ledger rows that exist, in any order.
	Records(ctx context.Context, ids []event.Identity) ([]event.Record, error)
	// Shipments returns the shipments that exist, in any order.
	Shipments(ctx context.Context, refs []shipment.Ref) ([]shipment.Shipment, error)
	// Commit applies each change whole or not at all and returns one error per
	// change, nil for those applied; the second error is for the call itself.
	Commit(ctx context.Context, changes []event.Change) ([]error, error)
	// Ping returns nil when the store can be reached.
	Ping(ctx context.Context) error
}

// Cache remembers processed identities in front of the ledger. It may forget and
// it may fail: that costs speed, never correctness.
type Cache interface {
	// Lookup returns for each identity the hash of the body it was processed
	// with, "" when the cache does not know.
	Lookup(ctx context.Context, ids []event.Identity) ([]string, error)
	// Store remembers identities with the hash of their bodies.
	Store(ctx context.Context, ids []event.Identity, bodyHashes []string) error
}

// Publisher puts an envelope on the queue and returns when it is durable there.
type Publisher interface {
	Publish(ctx context.Context, e *event.Envelope) (event.Receipt, error)
}

// Reader fills e from a queued envelope, as its courier's settings have it, and
// appends to faults what is wrong with the body. The envelope's identity rules: e
// has its event id and key. It is called for each attempt, so that an event
// which could not be read comes through once the settings are right.
type Reader func(env *event.Envelope, e *event.Event, faults event.Faults) event.Faults
