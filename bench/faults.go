package bench

import (
	"hash/fnv"

	"github.com/fincart/courier-gateway/ingest/event"
)

// Faults says which events fail in an appliance that is tested with faults. It
// is a function of the seed and an event's key, so that the store that injects them and
// the load that sent the events know the same.
type Faults struct {
	Seed uint64
	// Transient is the share of events whose first attempts fail, Permanent that
	// of those whose every attempt does. No event has both.
	Transient, Permanent Share
}

// Fault is what happens to the attempts at one event. The zero value is nothing.
type Fault struct {
	Permanent bool
	// Failures is how many attempts fail before one succeeds.
	Failures int
}

// Of returns the fault of the event with this idempotency key.
func (f Faults) Of(key string) Fault {
	if f.Transient <= 0 && f.Permanent <= 0 {
		return Fault{}
	}
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(key)) // never fails, see hash.Hash
	drawn := Spread(hash.Sum64() ^ Spread(f.Seed))
	switch {
	case f.Permanent.Includes(drawn):
		return Fault{Permanent: true}
	case f.Transient.Includes(Spread(drawn)):
		return Fault{Failures: failures[Spread(drawn+1)%uint64(len(failures))]}
	default:
		return Fault{}
	}
}

// failures spreads transient faults: most pass at the second attempt, some take
// until the fourth. The retry policy allows five.
var failures = [...]int{1, 1, 1, 1, 1, 1, 2, 2, 2, 3}

// Err returns the error of an attempt (1 for the first), nil for one that
// goes well.
func (f Fault) Err(attempt int) error {
	switch {
	case f.Permanent:
		return event.Errorf(event.DomainInvalid, "store", "injected permanent fault")
	case attempt <= f.Failures:
		return event.Errorf(event.Throttled, "store", "injected transient fault")
	default:
		return nil
	}
}
