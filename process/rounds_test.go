package process

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
)

// lockstep is a store that two callers of one handler use in time with each other:
// both read the shipments before either commits, and the slow one commits last. Who
// has the handler for itself does not wait.
type lockstep struct {
	Store
	turns *sync.RWMutex // of the handler

	mu      sync.Mutex
	waiting *meeting          // of the one who came first; nil while neither waits
	met     map[bool]*meeting // of the slow one (true) and the quick one, until they commit
	left    bool              // one of the two has ended
}

// meeting is of two callers that have read the same shipments.
type meeting struct{ both, committed chan struct{} }

type slowKey struct{}

func (l *lockstep) Shipments(ctx context.Context, refs []shipment.Ref) ([]shipment.Shipment, error) {
	found, err := l.Store.Shipments(ctx, refs)
	l.mu.Lock()
	m := l.waiting
	if m != nil {
		l.waiting, l.met[true], l.met[false] = nil, m, m
		close(m.both)
		l.mu.Unlock()
		return found, err
	}
	m = &meeting{both: make(chan struct{}), committed: make(chan struct{})}
	l.waiting = m
	l.mu.Unlock()
	l.await(m)
	return found, err
}

// await returns when both are there, or the other one can't come.
func (l *lockstep) await(m *meeting) {
	for {
		select {
		case <-m.both:
			return
		default:
		}
		l.mu.Lock()
		if l.waiting == m && l.keptOut() {
			l.waiting = nil
			close(m.both)
		}
		l.mu.Unlock()
		runtime.Gosched()
	}
}

// keptOut reports whether the other one has ended, or waits for the caller to end
// its round, before which it reads nothing.
func (l *lockstep) keptOut() bool {
	if l.left {
		return true
	}
	if l.turns.TryRLock() {
		l.turns.RUnlock()
		return false
	}
	return true
}

func (l *lockstep) Commit(ctx context.Context, changes []event.Change) ([]error, error) {
	slow := ctx.Value(slowKey{}) != nil
	l.mu.Lock()
	m := l.met[slow]
	delete(l.met, slow)
	l.mu.Unlock()
	switch {
	case m == nil:
	case slow:
		<-m.committed
	default:
		defer close(m.committed)
	}
	return l.Store.Commit(ctx, changes)
}

func (l *lockstep) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left = true
}

// TestTheSlowerOfTwoHandlersIsNotStarved: a handler whose rows another one changes
// in every round still gets through, and no event of its is tried again for it.
func TestTheSlowerOfTwoHandlersIsNotStarved(t *testing.T) {
	t.Parallel()
	d := newFixture(t)
	store := &lockstep{Store: d.store, turns: &d.rounds, met: map[bool]*meeting{}}
	d.Store = store
	arrive := sync.Mutex{}
	batch := func(who string, n int) (all []event.Delivery) {
		arrive.Lock()
		defer arrive.Unlock()
		for i := range 8 {
			all = append(all, d.arrives(fmt.Sprintf("%s-%d-%d", who, n, i), fmt.Sprintf("s%d", i), "in_transit", noon.Add(time.Duration(n)*time.Second)))
		}
		return all
	}
	var handlers sync.WaitGroup
	for who, ctx := range map[string]context.Context{
		"quick": t.Context(), "slow": context.WithValue(t.Context(), slowKey{}, true),
	} {
		handlers.Go(func() {
			defer store.leave()
			for n := range 12 {
				verdicts, err := d.Handle(ctx, batch(who, n))
				if err != nil {
					t.Error(err)
				}
				for _, v := range verdicts {
					if v.Action != event.Ack {
						t.Errorf("%s: batch %d got the verdict %+v", who, n, v)
						return
					}
				}
			}
		})
	}
	handlers.Wait()
}
