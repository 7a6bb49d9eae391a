package journey

import (
	"cmp"
	"time"

	"github.com/fincart/courier-gateway/ingest/event/shipment"
)

// settle derives state, leg and order from the history, by the table of the package.
func settle(s *shipment.Shipment) {
	f := fold{leg: 1, current: shipment.Checkpoint{State: shipment.Unknown}}
	filler := ""
	for _, c := range s.History {
		if isScan(c) {
			continue
		}
		f.add(c)
		if c.OrderID != "" {
			filler = c.OrderID
		}
	}
	s.State, s.RawStatus, s.Leg = f.current.State, f.raw, f.leg
	s.EventTime, s.LastEvent = movedAt(f.current), f.current.Key
	s.OrderID = cmp.Or(f.order, filler, s.OrderID)
}

// fold is what the events up to one of them say.
type fold struct {
	current shipment.Checkpoint // which set the state
	raw     string              // the last status in the courier's words
	order   string              // of what moved the shipment
	leg     int
	last    time.Time // when the parcel last was where current says
}

func (f *fold) add(c shipment.Checkpoint) {
	switch {
	case c.State == "":
	case c.State == shipment.Unknown:
		f.raw = c.Status
		if f.current.State == shipment.Unknown {
			f.current = c
		}
	case f.opensLeg(c):
		f.leg++
		f.take(c)
	case f.moves(c):
		f.take(c)
	case c.State == f.current.State:
		f.raw, f.order = c.Status, cmp.Or(f.order, c.OrderID)
		if at := movedAt(c); at.After(f.last) {
			f.last = at
		}
	}
}

func (f *fold) take(c shipment.Checkpoint) {
	f.current, f.raw, f.last = c, c.Status, movedAt(c)
	if c.OrderID != "" {
		f.order = c.OrderID
	}
}

// opensLeg reports whether c is evidence that another journey began after the end of one.
func (f *fold) opensLeg(c shipment.Checkpoint) bool {
	if !f.current.State.Terminal() || !movedAt(c).After(f.last) {
		return false
	}
	switch {
	case c.OrderID != "" && f.order != "" && c.OrderID != f.order:
		return true
	case c.State == shipment.Pending: // a tracker without data says so too, whatever came before
		return f.current.State == shipment.Cancelled
	case c.State == f.current.State || f.current.State == shipment.Expired && c.State != shipment.InfoReceived:
		return false
	default:
		return c.State.OpensLeg(movedAt(c).Sub(f.last))
	}
}

// moves reports whether c changes the state within a journey.
func (f *fold) moves(c shipment.Checkpoint) bool {
	switch f.current.State {
	case shipment.Delivered, shipment.Returned, shipment.Cancelled:
		return c.State != f.current.State && c.State.Arrived()
	case shipment.Expired:
		return c.State != shipment.Expired && c.State != shipment.Pending
	case shipment.Unknown, shipment.Pending, shipment.InfoReceived:
		return true
	default:
		return c.State != shipment.Pending
	}
}

// movedAt returns when the parcel was where c says: the time of the scan, if a push only
// repeats that.
func movedAt(c shipment.Checkpoint) time.Time {
	if c.ScanAt.IsZero() {
		return c.At
	}
	return c.ScanAt
}
