package ops

import (
	"log/slog"
	"net/http"

	"github.com/fincart/courier-gateway/ingest/event"
)

const lossesPath = "/api/v1/queue/losses"

// LossList is what the queue is known to have lost, the oldest first.
type LossList struct {
	Losses []event.Loss `json:"losses"`
}

func (a *Admin) losses(w http.ResponseWriter, _ *http.Request) error {
	if a.deps.Queue == nil {
		return a.notHere("a queue")
	}
	return answer(w, LossList{Losses: a.deps.Queue.Losses()})
}

func (a *Admin) acknowledgeLoss(w http.ResponseWriter, r *http.Request) error {
	if a.deps.Queue == nil {
		return a.notHere("a queue")
	}
	body, err := readBody[Note](r, `{"note":"text"}`)
	if err != nil {
		return err
	}
	if len(body.Note) > MaxNoteBytes {
		return refuse(event.BadRequest, "the note has %d bytes, %d is the most", len(body.Note), MaxNoteBytes)
	}
	loss, err := a.deps.Queue.AcknowledgeLoss(r.Context(), r.PathValue("id"), body.Note)
	if event.CodeOf(err) == event.NotFound {
		return refuse(event.NotFound, "the queue has no loss %q: `appliance queue losses` lists them", r.PathValue("id"))
	}
	if err != nil {
		return err
	}
	a.deps.Log.Info("loss acknowledged", slog.String("loss", loss.ID), slog.Uint64("count", loss.Events),
		slog.String("trace_id", traceIDFrom(r.Context())))
	return answer(w, loss)
}
