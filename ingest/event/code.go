package event

import (
	"errors"
	"fmt"
)

// Code is the closed list of reasons: why a request was refused, why an attempt
// failed, why an event is a dead letter. Programs act on a Code, never on the
// text of a message.
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

// Refusals of the admin listener, beside those above that fit there too.
const (
	// Unauthorized: the admin token is missing or wrong.
	Unauthorized Code = "UNAUTHORIZED"
	// Forbidden: the request comes by a foreign host name or from a page of
	// another origin; at intake, from a network that its courier does not post from.
	Forbidden Code = "FORBIDDEN"
	// Ambiguous: several couriers use the same key or number.
	Ambiguous Code = "AMBIGUOUS"
	// NotReady: the appliance is starting or draining.
	NotReady Code = "NOT_READY"
	// AlreadyTaken: the request is an event already.
	AlreadyTaken Code = "ALREADY_TAKEN"
	// Incomplete: not all of the request was kept, so it can't be taken in.
	Incomplete Code = "INCOMPLETE"
	// InvalidConfig: the new configuration is wrong, the old one stays in force.
	InvalidConfig Code = "INVALID_CONFIG"
)

// Reasons of failed attempts and dead letters.
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

// Class says what to do about a failure.
type Class uint8

// The classes of failure. The zero value is Transient, because a failure without a
// class may pass.
const (
	Transient Class = iota // try again, an attempt is spent
	Permanent              // trying again can't help
	Down                   // wait for the dependency, no attempt is spent
)

// Class returns how a failure with this code is treated.
func (c Code) Class() Class {
	switch c {
	case Forged, Malformed, DomainInvalid, AttemptsExhausted, InvalidPayload:
		return Permanent
	case DependencyDown:
		return Down
	default:
		return Transient
	}
}

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
