package payload

import (
	"testing"

	"github.com/fincart/courier-gateway/ingest/event/shipment"
)

func TestMappedStatuses(t *testing.T) {
	t.Parallel()
	table := mustDecoder(t, small(func(m *Mapping) {
		m.States = map[shipment.State][]string{shipment.Delivered: {"DLV"}, shipment.Unknown: {"N/A"}, shipment.InTransit: {"MOV/fast"}}
		m.Checkpoints = CheckpointMapping{Path: "log", Time: TimeMapping{From: []string{"{t}"}}, Status: []string{"{s}"},
			States: map[shipment.State][]string{shipment.Returned: {"back"}}}
	}))
	for _, tc := range []struct {
		d      *Decoder
		status string
		want   bool
	}{
		{table, " dlv", true}, {table, "n/a", true}, {table, "Back", true}, {table, "MOV", false}, {table, "delivered", false},
		{nil, "Out-For Delivery", true}, {nil, "Unknown", true}, {nil, "RTO_OFD", false},
		{mustDecoder(t, small()), "delivered", true}, {mustDecoder(t, small()), "DLV", false},
	} {
		if got := tc.d.Mapped(tc.status); got != tc.want {
			t.Errorf("%q: %v", tc.status, got)
		}
	}
}
