package payload

import (
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
)

// likeCanonical maps a body of another shape with the same content as goodBody.
var likeCanonical = Mapping{
	EventID: []string{"{id}"}, Key: []string{"{dedupe}"}, Type: []string{"{kind}"},
	Time:   TimeMapping{From: []string{"{at}"}},
	Source: []string{"{from}"}, ShipmentID: []string{"{data.parcel.number}"}, OrderID: []string{"{data.order}"},
	Status: []string{"{data.state}"},
	States: map[shipment.State][]string{shipment.OutForDelivery: {"OutForDelivery", "on the van"}, shipment.Delivered: {"Delivered"}},
}

const likeBody = `{"id":"evt_123","kind":"shipment.status.updated","at":"2026-02-26T12:00:00Z",
 "from":"courier-x","dedupe":"courier-x:evt_123","checkpoint":{"city":"Zürich","facility":null,"scans":[1,2.5e3,true]},
 "data":{"parcel":{"number":"shp_456"},"order":"ord_789","state":"OUTFORDELIVERY","weightGrams":1250,"note":"left at the \"door\""}}`

// unixMapping is the shape of many senders: flat, with numbers for id and time.
var unixMapping = Mapping{
	EventID: []string{"{header:x-event-id}", "{id}"}, Time: TimeMapping{From: []string{"{time}"}, Formats: []string{"unix_ms"}},
	ShipmentID: []string{"{tasks[-1].id}"}, Status: []string{"{code}"}, Substatus: []string{"{ok}"},
	States: map[shipment.State][]string{shipment.Delivered: {"3/true"}, shipment.AttemptFailed: {"3/false"}},
}

const unixBody = `{"id":9007199254740993,"time":1772107200123,"tasks":[{"id":"a","x":[{}]},{"id":"shp_456"}],"code":3,"ok":true,"more":{"a":[1,2,{"b":null}]}}`

// pushMapping is a cumulative push.
var pushMapping = Mapping{
	EventID: []string{"{id}"}, Time: TimeMapping{From: []string{"{date}{time}"}, Formats: []string{"20060102150405"}},
	ShipmentID: []string{"{number}"}, Status: []string{"{tag}"},
	States: map[shipment.State][]string{shipment.InTransit: {"InTransit"}, shipment.Delivered: {"Delivered"}},
	Checkpoints: CheckpointMapping{
		Path: "history", Time: TimeMapping{From: []string{"{at}"}, Formats: []string{"iso8601"}, Zone: "Europe/Berlin"}, Status: []string{"{tag}"},
	},
}

var pushBody = `{"id":"p","number":"shp_456","tag":"Delivered","date":"20260226","time":"120000","history":[` +
	strings.Repeat(`{"at":"2026-02-25T08:30:00","tag":"InTransit","place":{"city":"Köln"}},`, 9) +
	`{"at":"2026-02-26T12:00:00+01:00","tag":"Delivered","place":null}]}`

func mustDecoder(t testing.TB, m Mapping) *Decoder {
	t.Helper()
	d, err := NewDecoder(m)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func BenchmarkDecodeMapped(b *testing.B) {
	for _, bb := range []struct {
		name, body string
		mapping    Mapping
	}{
		{"canonical", goodBody, Mapping{}},
		{"same members", likeBody, likeCanonical},
		{"numbers", unixBody, unixMapping},
		{"ten checkpoints", pushBody, pushMapping},
	} {
		b.Run(bb.name, func(b *testing.B) {
			d, in := mustDecoder(b, bb.mapping), Input{Body: []byte(bb.body)}
			b.SetBytes(int64(len(in.Body)))
			b.ReportAllocs()
			var e event.Event
			var faults event.Faults
			for b.Loop() {
				if faults = d.Decode(in, &e, faults[:0]); len(faults) != 0 {
					b.Fatal(faults)
				}
			}
		})
	}
}
