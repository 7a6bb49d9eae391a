package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ops"
)

// problemOf turns any error into the Problem to answer. What an adapter has
// given a code is shown; an error without one may say anything, so it is named
// by its trace id only.
func problemOf(err error, traceID string) *ops.Problem {
	if p, ok := errors.AsType[*ops.Problem](err); ok {
		return p
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return ops.Refuse(event.PayloadTooLarge, "the body has more than %d bytes", tooLarge.Limit)
	}
	if e, ok := errors.AsType[*event.Error](err); ok && e.Code != event.Internal {
		return ops.Refuse(e.Code, "%s", err.Error())
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return ops.Refuse(event.Timeout, "the stores or the queue did not answer in time: try again, or look at /api/v1/status")
	}
	return ops.Refuse(event.Internal, "something went wrong inside: the log has it under trace_id %s", traceID)
}

// writeProblem answers with p, filling in what follows from its status.
func writeProblem(w http.ResponseWriter, p *ops.Problem, traceID string) {
	p.Type = "urn:courier-gateway:problem:" + strings.ReplaceAll(strings.ToLower(string(p.Code)), "_", "-")
	p.Title, p.Message, p.TraceID = http.StatusText(p.Status), p.Detail, traceID
	switch p.Status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="Courier Gateway admin"`)
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, p.Status, "application/problem+json", p)
}

// writeJSON answers with v. A failure to write is the caller's loss only: it has
// hung up.
func writeJSON(w http.ResponseWriter, status int, contentType string, v any) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// answer answers 200 with v.
func answer(w http.ResponseWriter, v any) error {
	writeJSON(w, http.StatusOK, "application/json", v)
	return nil
}
