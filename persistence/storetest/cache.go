package storetest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/persistence"
)

// Cache is what every cache has to pass. open returns an empty one that
// is closed when the test ends, and holds at least 2,000 identities.
func Cache(t *testing.T, open func(t *testing.T) persistence.Cache) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, persistence.Cache)
	}{
		{"what was stored is found", cacheFinds},
		{"identities of every kind", cacheIdentities},
		{"batches", CacheBatch},
		{"nothing is nothing", cacheNothing},
		{"memory is not shared", cacheMemory},
		{"many at the same time", cacheConcurrent},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, open(t))
		})
	}
}

func cacheFinds(t *testing.T, c persistence.Cache) {
	a, b := event.Identity{Courier: "c", Key: "a"}, event.Identity{Courier: "c", Key: "b"}
	other := event.Identity{Courier: "d", Key: "a"}
	Same(t, Must(c.Lookup(t.Context(), []event.Identity{a, b})), []string{"", ""})
	if err := c.Store(t.Context(), []event.Identity{a, b}, []string{"1", "2"}); err != nil {
		t.Fatal(err)
	}
	Same(t, Must(c.Lookup(t.Context(), []event.Identity{b, other, a, b})), []string{"2", "", "1", "2"})
	if err := c.Store(t.Context(), []event.Identity{a}, []string{"3"}); err != nil {
		t.Fatal(err)
	}
	Same(t, Must(c.Lookup(t.Context(), []event.Identity{a, b})), []string{"3", "2"})
	if err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func cacheIdentities(t *testing.T, c persistence.Cache) {
	var ids []event.Identity
	var hashes []string
	for i, key := range []string{"k", "K", "k ", "c:k", "日本語", "\x00\r\n*1\r\n", "{tag}", strings.Repeat("k", longestKey), ""} {
		ids, hashes = append(ids, event.Identity{Courier: "c", Key: key}), append(hashes, event.BodyHash([]byte{byte(i)}))
	}
	if err := c.Store(t.Context(), ids, hashes); err != nil {
		t.Fatal(err)
	}
	Same(t, Must(c.Lookup(t.Context(), ids)), hashes)
}

// CacheBatch stores 500 identities in one call and looks 1,000 up in another.
func CacheBatch(t *testing.T, c persistence.Cache) {
	var ids []event.Identity
	var hashes []string
	for i := range 1000 {
		ids, hashes = append(ids, event.Identity{Courier: "c", Key: fmt.Sprint(i)}), append(hashes, fmt.Sprint("hash", i))
	}
	if err := c.Store(t.Context(), ids[:500], hashes[:500]); err != nil {
		t.Fatal(err)
	}
	Same(t, Must(c.Lookup(t.Context(), ids)), append(slices.Clone(hashes[:500]), make([]string, 500)...))
}

func cacheNothing(t *testing.T, c persistence.Cache) {
	if got := Must(c.Lookup(t.Context(), nil)); len(got) != 0 {
		t.Errorf("no identities asked for, got %v", got)
	}
	if err := c.Store(t.Context(), nil, nil); err != nil {
		t.Error(err)
	}
}

// cacheMemory stores strings that are part of a buffer which is used again.
func cacheMemory(t *testing.T, c persistence.Cache) {
	buffer := []byte("demokeyhash")
	text := unsafe.String(&buffer[0], len(buffer))
	if err := c.Store(t.Context(), []event.Identity{{Courier: text[:4], Key: text[4:7]}}, []string{text[7:]}); err != nil {
		t.Fatal(err)
	}
	copy(buffer, "xxxxxxxxxxx")
	Same(t, Must(c.Lookup(t.Context(), []event.Identity{{Courier: "demo", Key: "key"}, {Courier: "xxxx", Key: "xxx"}})), []string{"hash", ""})
}

func cacheConcurrent(t *testing.T, c persistence.Cache) {
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			id := []event.Identity{{Courier: "c", Key: "shared"}, {Courier: "c", Key: fmt.Sprint(w)}}
			for range 50 {
				if err := c.Store(t.Context(), id, []string{"h", fmt.Sprint(w)}); err != nil {
					t.Error(err)
				}
				if got := Must(c.Lookup(t.Context(), id)); !slices.Equal(got, []string{"h", fmt.Sprint(w)}) {
					t.Errorf("got %q", got)
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkCache measures batches of 256 identities.
func BenchmarkCache(b *testing.B, c persistence.Cache) {
	var ids []event.Identity
	var hashes []string
	for i := range 256 {
		ids, hashes = append(ids, event.Identity{Courier: "courier-x", Key: fmt.Sprintf("courier-x:evt_%08d", i)}), append(hashes, event.BodyHash(nil))
	}
	b.Run("store", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := c.Store(b.Context(), ids, hashes); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("lookup", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Lookup(b.Context(), ids); err != nil {
				b.Fatal(err)
			}
		}
	})
}
