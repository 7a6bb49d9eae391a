// Package persistence is the contract of the stores and of the caches: what the ledger
// of events, the shipments, the dead letters and the records of requests are kept in,
// and the cache of processed identities in front of the ledger.
//
//	process        ──▶ Cache         persistence.MemoryCache, persistence/redis
//	process, ops   ──▶ Ledger      ┐
//	               ──▶ DeadLetters │
//	               ──▶ Statuses    │
//	ingest, ops    ──▶ Ingestions  ├ persistence/sqlite, persistence/mongo
//	appliance, ops ──▶ Database    │
//	appliance      ──▶ Marks       ┘ (Marks: sqlite only)
//
// Rows of package event and its parts come in and go out. A [Store] is a set of
// interfaces, one for each kind of rows; every implementation passes the suite of package
// storetest. What the implementations share is here: the form of times and text, the
// bounds of a row, [Retention], [IngestionLimit], the metrics. Package
// appliance/app opens stores and caches; the other packages see them through interfaces
// of their own.
//
// An implementation maps foreign errors once, to an [event.Error]:
//
//   - [event.DependencyDown]: no answer (unreachable, hanging, no writable primary, disk
//     full, damaged, the caller's deadline passed), or one that is not about the row: an
//     operator's rule, an unknown error. It says nothing about the events in hand, unless
//     it wraps [context.DeadlineExceeded]: the answer took too long, which may be due to
//     what was asked.
//   - [event.Throttled]: the store asked for fewer requests.
//   - [event.Timeout]: the store answered that it gave up on the operation.
//   - [event.VersionConflict]: a row was not at the version that was to be replaced.
//   - [event.DomainInvalid]: the store can never store this row.
//   - [event.NotFound]: no such dead letter or ingestion record.
//   - [event.Interrupted]: the caller cancelled.
//   - [event.Internal]: anything else.
package persistence

import (
	"context"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ingest/event/loss"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
)

// Store is one store, by its parts: they share one database, and closing it closes all of
// them. Every method is safe for concurrent use, copies what it is given and
// returns memory that belongs to the caller.
//
// What goes in comes out unchanged, with these exceptions in every store: times
// are in UTC, exact to the nanosecond, years 0 to 9999; text that is no valid
// UTF-8 has the offending bytes replaced by U+FFFD; lists, maps and bodies that
// are part of a row are never nil.
type Store struct {
	Ledger      Ledger
	DeadLetters DeadLetters
	Ingestions  Ingestions
	Statuses    Statuses
	Marks       Marks // nil for a store that keeps none
	Database    Database
}

// Ledger keeps the ledger rows and the shipments, and writes both together with the dead
// letters.
type Ledger interface {
	// Records returns the ledger rows that exist, in any order, in one round trip
	// whatever the number of ids.
	Records(ctx context.Context, ids []event.Identity) ([]event.Record, error)
	// Shipments returns the shipments that exist, in any order, in one round trip
	// whatever the number of refs.
	Shipments(ctx context.Context, refs []shipment.Ref) ([]shipment.Shipment, error)
	// Commit applies each change whole or not at all, as [event.Change] has it, in
	// a number of round trips that does not depend on the number of changes.
	//
	// The first result is parallel to changes: nil for a change that is stored
	// durably, else an [*event.Error], with code VersionConflict when a row is not
	// at the Version it was given with, DependencyDown when the store refuses the row
	// because of how an operator has set it up. A row with Version 0 must not exist yet; a
	// stored row has the given Version + 1. A dead letter whose ID exists is left
	// as it is, and that is no conflict.
	//
	// The second result is the error of the call itself. It says nothing about any
	// change, and the first result is nil then.
	Commit(ctx context.Context, changes []event.Change) ([]error, error)
	// RecordsByKey returns the ledger rows of every courier with this idempotency
	// key, by courier.
	RecordsByKey(ctx context.Context, key string) ([]event.Record, error)
	// ShipmentsByID returns the shipments of every courier with this id, by courier.
	ShipmentsByID(ctx context.Context, id string) ([]shipment.Shipment, error)
	// EndedSequences returns the stream sequences of the ledger rows that are terminal
	// and that m asks for, in any order. It reads the rows that ended since
	// m.EndedAfter, all of them when that is zero.
	EndedSequences(ctx context.Context, m loss.Missing) ([]uint64, error)
	// Ping returns nil while the store can be used.
	Ping(ctx context.Context) error
}

