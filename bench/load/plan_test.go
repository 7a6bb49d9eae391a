package load

import (
	"math"
	"testing"
)

func newPlan(t *testing.T, m Mix) *plan {
	t.Helper()
	return &plan{events: generator(t, nil), mix: m}
}

func TestPlanWithoutAMixIsEveryEventInOrder(t *testing.T) {
	t.Parallel()
	p := newPlan(t, Mix{})
	for n := range uint64(2000) {
		if k, event := p.request(n); k != fresh || event != n {
			t.Fatalf("request %d is %v of event %d", n, k, event)
		}
	}
	if p.requests(2000) != 2000 {
		t.Errorf("2000 events take %d requests", p.requests(2000))
	}
}

func TestPlanMixes(t *testing.T) {
	t.Parallel()
	const requests = 50_000
	p := newPlan(t, Mix{Duplicates: 0.1, Invalid: 0.05, OutOfOrder: 0.2})
	var of [kinds]int
	at := map[uint64]uint64{} // where each event is sent first
	moved := 0
	for n := range uint64(requests) {
		k, event := p.request(n)
		of[k]++
		before, sent := at[event]
		switch {
		case k == duplicate && (!sent || n-before > 2*repeatWithin):
			t.Fatalf("request %d repeats event %d, sent: %v, at %d", n, event, sent, before)
		case k != duplicate && sent:
			t.Fatalf("event %d is sent by request %d and request %d", event, before, n)
		case k != duplicate:
			at[event] = n
		}
		if k == fresh && event != n {
			moved++
		}
	}
	share := func(n int) float64 { return float64(n) / requests }
	invalid := of[tampered] + of[badBody] + of[stale]
	if math.Abs(share(invalid)-0.05) > 0.005 || math.Abs(share(of[duplicate])-0.095) > 0.005 {
		t.Errorf("%v invalid, %v duplicates", share(invalid), share(of[duplicate]))
	}
	for _, k := range []kind{tampered, badBody, stale} {
		if of[k] < invalid/4 {
			t.Errorf("%d of %d invalid requests are %v", of[k], invalid, k)
		}
	}
	if got := float64(moved) / float64(of[fresh]); math.Abs(got-0.17) > 0.02 { // 0.2, where both of a pair are fresh
		t.Errorf("%v of the events are out of order", got)
	}
}

func TestPlanMovesEventsWithinTheirShipment(t *testing.T) {
	t.Parallel()
	p := newPlan(t, Mix{OutOfOrder: 1})
	for n := range uint64(5000) {
		_, event := p.request(n)
		shipment, step := p.events.Place(n)
		other, otherStep := p.events.Place(event)
		if event == n || other != shipment || otherStep != step^1 || p.events.Partner(event) != n {
			t.Fatalf("request %d (shipment %d, step %d) sends event %d (shipment %d, step %d)", n, shipment, step, event, other, otherStep)
		}
		if p.events.EventOf(shipment, step) != n {
			t.Fatalf("event %d is not at its place", n)
		}
	}
}

func TestPlanCountsRequestsForEvents(t *testing.T) {
	t.Parallel()
	p := newPlan(t, Mix{Duplicates: 0.3, Invalid: 0.2})
	requests, found := p.requests(1000), 0
	for n := range requests {
		if k, _ := p.request(n); k == fresh {
			found++
		}
	}
	if last, _ := p.request(requests - 1); found != 1000 || last != fresh {
		t.Errorf("%d requests carry %d events and end with %v", requests, found, last)
	}
}

func TestPlanForUndatedSchemesHasNothingStale(t *testing.T) {
	t.Parallel()
	p := newPlan(t, Mix{Invalid: 0.9})
	p.flaws = []kind{tampered, badBody}
	for n := range uint64(5000) {
		if k, _ := p.request(n); k == stale {
			t.Fatalf("request %d is stale", n)
		}
	}
}
