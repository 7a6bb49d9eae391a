package process

import (
	"math/rand/v2"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
)

// report is an event of a test: its status, minutes after noon.
type report struct {
	status string
	minute int
}

func (w report) event() event.Event {
	return event.Event{
		ID: "evt", Key: w.status + "@" + strconv.Itoa(w.minute), Type: "shipment.status.updated",
		OccurredAt: noon.Add(time.Duration(w.minute) * time.Minute), ShipmentID: "s", Status: w.status,
	}
}

func TestShipmentStateDoesNotDependOnTheOrderOfArrival(t *testing.T) {
	tests := []struct {
		name  string
		sent  []report
		state shipment.State
		raw   string
		leg   int
	}{
		{"in order", []report{{"pending", 0}, {"in_transit", 1}, {"delivered", 2}}, shipment.Delivered, "delivered", 1},
		{"rank breaks ties", []report{{"delivered", 1}, {"in_transit", 1}}, shipment.Delivered, "delivered", 1},
		{"two ends at one instant are one journey", []report{{"returned", 1}, {"delivered", 1}}, shipment.Delivered, "delivered", 1},
		{"return leg", []report{{"in_transit", 0}, {"delivered", 1}, {"in_transit", 2}, {"returned", 3}}, shipment.Returned, "returned", 2},
		{"delivered twice is one journey", []report{{"delivered", 1}, {"delivered", 5}}, shipment.Delivered, "delivered", 1},
		{"courier's spelling", []report{{"Out-For Delivery", 1}}, shipment.OutForDelivery, "Out-For Delivery", 1},
		{"unknown status is kept raw", []report{{"in_transit", 0}, {"teleported", 1}}, shipment.Unknown, "teleported", 1},
		{"unknown status after the end opens no leg", []report{{"delivered", 0}, {"photo_taken", 1}}, shipment.Delivered, "delivered", 1},
		{"no status, no change", []report{{"in_transit", 0}, {"", 1}}, shipment.InTransit, "in_transit", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var first *shipment.Shipment
			for range 20 {
				s := &shipment.Shipment{Ref: shipment.Ref{Courier: "demo", ID: "s"}}
				for _, i := range rand.Perm(len(tt.sent)) {
					apply(s, tt.sent[i].event(), noon)
					apply(s, tt.sent[i].event(), noon) // twice
				}
				if s.State != tt.state || s.RawStatus != tt.raw || s.Leg != tt.leg || len(s.History) != len(tt.sent) {
					t.Fatalf("state %q (%q), leg %d, %d checkpoints; want %q (%q), leg %d, %d",
						s.State, s.RawStatus, s.Leg, len(s.History), tt.state, tt.raw, tt.leg, len(tt.sent))
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

// push is a cumulative push of a test: its key, and the moments that it reports.
func push(key string, moments ...report) event.Event {
	e := event.Event{
		ID: "evt-" + key, Key: key, Type: "history", OccurredAt: noon.Add(time.Hour), ShipmentID: "s",
		Checkpoints: make([]event.Moment, len(moments)),
	}
	for i, m := range moments {
		e.Checkpoints[i] = event.Moment{At: noon.Add(time.Duration(m.minute) * time.Minute), State: shipment.ParseState(m.status), Status: m.status}
		if m.status == "" {
			e.Checkpoints[i].State = ""
		}
	}
	return e
}

func TestCumulativePushesAddOnlyWhatIsNew(t *testing.T) {
	first := []report{{"info_received", 0}, {"in_transit", 1}}
	grown := []report{{"out_for_delivery", 2}, {"in_transit", 1}, {"info_received", 0}} // newest first
	done := append([]report{{"delivered", 3}}, grown...)
	back := append([]report{{"in_transit", 5}, {"returned", 9}}, done...)
	tests := []struct {
		name    string
		events  []event.Event
		state   shipment.State
		leg     int
		history int
		last    string // the key that the state's checkpoint has
	}{
		{"one", []event.Event{push("a", first...)}, shipment.InTransit, 1, 2, "a"},
		{"repeated under other keys", []event.Event{push("b", first...), push("a", first...), push("c", first...)}, shipment.InTransit, 1, 2, "a"},
		{"growing", []event.Event{push("a", first...), push("b", grown...), push("c", done...)}, shipment.Delivered, 1, 4, "c"},
		{"return leg", []event.Event{push("a", done...), push("b", back...), push("c", back...)}, shipment.Returned, 2, 6, "b"},
		{"one moment twice in a push", []event.Event{push("a", report{"in_transit", 1}, report{"in_transit", 1})}, shipment.InTransit, 1, 1, "a"},
		{"equal time", []event.Event{push("a", report{"delivered", 1}, report{"in_transit", 1}), push("b", report{"out_for_delivery", 1})}, shipment.Delivered, 1, 3, "a"},
		{"equal state and time in other words", []event.Event{push("a", report{"in transit", 1}), push("b", report{"in_transit", 1})}, shipment.InTransit, 1, 2, "b"},
		{"without a status", []event.Event{push("a", report{"in_transit", 1}, report{"", 2}), push("b", report{"", 2})}, shipment.InTransit, 1, 2, "a"},
		{"beside plain events", []event.Event{report{"in_transit", 1}.event(), push("a", first...), report{"delivered", 4}.event()}, shipment.Delivered, 1, 3, "delivered@4"},
		{"several plain events at a moment stay", []event.Event{named("y", report{"in_transit", 1}), push("a", first...), named("x", report{"in_transit", 1})},
			shipment.InTransit, 1, 3, "y"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := inAnyOrder(t, tt.events)
			if s.State != tt.state || s.Leg != tt.leg || len(s.History) != tt.history || s.LastEvent != tt.last {
				t.Errorf("state %q by %q, leg %d, %d checkpoints; want %q by %q, leg %d, %d",
					s.State, s.LastEvent, s.Leg, len(s.History), tt.state, tt.last, tt.leg, tt.history)
			}
		})
	}
}

// named is a plain event with a key of its own.
func named(key string, w report) event.Event {
	e := w.event()
	e.Key = key
	return e
}

// inAnyOrder applies events in many orders, each of them twice, and returns the
// shipment that all of them lead to.
func inAnyOrder(t *testing.T, events []event.Event) *shipment.Shipment {
	t.Helper()
	var first *shipment.Shipment
	for range 30 {
		s := &shipment.Shipment{Ref: shipment.Ref{Courier: "demo", ID: "s"}}
		for _, i := range rand.Perm(2 * len(events)) {
			apply(s, events[i/2].Clone(), noon)
		}
		if first == nil {
			first = s
		} else if !reflect.DeepEqual(s, first) {
			t.Fatalf("another order of arrival gave\n%+v, not\n%+v", s, first)
		}
	}
	return first
}

func TestAnyEventsInAnyOrderLeadToOneShipment(t *testing.T) {
	words := []string{"", "in_transit", "In-Transit", "out_for_delivery", "delivered", "returned", "teleported"}
	for range 200 {
		events := make([]event.Event, 1+rand.IntN(6))
		moments := map[report]bool{}
		for i := range events {
			some := make([]report, 1+rand.IntN(5))
			for k := range some {
				some[k] = report{words[rand.IntN(len(words))], rand.IntN(4)}
			}
			if rand.IntN(3) == 0 {
				events[i], some = named("key "+strconv.Itoa(i), some[0]), some[:1]
			} else {
				events[i] = push("key "+strconv.Itoa(i), some...)
			}
			for _, m := range some {
				moments[m] = true
			}
		}
		s := inAnyOrder(t, events)
		for _, c := range s.History {
			delete(moments, report{c.Status, int(c.At.Sub(noon).Minutes())})
		}
		if len(moments) > 0 {
			t.Fatalf("%v were reported and are not in the history of\n%+v", moments, s)
		}
	}
}

func TestMappedStateCountsBeforeOurOwnWords(t *testing.T) {
	e := report{"delivered", 1}.event()
	e.State = shipment.Exception // what this sender means by the word
	s := inAnyOrder(t, []event.Event{e})
	if s.State != shipment.Exception || s.RawStatus != "delivered" {
		t.Errorf("state %q, raw %q", s.State, s.RawStatus)
	}
}

func TestPushLongerThanTheHistory(t *testing.T) {
	all := []report{{"delivered", 0}}
	for i := range maxHistory + 9 {
		all = append(all, report{"in_transit", i + 1})
	}
	s := &shipment.Shipment{}
	for i := range 3 {
		apply(s, push(strconv.Itoa(i), all...), noon)
		if len(s.History) != maxHistory || s.Dropped != 10 || s.Leg != 2 || !s.History[0].State.Terminal() {
			t.Fatalf("after %d pushes: %d checkpoints, %d dropped, leg %d; want %d, 10, 2", i+1, len(s.History), s.Dropped, s.Leg, maxHistory)
		}
	}
}

func TestShipmentHistoryIsBounded(t *testing.T) {
	s := &shipment.Shipment{}
	apply(s, report{"delivered", 0}.event(), noon)
	for i := range maxHistory + 10 {
		apply(s, report{"in_transit", i + 1}.event(), noon)
	}
	if len(s.History) != maxHistory || s.Dropped != 11 || s.Leg != 2 {
		t.Errorf("%d checkpoints, %d dropped, leg %d; want %d, 11, 2", len(s.History), s.Dropped, s.Leg, maxHistory)
	}
}

func TestOrderIDComesFromTheNewestEvent(t *testing.T) {
	s := &shipment.Shipment{}
	for _, w := range []struct {
		minute int
		order  string
	}{{5, "new"}, {1, "old"}, {6, ""}} {
		e := report{"in_transit", w.minute}.event()
		e.OrderID = w.order
		apply(s, e, noon)
	}
	if s.OrderID != "new" {
		t.Errorf("order is %q, want the newest that was reported", s.OrderID)
	}
}