// DeadLetters reads and reviews the dead letters.
type DeadLetters interface {
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
}

// Ingestions keeps what the intake records of requests.
type Ingestions interface {
	// PutIngestions stores records durably, in a number of round trips that does not
	// depend on the number of records. One whose ID exists is left as it is. With an
	// error some may be stored, and putting all of them again is safe. One that is too
	// large has the others refused with it.
	//
	// It also keeps the table within [Retention.IngestionsPerCourier], which takes
	// additional round trips now and then, for each courier.
	PutIngestions(ctx context.Context, records []ingestion.Record) error
	// Ingestions returns the records that pass the filter, newest first, which is by
	// ID downwards. Open selects single requests that no operator has accepted. A
	// listing continues after filter.After even when that record is deleted by now.
	Ingestions(ctx context.Context, filter ingestion.Filter) ([]ingestion.Record, error)
	// Ingestion returns one record, or an error with code NotFound.
	Ingestion(ctx context.Context, id string) (ingestion.Record, error)
	// AcceptIngestion records that a request was accepted by hand: when, by whose key id,
	// and as the event with which idempotency key. A record that was accepted before is
	// left as it is. It returns the record as it then is, or an error with code NotFound.
	AcceptIngestion(ctx context.Context, id, key, keyID string, at time.Time) (ingestion.Record, error)
}

// Statuses keeps what couriers say that no mapping knows. The lists are bounded by those who
// change them.
type Statuses interface {
	// Unmapped returns the lists that are not empty, by courier.
	Unmapped(ctx context.Context) ([]shipment.Unmapped, error)
	// ChangeUnmapped replaces the list of a courier by what change makes of it, durably; of
	// one that has none change gets an empty one. It calls change again when another writer
	// was quicker, and fails with VersionConflict after some of those.
	ChangeUnmapped(ctx context.Context, courier string, change func(*shipment.Unmapped)) error
}

// Marks keeps how far the events of a queue are known to have their outcome in the store.
// The queue keeps the same number. When the queue's is higher, the outcomes went to another
// store or to a later state of this one: this is a restored copy, or a new file in place of
// a deleted one. Rows that expire change no mark.
type Marks interface {
	// CompareMark compares what the queue says it has verified with the queue's mark and
	// returns the events in between, now or at an earlier comparison, until AcceptGap.
	//
	// A store that has rows and no mark at all is from before there were marks: it counts
	// as the right one.
	CompareMark(ctx context.Context, queue string, verified uint64) (Gap, error)
	// RaiseMark says that every event of the queue up to verified has its outcome in the
	// store. A lower number than before changes nothing.
	RaiseMark(ctx context.Context, queue string, verified uint64) error
	// AcceptGap forgets the gap of a queue.
	AcceptGap(ctx context.Context, queue string) error
}

// Gap is a range of sequences of a queue whose outcomes went to another store; zero for
// none.
type Gap struct{ From, To uint64 }

// Database is a store as a whole.
type Database interface {
	// Name says which store it is: "sqlite" or "mongodb".
	Name() string
	// Ping returns nil while the store can be used.
	Ping(ctx context.Context) error
	// Problems returns what is wrong with the store although it answers, in a fixed
	// order, each with what an operator should do about it.
	Problems() []string
	// Counts returns how many rows there are, and which of the figures are not exact. It
	// costs no more with a hundred million rows than with a million.
	Counts(ctx context.Context) (event.StoreCounts, error)

	// Sweep deletes the rows whose time is up by the [Retention] and returns how
	// many those were; what was deleted before an error is counted too. A store that
	// expires rows by itself returns zeros.
	Sweep(ctx context.Context, now time.Time) (Swept, error)
	// Close ends every call under way and releases what the store holds.
	Close() error
}
