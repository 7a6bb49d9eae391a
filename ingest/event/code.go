package event

import (
	"errors"
	"fmt"
)

// Code is the closed list of reasons: why a request was refused, why an attempt
// failed, why an event is a dead letter. Programs act on a Code, never on the
// text of a message. Package ops adds those that only its own answers have.
type Code string

// Refusals at intake, as in the errorCode member of an answer.
const (
	InvalidSignature     Code = "INVALID_SIGNATURE"
	InvalidPayload       Code = "INVALID_PAYLOAD"
	UnknownCourier       Code = "UNKNOWN_COURIER"
	MethodNotAllowed     Code = "METHOD_NOT_ALLOWED"
	NotFound             Code = "NOT_FOUND"
	PayloadTooLarge      Code = "PAYLOAD_TOO_LARGE"
	UnsupportedMediaType Code = "UNSUPPORTED_MEDIA_TYPE"
	RateLimited          Code = "RATE_LIMITED"
	IntakeUnavailable    Code = "INTAKE_UNAVAILABLE"
	BadRequest           Code = "BAD_REQUEST"
)

// Refusals at intake and of the admin listener.
const (
	// Forbidden: the request comes by a foreign host name or from a page of
	// another origin; at intake, from a network that its courier does not post from.
	Forbidden Code = "FORBIDDEN"
	// Incomplete: not all of the request was kept, so it can't be accepted later.
	Incomplete Code = "INCOMPLETE"
)

// Reasons of failed attempts and dead letters. Package process repeats an attempt
// after a transient failure, not after a permanent one.
const (
	// Forged: the envelope carries no valid stamp, so no courier sent it
	// through this appliance. Permanent.
	Forged Code = "FORGED"
	// Malformed: the message on the queue is no envelope of ours. Permanent.
	Malformed Code = "MALFORMED"
	// DomainInvalid: the event is well formed but can't be applied. Permanent.
	DomainInvalid Code = "DOMAIN_INVALID"
	// AttemptsExhausted: every delivery failed or was never answered. Permanent.
	AttemptsExhausted Code = "ATTEMPTS_EXHAUSTED"
	// Timeout: a dependency answered too late for this one event. Transient.
	Timeout Code = "TIMEOUT"
	// Throttled: a dependency asked for less. Transient.
	Throttled Code = "THROTTLED"
	// VersionConflict: a row changed between reading and writing it. Transient;
	// reading it again resolves it.
	VersionConflict Code = "VERSION_CONFLICT"
	// DependencyDown: the store or the broker can't be reached at all. It says
	// nothing about the event, so it costs no attempt.
	DependencyDown Code = "DEPENDENCY_DOWN"
	// Interrupted: the worker ended before it could report an outcome. Transient.
	Interrupted Code = "INTERRUPTED"
	// Internal: a fault that has no code of its own. Transient.
	Internal Code = "INTERNAL"
)

// Error carries a [Code] through the layers. Adapters map foreign errors to it
// once; no caller above them looks at the foreign error again.
type Error struct {
	Code Code
	Op   string // what was being done, such as "sqlite commit"
	Err  error  // the cause, may be nil
}

// Errorf builds an [Error] whose cause is formatted as by [fmt.Errorf].
func Errorf(code Code, op, format string, args ...any) *Error {
	return &Error{Code: code, Op: op, Err: fmt.Errorf(format, args...)}
}

func (e *Error) Error() string {
	switch {
	case e.Err == nil:
		return e.Op + ": " + string(e.Code)
	case e.Op == "":
		return string(e.Code) + ": " + e.Err.Error()
	default:
		return e.Op + ": " + string(e.Code) + ": " + e.Err.Error()
	}
}

func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of the first [Error] in err's chain, "" for nil and
// [Internal] for an error that carries none.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Internal
}
