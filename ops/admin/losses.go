package admin

import (
	"log/slog"
	"net/http"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ops"
)

func (a *api) losses(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, ops.LossList{Losses: a.deps.Queue.Losses()})
}

func (a *api) acknowledgeLoss(w http.ResponseWriter, r *http.Request) error {
	note, err := readNote(r)
	if err != nil {
		return err
	}
	loss, err := a.deps.Queue.AcknowledgeLoss(r.Context(), r.PathValue("id"), note)
	if event.CodeOf(err) == event.NotFound {
		return ops.Refuse(event.NotFound, "the queue has no loss %q: `appliance queue losses` lists them", r.PathValue("id"))
	}
	if err != nil {
		return err
	}
	a.deps.Log.Info("loss acknowledged", slog.String("loss", loss.ID), slog.Uint64("count", loss.Events),
		slog.String("trace_id", traceIDFrom(r.Context())))
	return answer(w, loss)
}
