package process

import (
	"cmp"
	"slices"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// apply folds e into s. Its result depends on the set of events applied and not
// on their order or number: an event that is already in the history changes
// nothing, an older one joins the history without touching a newer state. That is
// what makes a retry after a half-finished commit harmless.
func apply(s *event.Shipment, e event.Event, now time.Time) {
	c := event.Checkpoint{
		At: e.OccurredAt.UTC(), Status: e.Status, Key: e.Key, EventID: e.ID, Type: e.Type,
	}
	if e.Status != "" {
		c.State = event.ParseState(e.Status)
	}
	at, known := slices.BinarySearchFunc(s.History, c, compareCheckpoints)
	if known {
		return
	}
	newest := at == len(s.History)
	s.History = trim(slices.Insert(s.History, at, c), &s.Dropped)
	if e.OrderID != "" && (newest || s.OrderID == "") {
		s.OrderID = e.OrderID
	}
	if s.CreatedAt.IsZero() {
		s.CreatedAt = now
	}
	s.UpdatedAt = now
	settle(s)
}

// settle derives the state and the leg from the history. A newer event after a
// terminal one opens a new leg, with two exceptions: the same state told again,
// and a status outside the vocabulary, say nothing about a new journey.
func settle(s *event.Shipment) {
	current := event.Checkpoint{State: event.StateUnknown}
	leg := 1
	for _, c := range s.History {
		if c.State == "" {
			continue // an event without a status
		}
		if current.State.Terminal() {
			if c.State == current.State || c.State == event.StateUnknown {
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

// trim drops the oldest checkpoints past [event.MaxHistory] and counts them.
// Terminal ones stay as long as others can go, because they mark the legs.
func trim(history []event.Checkpoint, dropped *int) []event.Checkpoint {
	for len(history) > event.MaxHistory {
		oldest := max(0, slices.IndexFunc(history, func(c event.Checkpoint) bool { return !c.State.Terminal() }))
		history = slices.Delete(history, oldest, oldest+1)
		*dropped++
	}
	return history
}

// compareCheckpoints orders by event time, then by rank, then by what tells two
// events apart, so that any order of arrival leads to the same history.
func compareCheckpoints(a, b event.Checkpoint) int {
	return cmp.Or(
		a.At.Compare(b.At),
		cmp.Compare(a.State.Rank(), b.State.Rank()),
		cmp.Compare(a.Key, b.Key),
		cmp.Compare(a.Status, b.Status),
	)
}
