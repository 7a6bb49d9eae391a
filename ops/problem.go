package ops

import (
	"cmp"
	"fmt"
	"net/http"

	"github.com/fincart/courier-gateway/ingest/event"
)

// Refusals that only the admin listener makes, beside those of package event.
const (
	// Unauthorized: the admin token is missing or wrong.
	Unauthorized event.Code = "UNAUTHORIZED"
	// Ambiguous: several couriers use the same key or number.
	Ambiguous event.Code = "AMBIGUOUS"
	// NotReady: the appliance is starting or draining.
	NotReady event.Code = "NOT_READY"
	// AlreadyAccepted: the request is an event already.
	AlreadyAccepted event.Code = "ALREADY_ACCEPTED"
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
	// ALREADY_ACCEPTED).
	Key string `json:"idempotencyKey,omitempty"`
}

// Error returns the detail. It may quote what a courier wrote: escape it before it
// is printed on a terminal.
func (p *Problem) Error() string { return p.Detail }

// ErrorCode returns the reason.
func (p *Problem) ErrorCode() event.Code { return p.Code }

// statuses are the HTTP statuses of refusals, by reason; a reason without one is
// answered with 500. What is wrong with the thing that a request is about, and not
// with the request itself, is 422.
var statuses = map[event.Code]int{
	event.BadRequest: http.StatusBadRequest,
	Unauthorized:     http.StatusUnauthorized, event.Forbidden: http.StatusForbidden,
	event.NotFound: http.StatusNotFound, event.MethodNotAllowed: http.StatusMethodNotAllowed,
	Ambiguous: http.StatusConflict, event.VersionConflict: http.StatusConflict, AlreadyAccepted: http.StatusConflict,
	event.PayloadTooLarge: http.StatusRequestEntityTooLarge, event.UnsupportedMediaType: http.StatusUnsupportedMediaType,
	event.Forged: http.StatusUnprocessableEntity, event.Malformed: http.StatusUnprocessableEntity, event.DomainInvalid: http.StatusUnprocessableEntity,
	event.InvalidSignature: http.StatusUnprocessableEntity, event.InvalidPayload: http.StatusUnprocessableEntity,
	event.UnknownCourier: http.StatusUnprocessableEntity, event.Incomplete: http.StatusUnprocessableEntity, InvalidConfig: http.StatusUnprocessableEntity,
	NotReady: http.StatusServiceUnavailable, event.IntakeUnavailable: http.StatusServiceUnavailable,
	event.DependencyDown: http.StatusServiceUnavailable, event.Throttled: http.StatusServiceUnavailable,
	event.Timeout: http.StatusGatewayTimeout,
}

// Refuse returns a Problem with the status that belongs to code.
func Refuse(code event.Code, format string, args ...any) *Problem {
	return &Problem{Status: cmp.Or(statuses[code], http.StatusInternalServerError), Code: code, Detail: fmt.Sprintf(format, args...)}
}
