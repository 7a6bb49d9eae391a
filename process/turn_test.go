package process

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// lockstep is a store that two handlers use in time with each other: both read the
// shipments before either commits, and whoever is marked as slow commits last.
type lockstep struct {
	Store
	mu      sync.Mutex
	waiting chan struct{} // closed by whoever comes second; nil while nobody waits
}

type slowKey struct{}

func (l *lockstep) Shipments(ctx context.Context, refs []event.ShipmentRef) ([]event.Shipment, error) {
	found, err := l.Store.Shipments(ctx, refs)
	l.mu.Lock()
	other := l.waiting
	if other == nil {
		l.waiting = make(chan struct{})
		mine := l.waiting
		l.mu.Unlock()
		select {
		case <-mine:
		case <-time.After(50 * time.Millisecond): // the other one is kept out
			l.mu.Lock()
			l.waiting = nil
			l.mu.Unlock()
		}
		return found, err
	}
	l.waiting = nil
	close(other)
	l.mu.Unlock()
	return found, err
}

func (l *lockstep) Commit(ctx context.Context, changes []event.Change) ([]error, error) {
	if ctx.Value(slowKey{}) != nil {
		time.Sleep(2 * time.Millisecond)
	}
	return l.Store.Commit(ctx, changes)
}

// TestTheSlowerOfTwoHandlersIsNotStarved: a handler whose rows another one changes
// in every round still gets through, and no event of its is tried again for it.
func TestTheSlowerOfTwoHandlersIsNotStarved(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.Store = &lockstep{Store: d.store}
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
