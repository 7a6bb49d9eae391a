package payload

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
)

// shape is a request in the shape that several senders share, and the event that
// in it. The senders themselves are presets of the appliance, and tested there.
type shape struct {
	name    string
	mapping Mapping
	headers headers
	body    string
	want    event.Event
}

// received is when every request of these tests arrived.
var received = at("2026-03-03T10:00:00Z")

// hashed is a placeholder for the hash of a request's body.
const hashed = "the hash of the body"

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		panic(err)
	}
	return t.UTC()
}

func moment(at time.Time, state shipment.State, status string) event.Moment {
	return event.Moment{At: at, State: state, Status: status}
}

// headers are the headers of a request of a test.
type headers map[string]string

func (h headers) Header(name string) ([]byte, int) {
	value, ok := h[name]
	if !ok {
		return nil, 0
	}
	return []byte(value), 1
}

// halves maps statuses that say half of it, each with its history.
var halves = Mapping{
	Key:  []string{"{parcel.carrier}:{parcel.number}:{parcel.now.status}:{parcel.now.at}", "{sha256:body}"},
	Type: []string{"{kind}"}, Source: []string{"{parcel.carrier}"}, Time: TimeMapping{From: []string{"{parcel.now.at}"}, Received: true},
	ShipmentID: []string{"{parcel.number}"}, OrderID: []string{"{parcel.note}"},
	Status: []string{"{parcel.now.status}"}, Substatus: []string{"{parcel.now.detail.code}"},
	States: map[shipment.State][]string{
		shipment.Pending: {"UNKNOWN"}, shipment.InTransit: {"TRANSIT"}, shipment.OutForDelivery: {"TRANSIT/van"}, shipment.Delivered: {"DELIVERED"},
	},
	Checkpoints: CheckpointMapping{
		Path: "parcel.history", Time: TimeMapping{From: []string{"{at}"}}, Status: []string{"{status}"}, Substatus: []string{"{detail.code}"},
	},
}

