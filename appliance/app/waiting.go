package app

import (
	"context"
	"fmt"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// Bounds of the search of the queue for one event.
const (
	searchedEvents = 2000 // the newest of those that wait
	searchTimeout  = 2 * time.Second
)

// searchedQueue is what the search reads.
type searchedQueue interface {
	State(ctx context.Context) (event.QueueState, error)
	Load(ctx context.Context, seq uint64) (event.Delivery, error)
}

// waitingEvents returns a function that looks for an idempotency key among the events that
// are accepted and have no row in the ledger, because nothing is stored before the first
// attempt is over. The rows that it returns say why they wait.
func waitingEvents(queue searchedQueue, storeDown func() time.Time) func(ctx context.Context, key string) []event.Record {
	return func(ctx context.Context, key string) (found []event.Record) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), searchTimeout) // a store that hangs may have used up the time
		defer cancel()
		state, err := queue.State(ctx)
		if err != nil || state.Unprocessed() == 0 {
			return nil
		}
		for seq := state.LastSeq; seq > state.AckFloor && state.LastSeq-seq < searchedEvents && ctx.Err() == nil; seq-- {
			d, err := queue.Load(ctx, seq)
			if err != nil || d.Fault != nil || d.Key != key {
				continue
			}
			found = append(found, event.Record{
				Identity: d.Identity(), Status: event.Received, EventID: d.EventID, TraceID: d.TraceID, ReceivedAt: d.ReceivedAt,
				Sequence: seq, BodyHash: event.BodyHash(d.Body), Attempts: []event.Attempt{}, UpdatedAt: d.ReceivedAt,
				Message: whyWaiting(storeDown(), seq-state.AckFloor-1),
			})
		}
		return found
	}
}

// whyWaiting says why an event has not been processed.
func whyWaiting(storeDown time.Time, before uint64) string {
	if !storeDown.IsZero() {
		return "accepted, waiting: the store is down since " + storeDown.Format(time.RFC3339) + "; it is processed when the store is back"
	}
	return fmt.Sprintf("accepted, waiting: up to %d events are before it", before)
}
