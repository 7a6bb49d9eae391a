package persistence

import (
	"context"
	"fmt"
	"strings"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/fincart/courier-gateway/ingest/event"
)

// DefaultCacheEntries is how many identities the appliance's cache holds, about 30 MB.
const DefaultCacheEntries = 100_000

// MemoryCache is the cache inside the process. It keeps the identities used most
// recently, about 300 bytes each.
type MemoryCache struct {
	hashes *lru.Cache[event.Identity, string]
}

var _ Cache = (*MemoryCache)(nil)

// NewMemoryCache returns a cache of up to the given number of identities, at
// least 1.
func NewMemoryCache(entries int) (*MemoryCache, error) {
	hashes, err := lru.New[event.Identity, string](entries)
	if err != nil {
		return nil, fmt.Errorf("cache of %d entries: %w", entries, err)
	}
	return &MemoryCache{hashes: hashes}, nil
}

// Lookup implements [Cache]; it never fails.
func (c *MemoryCache) Lookup(_ context.Context, ids []event.Identity) ([]string, error) {
	hashes := make([]string, len(ids))
	for i, id := range ids {
		hashes[i], _ = c.hashes.Get(id)
	}
	return hashes, nil
}

// Store implements [Cache]; it never fails. Strings are cloned: an event's may be part of
// its message, which would stay in memory with them.
func (c *MemoryCache) Store(_ context.Context, ids []event.Identity, bodyHashes []string) error {
	for i, id := range ids {
		id.Courier, id.Key = strings.Clone(id.Courier), strings.Clone(id.Key)
		c.hashes.Add(id, strings.Clone(bodyHashes[i]))
	}
	return nil
}

// Ping implements [Cache].
func (c *MemoryCache) Ping(context.Context) error { return nil }

// Close implements [Cache]: it forgets everything.
func (c *MemoryCache) Close() error { c.hashes.Purge(); return nil }

// Name implements [Cache].
func (c *MemoryCache) Name() string { return "memory" }
