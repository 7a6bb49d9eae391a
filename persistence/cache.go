package persistence

import (
	"context"

	"github.com/fincart/courier-gateway/ingest/event"
)

// Cache is the contract of a cache: it remembers identities that were processed,
// with the hash of their body, so that most duplicates never reach the store. It
// may forget any of them at any time, and it may fail; that costs speed, never
// correctness. Every method is safe for concurrent use.
type Cache interface {
	// Lookup returns a slice parallel to ids: the body's hash, or "" for an
	// identity not known as processed. With an error the slice is there all the
	// same, and all unknown.
	Lookup(ctx context.Context, ids []event.Identity) ([]string, error)
	// Store remembers ids as processed; bodyHashes is parallel to them. It copies what
	// it is given.
	Store(ctx context.Context, ids []event.Identity, bodyHashes []string) error
	// Ping returns nil while the cache can be reached.
	Ping(ctx context.Context) error
	// Close releases what the cache holds.
	Close() error
	// Name says which cache it is: "memory" or "redis".
	Name() string
}
