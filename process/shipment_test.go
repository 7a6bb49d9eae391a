package process

import (
	"math/rand/v2"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// told is an event of a test: its status, minutes after noon.
type told struct {
	status string
	minute int
}

func (w told) event() event.Event {
	return event.Event{
		ID: "evt", Key: w.status + "@" + strconv.Itoa(w.minute), Type: "shipment.status.updated",
		OccurredAt: noon.Add(time.Duration(w.minute) * time.Minute), ShipmentID: "s", Status: w.status,
	}
}

func TestShipmentStateDoesNotDependOnTheOrderOfArrival(t *testing.T) {
	tests := []struct {
		name  string
		told  []told
		state event.State
		raw   string
		leg   int
	}{
		{"in order", []told{{"pending", 0}, {"in_transit", 1}, {"delivered", 2}}, event.StateDelivered, "delivered", 1},
		{"rank breaks ties", []told{{"delivered", 1}, {"in_transit", 1}}, event.StateDelivered, "delivered", 1},
		{"two ends at one instant are one journey", []told{{"returned", 1}, {"delivered", 1}}, event.StateDelivered, "delivered", 1},
		{"return leg", []told{{"in_transit", 0}, {"delivered", 1}, {"in_transit", 2}, {"returned", 3}}, event.StateReturned, "returned", 2},
		{"delivered twice is one journey", []told{{"delivered", 1}, {"delivered", 5}}, event.StateDelivered, "delivered", 1},
		{"courier's spelling", []told{{"Out-For Delivery", 1}}, event.StateOutForDelivery, "Out-For Delivery", 1},
		{"unknown status is kept raw", []told{{"in_transit", 0}, {"teleported", 1}}, event.StateUnknown, "teleported", 1},
		{"unknown status after the end opens no leg", []told{{"delivered", 0}, {"photo_taken", 1}}, event.StateDelivered, "delivered", 1},
		{"no status, no change", []told{{"in_transit", 0}, {"", 1}}, event.StateInTransit, "in_transit", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var first *event.Shipment
			for range 20 {
				s := &event.Shipment{ShipmentRef: event.ShipmentRef{Courier: "demo", ID: "s"}}
				for _, i := range rand.Perm(len(tt.told)) {
					apply(s, tt.told[i].event(), noon)
					apply(s, tt.told[i].event(), noon) // told twice
				}
				if s.State != tt.state || s.RawStatus != tt.raw || s.Leg != tt.leg || len(s.History) != len(tt.told) {
					t.Fatalf("state %q (%q), leg %d, %d checkpoints; want %q (%q), leg %d, %d",
						s.State, s.RawStatus, s.Leg, len(s.History), tt.state, tt.raw, tt.leg, len(tt.told))
				}
				if first == nil {
					first = s
				} else if !reflect.DeepEqual(s, first) {
					t.Fatalf("another order of arrival gave\n%+v, not\n%+v", s, first)
				}
			}
		})
	}
}

func TestShipmentHistoryIsBounded(t *testing.T) {
	s := &event.Shipment{}
	apply(s, told{"delivered", 0}.event(), noon)
	for i := range event.MaxHistory + 10 {
		apply(s, told{"in_transit", i + 1}.event(), noon)
	}
	if len(s.History) != event.MaxHistory || s.Dropped != 11 || s.Leg != 2 {
		t.Errorf("%d checkpoints, %d dropped, leg %d; want %d, 11, 2", len(s.History), s.Dropped, s.Leg, event.MaxHistory)
	}
}

func TestOrderIDComesFromTheNewestEvent(t *testing.T) {
	s := &event.Shipment{}
	for _, w := range []struct {
		minute int
		order  string
	}{{5, "new"}, {1, "old"}, {6, ""}} {
		e := told{"in_transit", w.minute}.event()
		e.OrderID = w.order
		apply(s, e, noon)
	}
	if s.OrderID != "new" {
		t.Errorf("order is %q, want the newest that was told", s.OrderID)
	}
}
