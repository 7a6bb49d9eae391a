package proof

import (
	"context"
	"slices"

	"github.com/fincart/courier-gateway/bench"
	"github.com/fincart/courier-gateway/ingest/event"
)

// maxShipments bounds the shipments that are compared.
const maxShipments = 500

// shipments returns some shipments whose every event is known to be applied or
// not.
func (p *Prover) shipments() []uint64 {
	var some []uint64
	seen := map[uint64]bool{}
	every := max(1, p.Acknowledged.Len()/(maxShipments*bench.JourneySteps))
	i := uint64(0)
	for e := range p.Acknowledged.All {
		s, _ := p.Events.Place(e)
		if i++; (i-1)%every != 0 || seen[s] || len(some) >= maxShipments {
			continue
		}
		seen[s] = true
		if !p.uncertain(s) {
			some = append(some, s)
		}
	}
	return some
}

// uncertain reports whether an event of the shipment may or may not be stored.
func (p *Prover) uncertain(shipment uint64) bool {
	for step := range uint64(bench.JourneySteps) {
		if e := p.Events.EventOf(shipment, step); p.Unsure.Has(e) && !p.Acknowledged.Has(e) {
			return true
		}
	}
	return false
}

// compare compares a shipment with its events: the newest one's status, and a
// history with each of them once.
func (p *Prover) compare(ctx context.Context, shipment uint64) error {
	id := p.Events.ShipmentID(shipment)
	var status string
	var keys []string
	for step := range uint64(bench.JourneySteps) {
		e := p.Events.EventOf(shipment, step)
		if key := p.Events.Key(e); p.Acknowledged.Has(e) && !p.Faults.Of(key).Permanent {
			status, keys = p.Events.Status(shipment, step), append(keys, key)
		}
	}
	s, err := p.Ledger.Shipment(ctx, id, p.Courier)
	if err != nil && event.CodeOf(err) != event.NotFound {
		return err
	}
	var got []string
	for _, c := range s.History {
		got = append(got, c.Key)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.proof.Shipments++
	if s.RawStatus != status || !slices.Equal(got, keys) {
		p.proof.Disordered++
		p.proof.find("shipment %s is %q by %d events, want %q by %d", id, s.RawStatus, len(got), status, len(keys))
	}
	return nil
}
