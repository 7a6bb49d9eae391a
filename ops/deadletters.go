package ops

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/fincart/courier-gateway/ingest/event"
)

// Bounds of what is asked about dead letters.
const (
	DefaultPage  = 100  // letters on a page, when nothing is asked for
	MaxPage      = 500  // letters on a page, whatever is asked for
	MaxNoteBytes = 2000 // of an operator's note
)

// DeadLetterPage is one page of a listing, in the store's order.
type DeadLetterPage struct {
	DeadLetters []DeadLetterRow `json:"deadLetters"`
	Next        string          `json:"next,omitempty"` // pass as after for the next page; empty on the last
}

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
	wanted := filter.Limit
	filter.Limit++ // one more tells whether there is a next page
	letters, err := a.deps.DeadLetters.DeadLetters(r.Context(), filter)
	if err != nil {
		return err
	}
	page := DeadLetterPage{DeadLetters: make([]DeadLetterRow, 0, wanted)}
	for _, letter := range letters[:min(len(letters), wanted)] {
		page.DeadLetters = append(page.DeadLetters, DeadLetterRow{DeadLetter: letter})
	}
	if len(letters) > wanted {
		page.Next = letters[wanted-1].ID
	}
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
		return refuse(event.NotFound, "no dead letter %q is stored: its time to be kept is over, or it never was one", r.PathValue("id"))
	}
	return err
}

// readNote reads the optional body {"note": …}.
func readNote(r *http.Request) (string, error) {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	var body Note
	err := dec.Decode(&body)
	if errors.Is(err, io.EOF) {
		return "", nil
	}
	if mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); mediaType != "application/json" {
		return "", refuse(event.UnsupportedMediaType, "the body must be application/json")
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return "", tooLarge
	}
	if _, end := dec.Token(); err != nil || !errors.Is(end, io.EOF) {
		return "", refuse(event.BadRequest, `the body must be one object {"note":"text"}`)
	}
	if len(body.Note) > MaxNoteBytes {
		return "", refuse(event.BadRequest, "the note has %d bytes, %d is the most", len(body.Note), MaxNoteBytes)
	}
	return body.Note, nil
}

// parseFilter reads a listing's query. What it does not know it refuses, because
// a filter that is silently ignored selects too much.
func parseFilter(query url.Values) (event.DeadLetterFilter, error) {
	filter := event.DeadLetterFilter{Limit: DefaultPage}
	for name, values := range query {
		if len(values) > 1 {
			return filter, refuse(event.BadRequest, "%s is given %d times", name, len(values))
		}
		if err := setFilter(&filter, name, values[0]); err != nil {
			return filter, err
		}
	}
	return filter, nil
}

func setFilter(filter *event.DeadLetterFilter, name, value string) error {
	switch name {
	case "courier":
		filter.Courier = value
	case "code":
		filter.Code = event.Code(value)
	case "key":
		filter.Key = value
	case "after":
		filter.After = value
	case "status":
		filter.Status = event.ReviewStatus(value)
		if value != "" && !slices.Contains(event.ReviewStatuses, filter.Status) {
			return refuse(event.BadRequest, "status %q is none of %v", value, event.ReviewStatuses)
		}
	case "limit":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > MaxPage {
			return refuse(event.BadRequest, "limit %q is no number from 1 to %d", value, MaxPage)
		}
		filter.Limit = n
	default:
		return refuse(event.BadRequest, "%q is no filter: courier, code, status, key, limit and after are", name)
	}
	return nil
}

// query is the inverse of parseFilter.
func query(filter event.DeadLetterFilter) url.Values {
	q := url.Values{}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	set("courier", filter.Courier)
	set("code", string(filter.Code))
	set("status", string(filter.Status))
	set("key", filter.Key)
	set("after", filter.After)
	if filter.Limit > 0 {
		q.Set("limit", strconv.Itoa(filter.Limit))
	}
	return q
}
