package body

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

var noon = time.Date(2026, 2, 26, 12, 0, 0, 0, time.UTC)

// interrupted is a reader that counts how often it is interrupted.
type interrupted struct{ n int }

func (i *interrupted) Interrupt() { i.n++ }

// TestLargestHolderIsEvicted goes through the rules of a pool.
func TestLargestHolderIsEvicted(t *testing.T) {
	t.Parallel()
	now := noon
	p := &pool{limit: 1600}
	var readers []*interrupted
	open := func(by string, n int64) (*reservation, bool) {
		res, r := new(reservation), new(interrupted)
		readers = append(readers, r)
		return res, p.open(res, holder{courier: by}, r, n, now)
	}
	for range 16 {
		if _, ok := open("greedy", 100); !ok {
			t.Fatal("there is memory")
		}
	}
	if _, ok := open("greedy", 100); ok {
		t.Error("a holder's own bodies that are not slow are evicted")
	}
	small, ok := open("small", 100)
	if !ok || readers[0].n != 1 || p.used != 1600 || p.evicted != 100 {
		t.Fatalf("the oldest body of the largest holder is evicted: %v, used %d, evicted %d", ok, p.used, p.evicted)
	}
	p.evicted = p.limit / evictedShare
	if small.grow(100, now) {
		t.Error("more is evicted than may be")
	}
	p.evicted = 0 // those that read them have ended
	if !small.grow(100, now) || readers[1].n != 1 {
		t.Error("a body that grows gets none")
	}
	p.evicted = 0
	if !small.complete() {
		t.Error("a body that is there was evicted")
	}
	now = now.Add(slowBody)
	if _, ok := open("greedy", 100); !ok || readers[2].n != 1 {
		t.Error("a holder's own slow bodies are not evicted")
	}
	now, p.evicted = noon, 0
	p = &pool{limit: 1600}
	readers = nil
	for range 4 {
		open("greedy", 400)
	}
	if _, ok := open("greedy", 300); ok {
		t.Error("a body is evicted for one that is hardly smaller")
	}
	if _, ok := open("greedy", 200); !ok || readers[0].n != 1 {
		t.Error("a holder's own large bodies are not evicted for small ones")
	}
	if most := p.limit; p.used > most {
		t.Errorf("%d bytes are used", p.used)
	}
}

// ending is a reader that ends when it is interrupted.
type ending struct{ ended chan struct{} }

func (e *ending) Interrupt() { close(e.ended) }

// TestPoolUnderLoad has many bodies come, grow, be evicted and end at the same time: no
// more is lent than there is, and nothing is left of them.
func TestPoolUnderLoad(t *testing.T) {
	t.Parallel()
	p := &pool{limit: 40 * firstLong}
	var senders sync.WaitGroup
	for i := range 16 {
		senders.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for range 2000 {
				res, r := new(reservation), &ending{make(chan struct{})}
				if !p.open(res, holder{courier: fmt.Sprint(i % 5)}, r, firstLong, time.Now()) {
					continue
				}
				for n := int64(firstLong); n < 8*firstLong && random.IntN(4) > 0 && res.grow(2*n, time.Now()); n *= 2 {
					res.shrink(n)
				}
				if random.IntN(2) == 0 {
					res.complete()
				}
				p.mu.Lock()
				if p.used > p.limit || p.evicted > p.limit/evictedShare+16*firstLong || p.used < 0 || p.evicted < 0 {
					t.Errorf("%d bytes are used, %d evicted", p.used, p.evicted)
				}
				p.mu.Unlock()
				res.close()
			}
		})
	}
	senders.Wait()
	if p.used != 0 || p.evicted != 0 || len(p.holdings) != 0 || len(p.waiting) != 0 {
		t.Errorf("%d bytes are used, %d evicted, %d holders, %d wait", p.used, p.evicted, len(p.holdings), len(p.waiting))
	}
}

// BenchmarkBodiesOfManyHolders opens bodies in a pool that many holders have filled.
func BenchmarkBodiesOfManyHolders(b *testing.B) {
	p := &pool{limit: 2048 * firstLong}
	reservations := make([]reservation, 2048)
	for i := range reservations {
		p.open(&reservations[i], holder{courier: fmt.Sprint(i)}, &interrupted{}, firstLong, noon)
	}
	b.ReportAllocs()
	for b.Loop() {
		if p.open(new(reservation), holder{courier: "late"}, &interrupted{}, firstLong, noon) {
			b.Fatal("there is memory")
		}
	}
}

func TestBodyMemoryIsEnoughForLargeBodies(t *testing.T) {
	t.Parallel()
	if got := HalfBytes(14 << 20); got != 8*(14<<20) {
		t.Errorf("for bodies of 14 MiB there are %d bytes", got)
	}
	if got := HalfBytes(1 << 20); got != 32<<20 {
		t.Errorf("for bodies of 1 MiB there are %d bytes", got)
	}
}
