package ops

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/fincart/courier-gateway/ingest/event"
)

// Refusals of the admin listener alone, beside those of package event.
const (
	// Unauthorized: the admin token is missing or wrong.
	Unauthorized event.Code = "UNAUTHORIZED"
	// Ambiguous: several couriers use the same key or number.
	Ambiguous event.Code = "AMBIGUOUS"
	// NotReady: the appliance is starting or draining.
	NotReady event.Code = "NOT_READY"
	// AlreadyTaken: the request is an event already.
	AlreadyTaken event.Code = "ALREADY_TAKEN"
	// InvalidConfig: the new configuration is wrong, the old one is still active.
	InvalidConfig event.Code = "INVALID_CONFIG"
)

// Problem is the body of every refusal (RFC 9457), in the form of the public
// listener's. On the client's side it is the error that a call returns.
type Problem struct { //nolint:errname // RFC 9457 calls it so
	Type    string     `json:"type"`
	Title   string     `json:"title"`
	Status  int        `json:"status"`
	Detail  string     `json:"detail"`
	Code    event.Code `json:"errorCode"`
	Message string     `json:"message"`
	TraceID string     `json:"traceId"`
	// Couriers are the choices, when a key or number names something at several
	// couriers (code AMBIGUOUS).
	Couriers []string `json:"couriers,omitempty"`
	// Key is the idempotency key of the event that a request has become (code
	// ALREADY_TAKEN).
	Key string `json:"idempotencyKey,omitempty"`
}

// Error returns the detail, safe to print: it may quote what a courier wrote.
func (p *Problem) Error() string { return safe(p.Detail) }

// refuse returns a Problem with the status that belongs to code.
func refuse(code event.Code, format string, args ...any) *Problem {
	return &Problem{Status: statusOf(code), Code: code, Detail: fmt.Sprintf(format, args...)}
}

// problemOf turns any error into the Problem to answer. What an adapter has
// given a code is shown; an error without one may say anything, so it is named
// by its trace id only.
func problemOf(err error, traceID string) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return refuse(event.PayloadTooLarge, "the body has more than %d bytes", tooLarge.Limit)
	}
	if e, ok := errors.AsType[*event.Error](err); ok && e.Code != event.Internal {
		return refuse(e.Code, "%s", err.Error())
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return refuse(event.Timeout, "the stores or the queue did not answer in time: try again, or look at /api/v1/status")
	}
	return refuse(event.Internal, "something went wrong inside: the log has it under trace_id %s", traceID)
}

// statusOf returns the HTTP status of a refusal for this reason. What is wrong
// with the thing that a request is about, and not with the request itself, is
// 422.
func statusOf(code event.Code) int {
	switch code {
	case event.BadRequest:
		return http.StatusBadRequest
	case Unauthorized:
		return http.StatusUnauthorized
	case event.Forbidden:
		return http.StatusForbidden
	case event.NotFound:
		return http.StatusNotFound
	case event.MethodNotAllowed:
		return http.StatusMethodNotAllowed
	case Ambiguous, event.VersionConflict, AlreadyTaken:
		return http.StatusConflict
	case event.PayloadTooLarge:
		return http.StatusRequestEntityTooLarge
	case event.UnsupportedMediaType:
		return http.StatusUnsupportedMediaType
	case event.Forged, event.Malformed, event.DomainInvalid, event.InvalidSignature, event.InvalidPayload,
		event.UnknownCourier, event.Incomplete, InvalidConfig:
		return http.StatusUnprocessableEntity
	case NotReady, event.IntakeUnavailable, event.DependencyDown, event.Throttled:
		return http.StatusServiceUnavailable
	case event.Timeout:
		return http.StatusGatewayTimeout
	default:
		return http.StatusInternalServerError
	}
}

// writeProblem answers with p, filling in what follows from its status.
func writeProblem(w http.ResponseWriter, p *Problem, traceID string) {
	p.Type = "urn:courier-gateway:problem:" + strings.ReplaceAll(strings.ToLower(string(p.Code)), "_", "-")
	p.Title, p.Message, p.TraceID = http.StatusText(p.Status), p.Detail, traceID
	switch p.Status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="appliance admin"`)
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