var shapes = []shape{{
	name: "two identities, one in a header, and numbers", headers: headers{"x-event-id": "98880550"},
	mapping: Mapping{
		EventID: []string{"{header:X-Event-Id}"}, Key: []string{"{id}"}, Type: []string{"parcels/update"},
		Time: TimeMapping{From: []string{"{at}"}}, ShipmentID: []string{"{parcel_id}"}, OrderID: []string{"{order_id}"}, Status: []string{"{state}"},
		States: map[shipment.State][]string{shipment.Delivered: {"45"}},
	},
	body: `{"id":1234567,"parcel_id":255858046,"state":45,"note":null,"late":false,"at":"2026-03-02T17:00:00-05:00","order_id":450789469}`,
	want: event.Event{
		ID: "98880550", Key: "1234567", Type: "parcels/update", OccurredAt: at("2026-03-02T22:00:00Z"),
		ShipmentID: "255858046", OrderID: "450789469", Status: "45", State: shipment.Delivered,
	},
}, {
	name: "the time is in the history only, deep in arrays",
	mapping: Mapping{
		Key: []string{"{sha256:body}"}, ShipmentID: []string{"{out.all[0].number}"}, Status: []string{"{out.all[0].results[0].latest}"},
		States: map[shipment.State][]string{shipment.InTransit: {"IT"}, shipment.Delivered: {"DL"}},
		Checkpoints: CheckpointMapping{
			Path: "out.all[0].results[0].scans", Time: TimeMapping{From: []string{"{date}"}, Formats: []string{"iso8601"}}, Status: []string{"{derived}", "{code}"},
		},
	},
	body: `{"id":"x","out":{"all":[{"number":"7946","results":[{"latest":"DL","scans":[
		{"date":"2026-03-02T09:00:00-06:00","code":"DL","derived":null},{"date":"2026-03-01T20:15:00-06:00","code":"AR","derived":"IT"}]}]}]}}`,
	want: event.Event{
		ID: hashed, Key: hashed, Type: DefaultType, OccurredAt: at("2026-03-02T15:00:00Z"), ShipmentID: "7946", Status: "DL", State: shipment.Delivered,
		Checkpoints: []event.Moment{moment(at("2026-03-02T15:00:00Z"), shipment.Delivered, "DL"), moment(at("2026-03-02T02:15:00Z"), shipment.InTransit, "IT")},
	},
}, {
	name: "the history has states of its own, and the event's zone",
	mapping: Mapping{
		Key: []string{"{sha256:body}"}, Time: TimeMapping{Zone: "America/New_York"}, ShipmentID: []string{"{packages[0].id}"},
		Checkpoints: CheckpointMapping{
			Path: "packages[0].events", Time: TimeMapping{From: []string{"{date} {time}", "{date}"}, Formats: []string{"iso8601"}}, Status: []string{"{what}"},
			States: map[shipment.State][]string{shipment.OutForDelivery: {"ON THE VAN"}, shipment.Delivered: {"DONE"}},
		},
	},
	body: `{"packages":[{"id":"GM605","events":[{"date":"2026-03-02","time":"12:30:00","what":"DONE"},
		{"date":"2026-03-02","time":"08:00:00","what":"On the van"},{"date":"2026-02-28","time":null,"what":"CUSTOMS"}]}]}`,
	want: event.Event{
		ID: hashed, Key: hashed, Type: DefaultType, OccurredAt: at("2026-03-02T17:30:00Z"), ShipmentID: "GM605", Status: "DONE", State: shipment.Delivered,
		Checkpoints: []event.Moment{
			moment(at("2026-03-02T17:30:00Z"), shipment.Delivered, "DONE"), moment(at("2026-03-02T13:00:00Z"), shipment.OutForDelivery, "On the van"),
			moment(at("2026-02-28T05:00:00Z"), shipment.Unknown, "CUSTOMS"),
		},
	},
}, {
	name: "half a status, in the event and in its history", mapping: halves,
	body: `{"kind":"track","parcel":{"carrier":"usps","number":"92055","note":"Order 12","now":{"status":"TRANSIT","at":"2026-03-02T06:30:00Z","detail":{"code":"van"}},
		"history":[{"status":"TRANSIT","at":"2026-03-01T12:00:00Z","detail":null},{"status":"TRANSIT","at":"2026-03-02T06:30:00Z","detail":{"code":"van"}}]}}`,
	want: event.Event{
		ID: "usps:92055:TRANSIT:2026-03-02T06:30:00Z", Key: "usps:92055:TRANSIT:2026-03-02T06:30:00Z", Type: "track", Source: "usps",
		OccurredAt: at("2026-03-02T06:30:00Z"), ShipmentID: "92055", OrderID: "Order 12", Status: "TRANSIT", State: shipment.OutForDelivery,
		Checkpoints: []event.Moment{moment(at("2026-03-01T12:00:00Z"), shipment.InTransit, "TRANSIT"), moment(at("2026-03-02T06:30:00Z"), shipment.OutForDelivery, "TRANSIT")},
	},
}, {
	name: "nothing known yet", mapping: halves,
	body: `{"kind":"track","parcel":{"carrier":"usps","number":"92056","note":"","now":null,"history":[]}}`,
	want: event.Event{ID: hashed, Key: hashed, Type: "track", Source: "usps", OccurredAt: received, ShipmentID: "92056"},
}}

func TestShapes(t *testing.T) {
	t.Parallel()
	for _, s := range shapes {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			body := []byte(s.body)
			if !json.Valid(body) {
				t.Fatal("the test's payload is no JSON")
			}
			if s.want.ID == hashed {
				s.want.ID, s.want.Key = event.BodyHash(body), event.BodyHash(body)
			}
			d := mustDecoder(t, s.mapping)
			var e event.Event
			if faults := d.Decode(Input{Body: body, Headers: s.headers, Received: received}, &e, nil); len(faults) > 0 {
				t.Fatalf("faults: %v", faults)
			}
			if len(e.Checkpoints) == 0 {
				e.Checkpoints = nil
			}
			if !reflect.DeepEqual(e, s.want) {
				t.Errorf("got\n%+v, want\n%+v", e, s.want)
			}
			queued := event.Event{ID: "left", Status: "over", Checkpoints: make([]event.Moment, 0, 1)}
			env := &event.Envelope{EventID: e.ID, Key: e.Key, ReceivedAt: received, Body: body}
			if faults := d.DecodeQueued(env, &queued, nil); len(faults) > 0 {
				t.Fatalf("faults in the queue: %v", faults)
			}
			if queued = queued.Clone(); len(queued.Checkpoints) == 0 {
				queued.Checkpoints = nil
			}
			if !reflect.DeepEqual(queued, e) {
				t.Errorf("from the queue it is\n%+v, at intake it was\n%+v", queued, e)
			}
		})
	}
}
