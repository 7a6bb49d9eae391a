package admin

import (
	"log/slog"
	"net/http"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/reprocess"
	"github.com/fincart/courier-gateway/ops"
)

// reprocess reads events again for a few seconds, and answers where to go on.
func (a *api) reprocess(w http.ResponseWriter, r *http.Request) error {
	request, err := readBody[reprocess.Request](r, `{"courier":"name","dryRun":true}`)
	if err != nil {
		return err
	}
	if !request.Until.IsZero() && !request.Since.Before(request.Until) {
		return ops.Refuse(event.BadRequest, "receivedSince is not before receivedBefore: nothing was received between them")
	}
	page, err := a.deps.Reprocess(r.Context(), request)
	if err != nil {
		return err
	}
	if !request.DryRun && page.Selected > 0 {
		a.deps.Log.Info("events reprocessed", slog.Int("events", page.Selected), slog.Int("shipments", len(page.Changes)),
			slog.String("trace_id", traceIDFrom(r.Context())), slog.String("by", callerFrom(r.Context()).name))
	}
	return answer(w, page)
}
