package persistence_test

import (
	"testing"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/persistence"
	"github.com/fincart/courier-gateway/persistence/storetest"
)

func TestMemoryCacheContract(t *testing.T) {
	t.Parallel()
	storetest.Cache(t, func(t *testing.T) persistence.Cache {
		c := storetest.Must(persistence.NewMemoryCache(2000))
		t.Cleanup(func() { c.Close() })
		return c
	})
}

func TestMemoryCacheIsBounded(t *testing.T) {
	t.Parallel()
	if _, err := persistence.NewMemoryCache(0); err == nil {
		t.Error("a cache of nothing was made")
	}
	c := storetest.Must(persistence.NewMemoryCache(2))
	id := func(key string) []event.Identity { return []event.Identity{{Courier: "c", Key: key}} }
	for _, key := range []string{"a", "b"} {
		c.Store(t.Context(), id(key), []string{key})
	}
	c.Lookup(t.Context(), id("a")) // used more recently than b
	c.Store(t.Context(), id("c"), []string{"c"})
	for key, want := range map[string]string{"a": "a", "b": "", "c": "c"} {
		if got := storetest.Must(c.Lookup(t.Context(), id(key)))[0]; got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
}

func BenchmarkMemoryCache(b *testing.B) {
	storetest.BenchmarkCache(b, storetest.Must(persistence.NewMemoryCache(1000)))
}
