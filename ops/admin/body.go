package admin

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ops"
)

// readBody reads a request's optional body, one JSON object. A refusal of another
// shows form.
func readBody[T any](r *http.Request, form string) (body T, err error) {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	err = dec.Decode(&body)
	if errors.Is(err, io.EOF) {
		return body, nil
	}
	if mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); mediaType != "application/json" {
		return body, ops.Refuse(event.UnsupportedMediaType, "the body must be application/json")
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return body, tooLarge
	}
	if _, end := dec.Token(); err != nil || !errors.Is(end, io.EOF) {
		return body, ops.Refuse(event.BadRequest, "the body must be one object %s", form)
	}
	return body, nil
}

// readNote reads an operator's note from a request's optional body.
func readNote(r *http.Request) (string, error) {
	body, err := readBody[ops.Note](r, `{"note":"text"}`)
	if err == nil && len(body.Note) > ops.MaxNoteBytes {
		err = ops.Refuse(event.BadRequest, "the note has %d bytes, %d is the most", len(body.Note), ops.MaxNoteBytes)
	}
	return body.Note, err
}

// cutPage makes a page of what a store found when it was asked for one more than
// limit, which shows whether there is a next page.
func cutPage[T, R any](found []T, limit int, row func(T) R, id func(T) string) (rows []R, next string) {
	rows = make([]R, 0, min(len(found), limit))
	for _, one := range found[:cap(rows)] {
		rows = append(rows, row(one))
	}
	if len(found) > limit {
		next = id(found[limit-1])
	}
	return rows, next
}
