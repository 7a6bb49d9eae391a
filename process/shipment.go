package process

import (
	"cmp"
	"slices"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
)

// apply folds e into s. Its result depends on the set of events applied and not
// on their order or number: what is already in the history changes nothing, what
// is older joins the history without touching a newer state. That is what makes a
// retry after a half-finished commit harmless.
//
// A plain event is one checkpoint, known by its key. Of a cumulative push each
// element is one, known by what it says: repeated by another push, with another key, it
// adds nothing.
func apply(s *shipment.Shipment, e event.Event, now time.Time) {
	joined, newest := false, false
	for _, c := range checkpoints(e) {
		if join(s, c) {
			joined = true
			newest = newest || compareCheckpoints(c, s.History[len(s.History)-1]) == 0
		}
	}
	if e.OrderID != "" && (newest || s.OrderID == "") {
		s.OrderID = e.OrderID
	}
	if s.CreatedAt.IsZero() {
		s.CreatedAt = now
	}
	if joined {
		s.UpdatedAt = now
	}
	settle(s)
}

// checkpoints returns what e says of its shipment.
func checkpoints(e event.Event) []shipment.Checkpoint {
	if len(e.Checkpoints) == 0 {
		return []shipment.Checkpoint{{
			At: e.OccurredAt.UTC(), State: stateOf(e.State, e.Status), Status: e.Status, Key: e.Key, EventID: e.ID, Type: e.Type,
		}}
	}
	found := make([]shipment.Checkpoint, len(e.Checkpoints))
	for i, m := range e.Checkpoints {
		found[i] = shipment.Checkpoint{
			At: m.At.UTC(), State: stateOf(m.State, m.Status), Status: m.Status, Key: e.Key, EventID: e.ID,
		}
	}
	return found
}

// stateOf returns what a sender's mapping took a status for, or else what our
// vocabulary takes it for.
func stateOf(mapped shipment.State, status string) shipment.State {
	if mapped == "" && status != "" {
		return shipment.ParseState(status)
	}
	return mapped
}

// cumulative reports whether c is from a cumulative push, whose type is not
// that of its elements.
func cumulative(c shipment.Checkpoint) bool { return c.Type == "" }

// join adds c to the history and reports whether it was not there before. What
// plain events say stays even if it is equal, what only cumulative pushes say
// stays once, in the name of the one whose key comes first.
//
// A full history loses its oldest checkpoint for c, and counts it. When c is that
// one itself it is not counted, because it may be known from before.
func join(s *shipment.Shipment, c shipment.Checkpoint) bool {
	at, known := slices.BinarySearchFunc(s.History, c, compareMoments)
	if known {
		first := &s.History[at]
		switch {
		case cumulative(c) && (!cumulative(*first) || first.Key <= c.Key):
			return false
		case cumulative(*first):
			*first = c
			return !cumulative(c)
		}
		if at, known = slices.BinarySearchFunc(s.History, c, compareCheckpoints); known {
			return false
		}
	}
	s.History = slices.Insert(s.History, at, c)
	if len(s.History) <= maxHistory {
		return true
	}
	gone := dispensable(s.History)
	s.History = slices.Delete(s.History, gone, gone+1)
	if gone == at {
		return false
	}
	s.Dropped++
	return true
}

// maxHistory bounds the checkpoints kept with a shipment; past it the oldest are
// dropped and counted.
const maxHistory = 500

// dispensable returns the place of the checkpoint that a full history can do
// without: the oldest, but a terminal one only when there is no other, because
// those mark the legs.
func dispensable(history []shipment.Checkpoint) int {
	return max(0, slices.IndexFunc(history, func(c shipment.Checkpoint) bool { return !c.State.Terminal() }))
}

// settle derives the state and the leg from the history. A newer event after a
// terminal one opens a new leg, with two exceptions: the same state repeated,
// and a status outside the vocabulary, say nothing about a new journey.
func settle(s *shipment.Shipment) {
	current := shipment.Checkpoint{State: shipment.Unknown}
	leg := 1
	for _, c := range s.History {
		if c.State == "" {
			continue // an event without a status
		}
		if current.State.Terminal() {
			if c.State == current.State || c.State == shipment.Unknown {
				continue
			}
			if c.At.After(current.At) {
				leg++
			}
		}
		current = c
	}
	s.State, s.RawStatus, s.Leg = current.State, current.Status, leg
	s.EventTime, s.LastEvent = current.At, current.Key
}

// compareMoments orders by event time, then by rank, then by the courier's words.
func compareMoments(a, b shipment.Checkpoint) int {
	return cmp.Or(
		a.At.Compare(b.At),
		cmp.Compare(a.State.Rank(), b.State.Rank()),
		cmp.Compare(a.Status, b.Status),
	)
}

// compareCheckpoints orders by moment, then by what distinguishes two plain events,
// so that any order of arrival leads to the same history.
func compareCheckpoints(a, b shipment.Checkpoint) int {
	return cmp.Or(compareMoments(a, b), cmp.Compare(a.Key, b.Key))
}
