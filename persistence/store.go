// Package persistence keeps what the appliance knows: the ledger of events, the
// shipments, the dead letters, and in front of the ledger a cache of identities.
//
// Rows of package event come in and go out; how they are kept stays in here.
// There is one [Store] contract with two implementations, [SQLite] and [Mongo],
// and one [Cache] contract with two, [MemoryCache] and [RedisCache]; each pair
// passes the same suite of tests. The main package opens them; the other
// packages see them through narrower interfaces of their own.
//
// Foreign errors are mapped here, once, to an [event.Error]:
//
//   - [event.DependencyDown]: no answer (unreachable, hanging, no writable
//     primary, disk full, damaged, the caller's deadline passed). It says nothing
//     about the events in hand.
//   - [event.Throttled]: the store asked for less.
//   - [event.Timeout]: the store answered that it gave up on the operation.
//   - [event.VersionConflict]: a row was not at the version that was to be replaced.
//   - [event.DomainInvalid]: the store can never take this row.
//   - [event.NotFound]: no such dead letter.
//   - [event.Interrupted]: the caller cancelled.
//   - [event.Internal]: anything else.
package persistence

import (
	"context"
	"fmt"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// MaxRowBytes is the most that the variable parts of one row may take in
// encoded form: a dead letter's body, a shipment's history. A larger row is
// refused as [event.DomainInvalid]. It is what MongoDB can hold in a document,
// less a margin, and every store keeps to it.
const MaxRowBytes = 15 << 20

// Store is the contract of a store. Every method is safe for concurrent use,
// copies what it is given and returns memory that belongs to the caller.
//
// What goes in comes out unchanged, with these exceptions in every store: times
// are in UTC, exact to the nanosecond, years 0 to 9999; text that is no valid
// UTF-8 has the offending bytes replaced by U+FFFD; lists, maps and bodies that
// are part of a row are never nil.
type Store interface {
	// Records returns the ledger rows that exist, in any order, in one round trip
	// whatever the number of ids.
	Records(ctx context.Context, ids []event.Identity) ([]event.Record, error)
	// Shipments returns the shipments that exist, in any order, in one round trip
	// whatever the number of refs.
	Shipments(ctx context.Context, refs []event.ShipmentRef) ([]event.Shipment, error)
	// Commit applies each change whole or not at all, as [event.Change] has it, in
	// a number of round trips that does not depend on the number of changes.
	//
	// The first result is parallel to changes: nil for a change that is stored
	// durably, else an [*event.Error], with code VersionConflict when a row is not
	// at the Version it was given with. A row with Version 0 must not exist yet; a
	// stored row has the given Version + 1. A dead letter whose ID exists is left
	// as it is, and that is no conflict.
	//
	// The second result is for the call itself; with it nothing may be assumed
	// about any change, and the first is nil.
	Commit(ctx context.Context, changes []event.Change) ([]error, error)

	// RecordsByKey returns the ledger rows of every courier with this idempotency
	// key, by courier.
	RecordsByKey(ctx context.Context, key string) ([]event.Record, error)
	// ShipmentsByID returns the shipments of every courier with this id, by courier.
	ShipmentsByID(ctx context.Context, id string) ([]event.Shipment, error)
	// DeadLetters returns the letters that pass the filter, newest first by
	// DeadAt, then by ID downwards. Code NotFound when filter.After names no letter.
	DeadLetters(ctx context.Context, filter event.DeadLetterFilter) ([]event.DeadLetter, error)
	// DeadLetter returns one letter, or an error with code NotFound.
	DeadLetter(ctx context.Context, id string) (event.DeadLetter, error)
	// Review gives a letter a status and the time of the review, a note unless it
	// is empty, and a link unless it is nil or one with its nonce is there already.
	// It returns the letter as it then is, or an error with code NotFound.
	Review(ctx context.Context, id string, status event.ReviewStatus, note string, link *event.ReplayLink) (event.DeadLetter, error)
	// DeadSequences returns which of the stream sequences have a dead letter. A
	// sequence that has none is absent from the map.
	DeadSequences(ctx context.Context, seqs []uint64) (map[uint64]bool, error)
	// Counts returns how many rows there are. It costs the same with a thousand
	// rows as with a hundred million.
	Counts(ctx context.Context) (event.StoreCounts, error)

	// Sweep deletes the rows whose time is up by the [Retention] and returns how
	// many ledger rows and dead letters those were; what was deleted before an
	// error is counted too. A store that expires rows by itself returns zeros.
	Sweep(ctx context.Context, now time.Time) (records, letters int64, err error)
	// Ping tells whether the store can be used.
	Ping(ctx context.Context) error
	// Close ends every call under way and gives back what the store holds.
	Close() error
	// Name says which store it is: "embedded" or "mongodb".
	Name() string
}

// Retention says how long rows are kept. Zero keeps them for ever.
type Retention struct {
	// LedgerTTL counts from the end of an event. Events under way never expire.
	LedgerTTL time.Duration
	// DeadLetterTTL counts from the event's death, whatever its review says.
	DeadLetterTTL time.Duration
	// ShipmentTTL counts from the last change of a shipment.
	ShipmentTTL time.Duration
}

func (r Retention) check() error {
	if r.LedgerTTL < 0 || r.DeadLetterTTL < 0 || r.ShipmentTTL < 0 {
		return fmt.Errorf("retention %+v has a negative time", r)
	}
	return nil
}

// conflict is the error of a row that is not at the version it was given with.
func conflict(op, table, id string, given int64) *event.Error {
	return event.Errorf(event.VersionConflict, op,
		"%s %q is not at version %d any more: read it anew and decide again", table, id, given)
}

// tooLarge is the error of a row that no store takes.
func tooLarge(op, table, id string, bytes int) *event.Error {
	return event.Errorf(event.DomainInvalid, op,
		"%s %q takes %d bytes, a row may take %d", table, id, bytes, MaxRowBytes)
}
