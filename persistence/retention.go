package persistence

import (
	"slices"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// Retention says how long rows are kept. Zero keeps them for ever.
type Retention struct {
	// LedgerTTL counts from the end of an event. Events under way never expire.
	LedgerTTL time.Duration
	// DeadLetterTTL counts from the event's death, whatever its review says.
	DeadLetterTTL time.Duration
	// ShipmentTTL counts from the last change of a shipment.
	ShipmentTTL time.Duration
	// IngestionTTL counts from the first of the requests that an ingestion record
	// stands for.
	IngestionTTL time.Duration
	// IngestionsPerCourier is how many ingestion records of single requests are
	// kept for each courier, and apart from them how many sums. Requests that name no
	// courier count as one courier's. So a flood in one name pushes out no records but
	// that name's; and of those each sender's network, an address or an IPv6 site, has
	// an equal share at least, in which the newest by ID stay. Records are cut back when
	// more than a tenth of that has come on top, from each process that puts some.
	IngestionsPerCourier int
}

// DefaultRetention returns how long the appliance keeps rows unless it is told otherwise.
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
