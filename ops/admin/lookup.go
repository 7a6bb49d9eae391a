package admin

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/ops"
)

func (a *api) event(w http.ResponseWriter, r *http.Request) error {
	return answerOne(a, w, r, "event", r.PathValue("key"), recordsOf(&a.deps),
		func(record event.Record) string { return record.Courier })
}

// recordsOf returns what looks up the ledger's rows of a key; where it has none, or can't
// be asked, those of events that wait on the queue.
func recordsOf(deps *Deps) func(ctx context.Context, key string) ([]event.Record, error) {
	return func(ctx context.Context, key string) ([]event.Record, error) {
		rows, err := deps.Events.RecordsByKey(ctx, key)
		if err == nil && len(rows) > 0 || deps.Waiting == nil {
			return rows, err
		}
		if waiting := deps.Waiting(ctx, key); len(waiting) > 0 {
			return waiting, nil
		}
		return rows, err
	}
}

func (a *api) shipment(w http.ResponseWriter, r *http.Request) error {
	find := func(ctx context.Context, id string) ([]shipment.Shipment, error) {
		found, err := a.deps.Shipments.ShipmentsByID(ctx, id)
		for i := range found {
			found[i] = found[i].Shown()
		}
		return found, err
	}
	return answerOne(a, w, r, "shipment", r.PathValue("id"), find,
		func(shipment shipment.Shipment) string { return shipment.Courier })
}

// answerOne answers with the one row of this name that belongs to the courier
// asked for; without one asked for there has to be a single row.
func answerOne[T any](a *api, w http.ResponseWriter, r *http.Request, what, name string,
	find func(context.Context, string) ([]T, error), courierOf func(T) string,
) error {
	if name == "" {
		return ops.Refuse(event.BadRequest, "say which %s: its name ends the path", what)
	}
	rows, err := find(r.Context(), name)
	if err != nil {
		return err
	}
	courier := r.URL.Query().Get("courier")
	rows = slices.DeleteFunc(rows, func(row T) bool { return courier != "" && courierOf(row) != courier })
	switch len(rows) {
	case 0:
		return ops.Refuse(event.NotFound, "no %s %q%s is stored: %s", what, name, of(courier), a.backlog(r.Context()))
	case 1:
		return answer(w, rows[0])
	}
	p := ops.Refuse(ops.Ambiguous, "")
	for _, row := range rows {
		p.Couriers = append(p.Couriers, courierOf(row))
	}
	slices.Sort(p.Couriers)
	p.Detail = fmt.Sprintf("several couriers have %s %q: say which of %s", what, name, strings.Join(p.Couriers, ", "))
	return p
}

func of(courier string) string {
	if courier == "" {
		return ""
	}
	return fmt.Sprintf(" of courier %q", courier)
}

// backlog says whether what is not stored may still be on its way. The queue can't
// be asked for one event by its key, and its figures are a moment old.
func (a *api) backlog(ctx context.Context) string {
	const waits = "it may still be queued, for nothing of an event is stored before its first attempt is over"
	if a.deps.Queue == nil {
		return waits
	}
	state, err := a.deps.Queue.State(ctx)
	switch n := state.Unprocessed(); {
	case err != nil:
		return waits + ", and the queue does not answer"
	case n == 0:
		return "the queue was empty a moment ago: unless it came since, it was never accepted, or its time to be kept is over"
	case n == 1:
		return waits + ", and 1 event waits"
	default:
		return fmt.Sprintf("%s, and %d events wait", waits, n)
	}
}
