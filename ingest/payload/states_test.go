package payload

import (
	"testing"

	"github.com/fincart/courier-gateway/ingest/event/shipment"
)

func TestMappedStatuses(t *testing.T) {
	t.Parallel()
	table := mustDecoder(t, small(func(m *Mapping) {
		m.States = map[shipment.State][]string{shipment.Delivered: {"DLV"}, shipment.Unknown: {"N/A"}, shipment.InTransit: {"MOV/fast"}}
		m.Substatus = []string{"{sub}"}
		m.Checkpoints = CheckpointMapping{Path: "log", Time: TimeMapping{From: []string{"{t}"}}, Status: []string{"{s}"},
			States: map[shipment.State][]string{shipment.Returned: {"back"}}}
	}))
	for _, tc := range []struct {
		d      *Decoder
		status string
		scan   bool
		want   bool
	}{
		{table, " dlv", false, true}, {table, "n/a", false, true}, {table, "MOV", false, false}, {table, "delivered", false, false},
		{table, "Back", true, true}, {table, "Back", false, false}, {table, "DLV", true, false}, {table, "back/x", true, false},
		{table, "mov/Fast", false, true}, {table, "mov/slow", false, false}, {table, "N/A/soon", false, true},
		{nil, "Out-For Delivery", false, true}, {nil, "Unknown", true, true}, {nil, "RTO_OFD", false, false},
		{mustDecoder(t, small()), "delivered", false, true}, {mustDecoder(t, small()), "DLV", false, false}, {mustDecoder(t, small()), "delivered", true, false},
	} {
		if got := tc.d.Mapped(tc.status, tc.scan); got != tc.want {
			t.Errorf("%q, of a scan %v: %v", tc.status, tc.scan, got)
		}
	}
}
