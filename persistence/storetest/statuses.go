package storetest

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/persistence"
)

// contractUnmapped: lists of statuses come back as they went in, by courier, and no change
// of two at once is lost.
func contractUnmapped(t *testing.T, s persistence.Store) {
	change := func(courier string, with func(*shipment.Unmapped)) {
		if err := s.Statuses.ChangeUnmapped(t.Context(), courier, with); err != nil {
			t.Error(err)
		}
	}
	odd := shipment.UnmappedStatus{
		Status: "RTO \"$.\n日本", Events: 1 << 40, FirstSeen: Noon.Add(1), LastSeen: Noon.Add(time.Hour + 2), Key: "k", ShipmentID: "s",
	}
	change("b", func(u *shipment.Unmapped) {
		u.Statuses = []shipment.UnmappedStatus{odd, {Status: "", Events: 1, FirstSeen: Noon, LastSeen: Noon}}
	})
	change("a", func(u *shipment.Unmapped) {
		if u.Courier != "a" || len(u.Statuses) > 0 {
			t.Errorf("of one that has none, change gets %+v", u)
		}
		u.Count(odd)
	})
	change("c", func(*shipment.Unmapped) {})
	change("d", func(u *shipment.Unmapped) { u.Count(odd) })
	change("d", func(u *shipment.Unmapped) { u.Statuses = nil })
	Same(t, Must(s.Statuses.Unmapped(t.Context())), []shipment.Unmapped{
		{Courier: "a", Statuses: []shipment.UnmappedStatus{odd}},
		{Courier: "b", Statuses: []shipment.UnmappedStatus{odd, {Status: "", Events: 1, FirstSeen: Noon, LastSeen: Noon}}},
	})

	const writers = 4
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			mine, shared := odd, odd
			mine.Status = strconv.Itoa(i)
			change("e", func(u *shipment.Unmapped) { u.Count(mine, shared) })
		})
	}
	all.Wait()
	for _, u := range Must(s.Statuses.Unmapped(t.Context())) {
		if u.Courier == "e" && len(u.Statuses) != writers+1 {
			t.Errorf("of %d writers at once there is %+v", writers, u)
		}
	}
}
