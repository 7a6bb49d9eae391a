package persistence

import (
	"slices"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// Retention says how long rows are kept. Zero keeps them forever.
type Retention struct {
	// LedgerTTL counts from the end of an event. Events under way never expire.
	LedgerTTL time.Duration
	// DeadLetterTTL counts from when the event became a dead letter, whatever its review
	// says.
	DeadLetterTTL time.Duration
	// ShipmentTTL counts from the last change of a shipment.
	ShipmentTTL time.Duration
	// IngestionTTL counts from the first of the requests that an ingestion record
	// counts.
	IngestionTTL time.Duration
	// IngestionsPerCourier is how many ingestion records of single requests are kept for
	// each courier, and how many aggregates besides. Requests that name no courier count
	// as one courier's. So a flood under one name deletes no records but that name's; and
	// of those each sender's network, an IPv4 address or an IPv6 /64, keeps an equal share
	// at least, the newest by ID. Each process that puts records trims them when it has
	// put a tenth more.
	IngestionsPerCourier int
}

// DefaultRetention returns how long the appliance keeps rows unless it is configured otherwise.
func DefaultRetention() Retention {
	const day = 24 * time.Hour
	return Retention{LedgerTTL: 30 * day, DeadLetterTTL: 90 * day, IngestionTTL: 7 * day, IngestionsPerCourier: 1000}
}

// DefaultSweepEvery is how often a store is swept.
const DefaultSweepEvery = 10 * time.Minute

// TTLs returns the times of r, in no particular order.
func (r Retention) TTLs() []time.Duration {
	return []time.Duration{r.LedgerTTL, r.DeadLetterTTL, r.ShipmentTTL, r.IngestionTTL}
}

// Check adds what is wrong with r to faults.
func (r Retention) Check(faults *event.Faults) {
	faults.Check(slices.Min(r.TTLs()) >= 0 && r.IngestionsPerCourier >= 0, "Retention", "%+v has a negative time or number", r)
}

// Swept is how many rows a sweep deleted, shipments left out.
type Swept struct{ Records, DeadLetters, Ingestions int64 }
