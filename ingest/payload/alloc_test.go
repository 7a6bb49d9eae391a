//go:build !race

package payload

import (
	"testing"

	"github.com/fincart/courier-gateway/ingest/event"
)

// The race detector allocates on its own, so these tests run without it.

func TestDecodeDoesNotAllocate(t *testing.T) {
	body := withPayload(`{"shipmentId":"shp_456","orderId":"ord_789","status":"delivered","more":[{"x":"\u00e9"},1,null]}`)
	faults := make(event.Faults, 0, 4)
	var e event.Event
	if n := testing.AllocsPerRun(1000, func() { faults = DecodeCanonical(body, &e, faults[:0]) }); n != 0 || len(faults) != 0 {
		t.Errorf("Decode allocates %v times and finds %v, want neither", n, faults)
	}
}

func TestMappedDecodeDoesNotAllocate(t *testing.T) {
	mapping := func(m Mapping, changes ...func(*Mapping)) Mapping {
		for _, change := range changes {
			change(&m)
		}
		return m
	}
	for _, tc := range []struct {
		name    string
		mapping Mapping
		body    string
		want    float64
	}{
		{"members and a status table", likeCanonical, likeBody, 0},
		{"numbers, Unix time, a substatus", unixMapping, unixBody, 0},
		{"checkpoints, a joined time, a zone", pushMapping, pushBody, 0}, // once there is memory for them
		{"a joined key", mapping(likeCanonical, func(m *Mapping) { m.Key = []string{"{id}:{kind}"} }), likeBody, 1},
		{"a hashed key", mapping(likeCanonical, func(m *Mapping) { m.Key = []string{"{sha256:body}"} }), likeBody, 1},
		{"types of which some are ignored", mapping(likeCanonical, func(m *Mapping) {
			m.Ignore = []IgnoreRule{{IsNot: []string{"parcel.*", "shipment.*"}}, {At: "{wallet}"}}
		}), likeBody, 0},
		{"an ignored type", mapping(likeCanonical, func(m *Mapping) { m.Ignore = []IgnoreRule{{Is: []string{"shipment.*"}}} }), likeBody, 0},
		{"an escape", mapping(likeCanonical, func(m *Mapping) { m.OrderID = []string{"{data.note}"} }), likeBody, 1},
	} {
		d, in := mustDecoder(t, tc.mapping), Input{Body: []byte(tc.body), Headers: fixedHeader{}}
		env := &event.Envelope{EventID: "e", Key: "k", Body: in.Body}
		faults := make(event.Faults, 0, 4)
		var e event.Event
		if n := testing.AllocsPerRun(1000, func() { faults = d.Decode(in, &e, faults[:0]) }); n != tc.want || len(faults) != 0 {
			t.Errorf("%s: Decode allocates %v times and finds %v, want %v and nothing", tc.name, n, faults, tc.want)
		}
		if n := testing.AllocsPerRun(1000, func() { faults = d.DecodeQueued(env, &e, faults[:0]) }); n > tc.want || len(faults) != 0 {
			t.Errorf("%s: DecodeQueued allocates %v times and finds %v, want at most %v and nothing", tc.name, n, faults, tc.want)
		}
	}
}

// fixedHeader has every header, with the same value.
type fixedHeader struct{}

var headerValue = []byte("evt_1")

func (fixedHeader) Header(string) ([]byte, int) { return headerValue, 1 }
