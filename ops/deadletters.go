package ops

import (
	"log/slog"
	"net/http"
	"net/url"

	"github.com/fincart/courier-gateway/ingest/event"
)

// MaxNoteBytes bounds an operator's note.
const MaxNoteBytes = 2000

// DeadLetterPage is one page of a listing, in the store's order.
type DeadLetterPage struct {
	DeadLetters []DeadLetterRow `json:"deadLetters"`
	Next        string          `json:"next,omitempty"` // pass as after for the next page; empty on the last
}

func (p DeadLetterPage) list() ([]DeadLetterRow, string) { return p.DeadLetters, p.Next }

// DeadLetterRow is a dead letter as listings have it: without its body and
// headers, which can be large.
type DeadLetterRow struct {
	event.DeadLetter
	// Body and Headers stand before those of the letter and stay empty.
	Body    *struct{} `json:"body,omitempty"`
	Headers *struct{} `json:"headers,omitempty"`
}

// Note is the body of a review.
type Note struct {
	Note string `json:"note,omitempty"`
}

func (a *Admin) deadLetters(w http.ResponseWriter, r *http.Request) error {
	if a.deps.DeadLetters == nil {
		return a.notHere("dead letters")
	}
	filter, err := parseFilter(r.URL.Query())
	if err != nil {
		return err
	}
	asked := filter
	asked.Limit++
	letters, err := a.deps.DeadLetters.DeadLetters(r.Context(), asked)
	if err != nil {
		return err
	}
	var page DeadLetterPage
	page.DeadLetters, page.Next = cutPage(letters, filter.Limit,
		func(d event.DeadLetter) DeadLetterRow { return DeadLetterRow{DeadLetter: d} },
		func(d event.DeadLetter) string { return d.ID })
	return answer(w, page)
}

func (a *Admin) deadLetter(w http.ResponseWriter, r *http.Request) error {
	if a.deps.DeadLetters == nil {
		return a.notHere("dead letters")
	}
	letter, err := a.deps.DeadLetters.DeadLetter(r.Context(), r.PathValue("id"))
	if err != nil {
		return letterError(r, err)
	}
	return answer(w, letter)
}

func (a *Admin) replay(w http.ResponseWriter, r *http.Request) error {
	if a.deps.Replayer == nil {
		return a.notHere("dead letters")
	}
	link, err := a.deps.Replayer.Replay(r.Context(), r.PathValue("id"))
	if err != nil {
		return letterError(r, err)
	}
	return answer(w, link)
}

// review returns the handler that gives a dead letter this status.
func (a *Admin) review(status event.ReviewStatus) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if a.deps.DeadLetters == nil {
			return a.notHere("dead letters")
		}
		body, err := readBody[Note](r, `{"note":"text"}`)
		if err != nil {
			return err
		}
		if len(body.Note) > MaxNoteBytes {
			return refuse(event.BadRequest, "the note has %d bytes, %d is the most", len(body.Note), MaxNoteBytes)
		}
		letter, err := a.deps.DeadLetters.Review(r.Context(), r.PathValue("id"), status, body.Note, nil)
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
		return refuse(event.NotFound, "no dead letter %q is stored: its time to be kept is over, or it never was one", r.PathValue("id"))
	}
	return err
}

func parseFilter(query url.Values) (event.DeadLetterFilter, error) {
	filter := event.DeadLetterFilter{Limit: DefaultPage}
	err := parseQuery(query, map[string]setter{
		"courier": text(&filter.Courier), "code": text(&filter.Code), "key": text(&filter.Key),
		"status": oneOf(&filter.Status, event.ReviewStatuses),
		"after":  text(&filter.After), "limit": rowLimit(&filter.Limit),
	})
	return filter, err
}

// formatFilter is the inverse of parseFilter.
func formatFilter(filter event.DeadLetterFilter) url.Values {
	return formatQuery(filter.Limit, map[string]string{
		"courier": filter.Courier, "code": string(filter.Code), "key": filter.Key,
		"status": string(filter.Status), "after": filter.After,
	})
}
