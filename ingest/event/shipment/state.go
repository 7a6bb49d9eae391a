package shipment

import (
	"slices"
	"strings"
	"time"
)

// State is a shipment's state in our vocabulary.
type State string

// The states, in the order in which a parcel usually passes through them.
const (
	Unknown            State = "unknown"
	Pending            State = "pending"
	InfoReceived       State = "info_received"
	InTransit          State = "in_transit"
	OutForDelivery     State = "out_for_delivery"
	AttemptFailed      State = "attempt_failed"
	AvailableForPickup State = "available_for_pickup"
	Exception          State = "exception"
	Delivered          State = "delivered"
	Returned           State = "returned"
	Cancelled          State = "cancelled"
	Expired            State = "expired"
)

// States lists the vocabulary by rank: of two events at the same instant, the
// one whose state is later here is the newer.
var States = []State{
	Unknown, Pending, InfoReceived, InTransit, OutForDelivery,
	AttemptFailed, AvailableForPickup, Exception,
	Expired, Cancelled, Returned, Delivered,
}

// ParseState returns the state that a courier's status names in our vocabulary,
// ignoring case, with "-" and " " taken as "_"; [Unknown] for any other.
func ParseState(status string) State {
	for _, s := range States {
		if string(s) == status {
			return s
		}
	}
	folded := State(strings.NewReplacer("-", "_", " ", "_").Replace(strings.ToLower(strings.TrimSpace(status))))
	if slices.Contains(States, folded) {
		return folded
	}
	return Unknown
}

// Rank orders states at the same instant; see [States].
func (s State) Rank() int { return slices.Index(States, s) }

// Terminal reports whether a parcel's journey ends here.
func (s State) Terminal() bool {
	switch s {
	case Delivered, Returned, Cancelled, Expired:
		return true
	default:
		return false
	}
}

// Arrived reports whether the parcel is where it was sent, or back where it came from.
func (s State) Arrived() bool { return s == Delivered || s == Returned }

// lateScans is how long after the end of a journey a scan on the way is taken for one that
// comes late, and not for the start of another journey: decision 22.
const lateScans = 48 * time.Hour

// OpensLeg reports whether s, so long after another state that ends a journey, is evidence
// that another one began.
func (s State) OpensLeg(after time.Duration) bool {
	switch s {
	case InfoReceived:
		return true
	case "", Unknown, Pending, Cancelled, Expired: // they move no parcel
		return false
	default:
		return after >= lateScans
	}
}
