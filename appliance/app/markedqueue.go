package app

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/persistence"
	"github.com/fincart/courier-gateway/process"
)

// settledQueue is the queue as the reconciler sees it.
type settledQueue interface {
	process.Settled
	State(ctx context.Context) (event.QueueState, error)
	Identity() string
}

// markedQueue is the queue of a reconciler whose store keeps marks. The store's mark is
// raised before the queue's position: as long as both are those that belong together the
// queue is never ahead. The two are compared once, before anything is verified.
type markedQueue struct {
	settledQueue
	store  persistence.Marks
	accept bool // the operator knows of the gap
	log    *slog.Logger

	compared bool // by the one reconciler
	problem  atomic.Pointer[string]
}

// PullSettled implements [process.Settled].
func (q *markedQueue) PullSettled(ctx context.Context, limit int) ([]event.Delivery, error) {
	if !q.compared {
		if err := q.compare(ctx); err != nil {
			return nil, err
		}
		q.compared = true
	}
	return q.settledQueue.PullSettled(ctx, limit)
}

// Verified implements [process.Settled].
func (q *markedQueue) Verified(ctx context.Context, seq uint64) error {
	if err := q.store.RaiseMark(ctx, q.Identity(), seq); err != nil {
		return err
	}
	return q.settledQueue.Verified(ctx, seq)
}

func (q *markedQueue) compare(ctx context.Context) error {
	state, err := q.State(ctx)
	if err != nil {
		return err
	}
	gap, err := q.store.CompareMark(ctx, q.Identity(), state.Verified)
	switch {
	case err != nil || gap == persistence.Gap{}:
		return err
	case q.accept:
		q.log.Warn("the store lacks the outcomes of events, as accepted by persistence.accept_older_store: take that setting out again",
			"first_sequence", gap.From, "last_sequence", gap.To)
		return q.store.AcceptGap(ctx, q.Identity())
	default:
		q.log.Error("the store is older than the queue: outcomes of events went to another one", "first_sequence", gap.From, "last_sequence", gap.To, "events", gap.To-gap.From+1)
		problem := fmt.Sprintf("%s is older or emptier than the queue: the events %d to %d of the queue (%d) were processed into another file or a later state of this one, and are not processed again: "+
			"stop the appliance and put that file back, or have the couriers send that time's events again and start once with persistence.accept_older_store = true",
			sqliteFile, gap.From, gap.To, gap.To-gap.From+1)
		q.problem.Store(&problem)
		return nil
	}
}

// problems returns what the health says of it.
func (q *markedQueue) problems() []string {
	if problem := q.problem.Load(); problem != nil {
		return []string{*problem}
	}
	return nil
}
