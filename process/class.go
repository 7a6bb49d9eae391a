package process

import "github.com/fincart/courier-gateway/ingest/event"

// class says what to do about a failure.
type class uint8

// The classes of failure. The zero value is transient, because a failure without a
// class may pass.
const (
	transient class = iota // try again, an attempt is spent
	permanent              // trying again can't help
	down                   // wait for the dependency, no attempt is spent
)

// classOf returns how a failure with this code is treated.
func classOf(code event.Code) class {
	switch code {
	case event.Forged, event.Malformed, event.DomainInvalid, event.AttemptsExhausted, event.InvalidPayload:
		return permanent
	case event.DependencyDown:
		return down
	default:
		return transient
	}
}
