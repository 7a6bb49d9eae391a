package journey

import (
	"cmp"
	"slices"
	"time"

	"github.com/fincart/courier-gateway/ingest/event/shipment"
)

// A history is sorted by compareCheckpoints. At one moment it has a scan, once, in the name
// of the push whose key comes first; or what events say of the present, each of them, and
// then no scan that says the same. What a push says of the present and its newest scan says
// too is in it as well ([shipment.Checkpoint.ScanAt]), and not shown.

// maxHistory bounds the checkpoints kept with a shipment; past it the oldest are
// dropped and counted.
const maxHistory = 500

// adopt adds what s says to a history in which its last event said nothing of the present,
// as those that an earlier build has stored: it kept what a push says as a scan, and a
// moment's checkpoints in another order.
func adopt(s *shipment.Shipment) {
	if !slices.IsSortedFunc(s.History, compareCheckpoints) {
		slices.SortFunc(s.History, compareCheckpoints)
	}
	said := slices.ContainsFunc(s.History, func(c shipment.Checkpoint) bool { return !isScan(c) && c.Key == s.LastEvent })
	if said || len(s.History) == 0 || s.State == shipment.Unknown {
		return
	}
	join(&s.History, shipment.Checkpoint{
		At: s.EventTime, State: s.State, Status: s.RawStatus, Key: s.LastEvent, Type: "adopted", OrderID: s.OrderID, ScanAt: s.EventTime,
	})
}

// keep adds c to the history of s and reports whether it was not there before. A full
// history loses its oldest checkpoint for c, and counts it. When c is that one itself it is
// not counted, because it may be known from before.
func keep(s *shipment.Shipment, c shipment.Checkpoint) bool {
	at, joined := join(&s.History, c)
	if len(s.History) <= maxHistory {
		return joined
	}
	gone := dispensable(s.History)
	s.History = slices.Delete(s.History, gone, gone+1)
	if gone == at {
		return false
	}
	s.Dropped++
	return joined
}

// join adds c to a history, and returns its place and whether it was not there before.
func join(history *[]shipment.Checkpoint, c shipment.Checkpoint) (at int, joined bool) {
	if isScan(c) && !c.ClaimedAt.IsZero() {
		before := len(*history)
		c = joinClaims(history, c)
		at, _ = slices.BinarySearchFunc(*history, c, compareCheckpoints)
		*history = slices.Insert(*history, at, c)
		return at, len(*history) > before
	}
	at, known := slices.BinarySearchFunc(*history, c, compareMoments)
	if known {
		there := &(*history)[at]
		switch {
		case isScan(c):
			if isScan(*there) && c.Key < there.Key {
				*there = c
			}
			return at, false
		case isScan(*there):
			*there = c
			return at, true
		}
		if at, known = slices.BinarySearchFunc(*history, c, compareCheckpoints); known {
			return at, false
		}
	}
	*history = slices.Insert(*history, at, c)
	return at, true
}

// joinClaims takes the scan out of the history that claims the same time as c, and returns
// what both of them are: at the earlier of the receipts that stand for a time too far ahead.
func joinClaims(history *[]shipment.Checkpoint, c shipment.Checkpoint) shipment.Checkpoint {
	i := slices.IndexFunc(*history, func(o shipment.Checkpoint) bool {
		return isScan(o) && o.ClaimedAt.Equal(c.ClaimedAt) && o.State == c.State && o.Status == c.Status
	})
	if i < 0 {
		return c
	}
	o := (*history)[i]
	*history = slices.Delete(*history, i, i+1)
	if o.At.Before(c.At) {
		c.At = o.At
	}
	if o.Key < c.Key {
		c.Key, c.EventID = o.Key, o.EventID
	}
	return c
}

// claim returns the time that the sender gave c.
func claim(c shipment.Checkpoint) time.Time {
	if c.ClaimedAt.IsZero() {
		return c.At
	}
	return c.ClaimedAt
}

// isScan reports whether c is from the history of a push, whose type is not that of its
// elements.
func isScan(c shipment.Checkpoint) bool { return c.Type == "" }

// dispensable returns the place of the checkpoint that a full history can do without: the
// oldest that moves nothing, or says again what was said before it and is no end. Where
// there is no such, the oldest that neither ends a journey nor follows an end, because it may
// have opened a leg. Then the oldest of all. The last status stays, and so does the last
// state.
func dispensable(history []shipment.Checkpoint) int {
	status, state := -1, -1 // the last ones
	for i, c := range history {
		if !isScan(c) && c.State != "" {
			status = i
		}
		if moves(c) {
			state = i
		}
	}
	step, before := 0, shipment.Checkpoint{}
	for i, c := range history {
		switch {
		case i == status || i == state:
		case !moves(c), !c.State.Terminal() && c.State == before.State && (c.OrderID == "" || c.OrderID == before.OrderID):
			return i
		case step == 0 && !c.State.Terminal() && !before.State.Terminal():
			step = i
		}
		if moves(c) {
			before = c
		}
	}
	return step
}

// moves reports whether c is of the kind that moves a shipment.
func moves(c shipment.Checkpoint) bool {
	return !isScan(c) && c.State != "" && c.State != shipment.Unknown
}

// compareMoments orders by event time, then by rank, then by the courier's words.
func compareMoments(a, b shipment.Checkpoint) int {
	return cmp.Or(
		a.At.Compare(b.At),
		cmp.Compare(rank(a.State), rank(b.State)),
		cmp.Compare(a.Status, b.Status),
		a.ScanAt.Compare(b.ScanAt),
		a.ClaimedAt.Compare(b.ClaimedAt),
		cmp.Compare(claims(a), claims(b)),
	)
}

// claims is 1 for a scan whose time is not believed: that it is at the receipt of its push
// does not make it the same as what another event says.
func claims(c shipment.Checkpoint) int {
	if isScan(c) && !c.ClaimedAt.IsZero() {
		return 1
	}
	return 0
}

// rank is that of the vocabulary, but that what is not mapped comes last: it says nothing of
// the state, and is the courier's last word all the same.
func rank(s shipment.State) int {
	if s == shipment.Unknown {
		return len(shipment.States)
	}
	return s.Rank()
}

// compareCheckpoints orders by moment, then by what distinguishes two events, so that any
// order of arrival leads to the same history.
func compareCheckpoints(a, b shipment.Checkpoint) int {
	return cmp.Or(compareMoments(a, b), cmp.Compare(a.Key, b.Key))
}
