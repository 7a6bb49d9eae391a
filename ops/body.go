package ops

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"

	"github.com/fincart/courier-gateway/ingest/event"
)

// readBody reads a request's optional body, which is one JSON object of the form
// that is shown to whoever sends another.
func readBody[T any](r *http.Request, form string) (body T, err error) {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	err = dec.Decode(&body)
	if errors.Is(err, io.EOF) {
		return body, nil
	}
	if mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); mediaType != "application/json" {
		return body, refuse(event.UnsupportedMediaType, "the body must be application/json")
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return body, tooLarge
	}
	if _, end := dec.Token(); err != nil || !errors.Is(end, io.EOF) {
		return body, refuse(event.BadRequest, "the body must be one object %s", form)
	}
	return body, nil
}
