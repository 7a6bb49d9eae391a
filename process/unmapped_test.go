package process

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
)

// TestUnmappedStatusesAreCounted: once for each event, whatever happens to its copies, and
// not at all when they mean "unknown".
func TestUnmappedStatusesAreCounted(t *testing.T) {
	d := newFixture(t)
	registry := prometheus.NewRegistry()
	d.Metrics = NewMetrics(registry)
	first := d.arrives("a", "s", "RTO_OFD", noon)
	d.handle(t, first, d.arrives("b", "s", "in_transit", noon), d.arrives("c", "s", "unknown", noon))
	again := d.arrives("a", "s", "RTO_OFD", noon)
	again.Sequence = 9
	d.handle(t, again, d.arrives("d", "s2", "RTO_OFD", noon.Add(time.Hour)))
	list := d.store.unmapped["demo"].Statuses
	if len(list) != 1 || list[0].Status != "RTO_OFD" || list[0].Events != 2 || list[0].ShipmentID != "s2" || list[0].Key != "d" {
		t.Errorf("counted are %+v", list)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if n := f.GetMetric()[0].GetCounter().GetValue(); f.GetName() == "courier_gateway_process_unmapped_total" && n != 2 {
			t.Errorf("the metric is %v", n)
		}
	}
	if s := d.shipment(t, "s"); s.State != shipment.InTransit || s.RawStatus != "unknown" {
		t.Errorf("the shipment is %+v", s)
	}
}

// TestStatusesThatCantBeCounted are in the history, and their events processed.
func TestStatusesThatCantBeCounted(t *testing.T) {
	d := newFixture(t)
	d.Statuses = &fakeStore{down: event.Errorf(event.DependencyDown, "memory", "no answer"), calls: map[string]int{}}
	if v := d.handle(t, d.arrives("a", "s", "RTO_OFD", noon))[0]; v.Action != event.Ack {
		t.Errorf("verdict is %+v", v)
	}
	if s := d.shipment(t, "s"); s.RawStatus != "RTO_OFD" {
		t.Errorf("the shipment is %+v", s)
	}
}
