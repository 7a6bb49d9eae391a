package admin

import (
	"log/slog"
	"net/http"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ops"
)

func (a *api) deadLetters(w http.ResponseWriter, r *http.Request) error {
	filter, err := ops.ParseDeadLetterQuery(r.URL.Query())
	if err != nil {
		return err
	}
	asked := filter
	asked.Limit++
	letters, err := a.deps.DeadLetters.DeadLetters(r.Context(), asked)
	if err != nil {
		return err
	}
	var page ops.DeadLetterPage
	page.DeadLetters, page.Next = cutPage(letters, filter.Limit,
		func(d event.DeadLetter) ops.DeadLetterRow { return ops.DeadLetterRow{DeadLetter: d} },
		func(d event.DeadLetter) string { return d.ID })
	return answer(w, page)
}

func (a *api) deadLetter(w http.ResponseWriter, r *http.Request) error {
	letter, err := a.deps.DeadLetters.DeadLetter(r.Context(), r.PathValue("id"))
	if err != nil {
		return letterError(r, err)
	}
	return answer(w, letter)
}

func (a *api) replay(w http.ResponseWriter, r *http.Request) error {
	link, err := a.deps.Replayer.Replay(r.Context(), r.PathValue("id"))
	if err != nil {
		return letterError(r, err)
	}
	return answer(w, link)
}

// review returns the handler that gives a dead letter this status.
func (a *api) review(status event.ReviewStatus) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		note, err := readNote(r)
		if err != nil {
			return err
		}
		letter, err := a.deps.DeadLetters.Review(r.Context(), r.PathValue("id"), status, note, nil)
		if err != nil {
			return letterError(r, err)
		}
		a.deps.Log.Info("dead letter reviewed", slog.String("dead_letter", letter.ID), slog.String("review_status", string(status)),
			slog.String("trace_id", traceIDFrom(r.Context())))
		return answer(w, letter)
	}
}

// letterError says which letter is not there, whatever the store calls it.
func letterError(r *http.Request, err error) error {
	if event.CodeOf(err) == event.NotFound {
		return ops.Refuse(event.NotFound, "no dead letter %q is stored: its time to be kept is over, or it never was one", r.PathValue("id"))
	}
	return err
}
