package event

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"
)

// sent is a request of a sender: a mapping for its documented payload, a payload
// of our own in that shape, and the event that it tells.
type sent struct {
	name    string
	mapping Mapping
	headers headers
	body    string
	want    Event
}

// received is when every request of these tests arrived.
var received = at("2026-03-03T10:00:00Z")

// hashed stands for the hash of a request's body.
const hashed = "the hash of the body"

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		panic(err)
	}
	return t.UTC()
}

func TestSenders(t *testing.T) {
	t.Parallel()
	for _, s := range slices.Concat(aggregators, carriers, lastMile, shops) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			body := []byte(s.body)
			if !json.Valid(body) {
				t.Fatal("the test's payload is no JSON")
			}
			if s.want.ID == hashed {
				s.want.ID, s.want.Key = BodyHash(body), BodyHash(body)
			}
			d := mustDecoder(t, s.mapping)
			var e Event
			if faults := d.Decode(Input{Body: body, Headers: s.headers, Received: received}, &e, nil); len(faults) > 0 {
				t.Fatalf("faults: %v", faults)
			}
			if len(e.Checkpoints) == 0 {
				e.Checkpoints = nil
			}
			if !reflect.DeepEqual(e, s.want) {
				t.Errorf("got\n%+v, want\n%+v", e, s.want)
			}
			queued := Event{ID: "left", Status: "over", Checkpoints: make([]Moment, 0, 1)}
			env := &Envelope{EventID: e.ID, Key: e.Key, ReceivedAt: received, Body: body}
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

// headers are the headers of a request of a test.
type headers map[string]string

func (h headers) Header(name string) ([]byte, int) {
	value, ok := h[name]
	if !ok {
		return nil, 0
	}
	return []byte(value), 1
}

var (
	easyPostStates = map[State][]string{
		StatePending: {"unknown"}, StateInfoReceived: {"pre_transit"}, StateInTransit: {"in_transit"},
		StateOutForDelivery: {"out_for_delivery"}, StateAvailableForPickup: {"available_for_pickup"}, StateDelivered: {"delivered"},
		StateReturned: {"return_to_sender"}, StateException: {"failure", "error"}, StateCancelled: {"cancelled"},
	}
	afterShipStates = map[State][]string{
		StatePending: {"Pending"}, StateInfoReceived: {"InfoReceived"}, StateInTransit: {"InTransit"},
		StateOutForDelivery: {"OutForDelivery"}, StateAttemptFailed: {"AttemptFail"}, StateAvailableForPickup: {"AvailableForPickup"},
		StateDelivered: {"Delivered"}, StateException: {"Exception"}, StateExpired: {"Expired"},
	}
	afterShip = Mapping{
		EventID: []string{"{event_id}"}, Type: []string{"{event}"}, Source: []string{"{msg.slug}"},
		Time:       TimeMapping{From: []string{"{ts}"}, Formats: []string{"unix"}},
		ShipmentID: []string{"{msg.tracking_number}"}, OrderID: []string{"{msg.order_id}", "{msg.order_number}"},
		Status: []string{"{msg.tag}"}, Substatus: []string{"{msg.subtag}"}, States: afterShipStates,
		Checkpoints: CheckpointMapping{
			Path: "msg.checkpoints", Time: TimeMapping{From: []string{"{checkpoint_time}"}, Formats: []string{"iso8601"}, Zone: "America/New_York"},
			Status: []string{"{tag}"}, Substatus: []string{"{subtag}"},
		},
	}
	shipEngine = Mapping{
		Key:  []string{"{data.tracking_number}:{data.status_code}:{data.events[0].occurred_at}", "{sha256:body}"},
		Type: []string{"{resource_type}"}, Time: TimeMapping{From: []string{"{data.events[0].occurred_at}"}, Received: true},
		ShipmentID: []string{"{data.tracking_number}"}, Source: []string{"{data.carrier_code}"}, Status: []string{"{data.status_code}"},
		States: map[State][]string{
			StatePending: {"NY"}, StateInfoReceived: {"AC"}, StateInTransit: {"IT"}, StateAttemptFailed: {"AT"},
			StateDelivered: {"DE"}, StateException: {"EX"}, StateAvailableForPickup: {"SP"}, StateUnknown: {"UN"},
		},
		Checkpoints: CheckpointMapping{Path: "data.events", Time: TimeMapping{From: []string{"{occurred_at}"}}, Status: []string{"{status_code}"}},
	}
	easyship = Mapping{
		Key: []string{"{sha256:body}"}, Type: []string{"{event_type}"}, Time: TimeMapping{Received: true},
		ShipmentID: []string{"{data.easyship_shipment_id}", "{resource_id}"}, OrderID: []string{"{data.platform_order_number}"},
		Status: []string{"{data.status}"},
		States: map[State][]string{
			StateInTransit: {"Shipped", "Shipped (No Tracking Provided)", "In Transit to Customer", "In Transit to Consolidation Center",
				"Arrived at Consolidation Center", "Processing at Consolidation Center"},
			StateOutForDelivery: {"Out for Delivery"}, StateAttemptFailed: {"Failed Delivery Attempt"}, StateDelivered: {"Delivered"},
			StateException: {"Exception", "Lost by Courier", "To be returned", "Liquidated"}, StateExpired: {"Delivery Expected (End of Updates)"},
			StateCancelled: {"cancelled"},
		},
		Checkpoints: CheckpointMapping{Path: "data.checkpoints", Time: TimeMapping{From: []string{"{checkpoint_time}"}}, Status: []string{"{primary_status}"}},
	}
)

// aggregators track parcels of many carriers. Sources: EasyPost's Event and
// Tracker objects; AfterShip's "Webhook Specifications" and checkpoint model;
// Shippo's "WebhookPayloadTrack"; ShipStation's "Webhook Payload Schemas";
// Sendcloud's "Parcel status changed"; Easyship's "shipment.tracking.…".
var aggregators = []sent{{
	name: "easypost",
	mapping: Mapping{
		EventID: []string{"{id}"}, Type: []string{"{description}"}, Source: []string{"{result.carrier}"},
		Time:       TimeMapping{From: []string{"{result.updated_at}", "{created_at}"}},
		ShipmentID: []string{"{result.tracking_code}"}, Status: []string{"{result.status}"}, States: easyPostStates,
		Checkpoints: CheckpointMapping{Path: "result.tracking_details", Time: TimeMapping{From: []string{"{datetime}"}}, Status: []string{"{status}"}},
	},
	body: `{"id":"evt_b7","object":"Event","description":"tracker.updated","created_at":"2026-03-02T07:12:41.000Z","status":"pending",
		"previous_attributes":{"status":"in_transit"},"user_id":"user_4","result":{"id":"trk_9","object":"Tracker","tracking_code":"94001",
		"status":"delivered","status_detail":"arrived_at_destination","updated_at":"2026-03-02T07:12:40Z","shipment_id":null,"carrier":"USPS","weight":12.5,
		"tracking_details":[
			{"object":"TrackingDetail","status":"pre_transit","status_detail":"label_created","datetime":"2026-02-27T18:00:00Z","tracking_location":{"city":null}},
			{"object":"TrackingDetail","status":"in_transit","status_detail":"arrived_at_facility","datetime":"2026-02-28T03:04:05Z"},
			{"object":"TrackingDetail","status":"delivered","status_detail":"arrived_at_destination","datetime":"2026-03-02T07:00:00Z"}]}}`,
	want: Event{
		ID: "evt_b7", Key: "evt_b7", Type: "tracker.updated", Source: "USPS", OccurredAt: at("2026-03-02T07:12:40Z"),
		ShipmentID: "94001", Status: "delivered", State: StateDelivered, Checkpoints: []Moment{
			{at("2026-02-27T18:00:00Z"), StateInfoReceived, "pre_transit"},
			{at("2026-02-28T03:04:05Z"), StateInTransit, "in_transit"},
			{at("2026-03-02T07:00:00Z"), StateDelivered, "delivered"},
		},
	},
}, {
	name: "aftership tracking", mapping: afterShip,
	body: `{"event":"tracking_update","event_id":"7c1d0a5e-88f4-4a1e-9d0b-0f6a3f5e2d11","is_tracking_first_tag":true,"ts":1772443200,
		"msg":{"id":"t1","tracking_number":"61290001","slug":"fedex","tag":"Expired","subtag":"Expired_001","order_id":null,"order_number":"1007",
		"checkpoints":[
			{"slug":"fedex","checkpoint_time":"2026-01-14T00:52:00","tag":"InTransit","subtag":"InTransit_001","message":"Departed","city":null},
			{"slug":"fedex","checkpoint_time":"2026-01-15T09:30:00+08:00","tag":"OutForDelivery","subtag":"OutForDelivery_001","message":"On the van"}]}}`,
	want: Event{
		ID: "7c1d0a5e-88f4-4a1e-9d0b-0f6a3f5e2d11", Key: "7c1d0a5e-88f4-4a1e-9d0b-0f6a3f5e2d11", Type: "tracking_update", Source: "fedex",
		OccurredAt: at("2026-03-02T09:20:00Z"), ShipmentID: "61290001", OrderID: "1007", Status: "Expired", State: StateExpired,
		Checkpoints: []Moment{
			{at("2026-01-14T05:52:00Z"), StateInTransit, "InTransit"},
			{at("2026-01-15T01:30:00Z"), StateOutForDelivery, "OutForDelivery"},
			{at("2026-03-02T09:20:00Z"), StateExpired, "Expired"}, // no checkpoint told it
		},
	},
}, {
	name: "aftership before the first checkpoint", mapping: afterShip,
	body: `{"event":"tracking_update","event_id":"e2","ts":1772443200,"msg":{"tracking_number":"61290001","slug":"fedex","tag":"Pending","subtag":"Pending_001","checkpoints":[]}}`,
	want: Event{
		ID: "e2", Key: "e2", Type: "tracking_update", Source: "fedex", OccurredAt: at("2026-03-02T09:20:00Z"),
		ShipmentID: "61290001", Status: "Pending", State: StatePending,
	},
}, {
	name: "shippo",
	mapping: Mapping{
		Key:  []string{"{data.carrier}:{data.tracking_number}:{data.tracking_status.status}:{data.tracking_status.status_date}", "{sha256:body}"},
		Type: []string{"{event}"}, Source: []string{"{data.carrier}"}, Time: TimeMapping{From: []string{"{data.tracking_status.status_date}"}, Received: true},
		ShipmentID: []string{"{data.tracking_number}"}, OrderID: []string{"{data.metadata}"},
		Status: []string{"{data.tracking_status.status}"}, Substatus: []string{"{data.tracking_status.substatus.code}"},
		States: map[State][]string{
			StatePending: {"UNKNOWN"}, StateInfoReceived: {"PRE_TRANSIT"}, StateInTransit: {"TRANSIT"},
			StateOutForDelivery: {"TRANSIT/out_for_delivery"}, StateAttemptFailed: {"TRANSIT/delivery_attempted"},
			StateAvailableForPickup: {"TRANSIT/pickup_available"}, StateDelivered: {"DELIVERED"}, StateReturned: {"RETURNED"}, StateException: {"FAILURE"},
		},
		Checkpoints: CheckpointMapping{
			Path: "data.tracking_history", Time: TimeMapping{From: []string{"{status_date}"}}, Status: []string{"{status}"}, Substatus: []string{"{substatus.code}"},
		},
	},
	body: `{"event":"track_updated","test":false,"data":{"carrier":"usps","tracking_number":"92055","metadata":"Order 12","eta":null,"messages":[],
		"tracking_status":{"object_id":"a1","status":"TRANSIT","status_date":"2026-03-02T06:30:00Z","substatus":{"code":"out_for_delivery","action_required":false}},
		"tracking_history":[
			{"object_id":"a0","status":"TRANSIT","status_date":"2026-03-01T12:00:00Z","substatus":null},
			{"object_id":"a1","status":"TRANSIT","status_date":"2026-03-02T06:30:00Z","substatus":{"code":"out_for_delivery"}}]}}`,
	want: Event{
		ID: "usps:92055:TRANSIT:2026-03-02T06:30:00Z", Key: "usps:92055:TRANSIT:2026-03-02T06:30:00Z", Type: "track_updated", Source: "usps",
		OccurredAt: at("2026-03-02T06:30:00Z"), ShipmentID: "92055", OrderID: "Order 12", Status: "TRANSIT", State: StateOutForDelivery,
		Checkpoints: []Moment{
			{at("2026-03-01T12:00:00Z"), StateInTransit, "TRANSIT"},
			{at("2026-03-02T06:30:00Z"), StateOutForDelivery, "TRANSIT"},
		},
	},
}, {
	name: "shipengine", mapping: shipEngine,
	body: `{"resource_url":"https://api.example/v1/tracking?tracking_number=1Z1","resource_type":"API_TRACK","data":{"label_url":null,"tracking_number":"1Z1",
		"status_code":"DE","status_description":"Delivered","carrier_status_code":"D","carrier_code":"ups","exception_description":null,"events":[
			{"occurred_at":"2026-03-02T15:04:00Z","carrier_occurred_at":"2026-03-02T10:04:00","description":"Delivered","event_code":"FS","status_code":"DE"},
			{"occurred_at":"2026-03-01T08:00:00Z","description":"Departed","event_code":"DP","status_code":null}]}}`,
	want: Event{
		ID: "1Z1:DE:2026-03-02T15:04:00Z", Key: "1Z1:DE:2026-03-02T15:04:00Z", Type: "API_TRACK", Source: "ups", OccurredAt: at("2026-03-02T15:04:00Z"),
		ShipmentID: "1Z1", Status: "DE", State: StateDelivered, Checkpoints: []Moment{
			{at("2026-03-02T15:04:00Z"), StateDelivered, "DE"},
			{at("2026-03-01T08:00:00Z"), "", ""},
		},
	},
}, {
	name: "shipstation, nothing scanned yet", mapping: shipEngine,
	body: `{"resource_url":"https://api.example/v2/labels/se-1/track","resource_type":"TRACK_EVENT_V2","data":{"tracking_number":"1Z2","carrier_code":"ups","status_code":"NY","events":[]}}`,
	want: Event{
		ID: hashed, Key: hashed, Type: "TRACK_EVENT_V2", Source: "ups",
		OccurredAt: received, ShipmentID: "1Z2", Status: "NY", State: StatePending,
	},
}, {
	name: "sendcloud",
	mapping: Mapping{
		Key: []string{"{parcel.id}:{parcel.status.id}:{timestamp}"}, Type: []string{"{action}"},
		Time:       TimeMapping{From: []string{"{carrier_status_change_timestamp}", "{timestamp}"}, Formats: []string{"unix_ms"}},
		ShipmentID: []string{"{parcel.id}"}, OrderID: []string{"{parcel.order_number}"},
		Status: []string{"{parcel.status.message}"},
		States: map[State][]string{
			StateInfoReceived: {"Ready to send", "Announced"}, StateInTransit: {"En route to sorting center", "Sorted", "Being sorted", "Parcel en route"},
			StateOutForDelivery: {"Driver en route"}, StateAttemptFailed: {"Delivery attempt failed"}, StateAvailableForPickup: {"Awaiting customer pickup"},
			StateDelivered: {"Delivered", "Shipment collected by customer"}, StateCancelled: {"Cancelled"},
		},
	},
	body: `{"action":"parcel_status_changed","timestamp":1772443215123,"carrier_status_change_timestamp":null,"parcel":{"id":310,"tracking_number":"3SYZ",
		"order_number":"ORD-9","status":{"id":1000,"message":"Ready to send"},"weight":"2.000","label":{},"data":{},"country":{"iso_2":"NL"}}}`,
	want: Event{
		ID: "310:1000:1772443215123", Key: "310:1000:1772443215123", Type: "parcel_status_changed", OccurredAt: at("2026-03-02T09:20:15.123Z"),
		ShipmentID: "310", OrderID: "ORD-9", Status: "Ready to send", State: StateInfoReceived,
	},
}, {
	name: "easyship checkpoints", mapping: easyship,
	body: `{"event_type":"shipment.tracking.checkpoints.created","resource_type":"shipment","resource_id":"ESUS1","data":{"easyship_shipment_id":"ESUS1",
		"platform_order_number":"#55","status":"In Transit to Customer","tracking_number":"12","checkpoints":[
			{"order_number":1,"handler":"Usps","message":"Accepted","checkpoint_time":"2026-03-01T12:00:00.000Z","primary_status":"Shipped"},
			{"order_number":2,"handler":"Usps","message":"Arrived","checkpoint_time":"2026-03-02T10:00:00.000Z","primary_status":"In Transit to Customer"}]}}`,
	want: Event{
		ID: hashed, Key: hashed, Type: "shipment.tracking.checkpoints.created", OccurredAt: at("2026-03-02T10:00:00Z"),
		ShipmentID: "ESUS1", OrderID: "#55", Status: "In Transit to Customer", State: StateInTransit, Checkpoints: []Moment{
			{at("2026-03-01T12:00:00Z"), StateInTransit, "Shipped"},
			{at("2026-03-02T10:00:00Z"), StateInTransit, "In Transit to Customer"},
		},
	},
}, {
	name: "easyship status, which tells no time", mapping: easyship,
	body: `{"event_type":"shipment.tracking.status.changed","resource_type":"shipment","resource_id":"ESUS1","data":{"easyship_shipment_id":"ESUS1","platform_order_number":"#55","status":"Delivered"}}`,
	want: Event{
		ID: hashed, Key: hashed, Type: "shipment.tracking.status.changed", OccurredAt: received,
		ShipmentID: "ESUS1", OrderID: "#55", Status: "Delivered", State: StateDelivered,
	},
}}
