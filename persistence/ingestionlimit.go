package persistence

import (
	"net/netip"
	"slices"
	"sync"

	"github.com/fincart/courier-gateway/ingest/event/ingestion"
)

// IngestionLimit keeps the ingestion records of each kind within
// [Retention.IngestionsPerCourier]. Trimming reads as many records as are kept, so it is
// done once for a tenth of them. What was put before the store was opened is not counted
// here: the first records of a kind always have it trimmed.
//
// There are as many kinds as couriers are configured, twice, and two for none.
type IngestionLimit struct {
	keep int // of a kind, 0 for all

	mu  sync.Mutex
	put map[IngestionKind]int64 // since the kind was last trimmed
}

// IngestionKind is what the limit holds for: the single requests of a courier, or
// its aggregates.
type IngestionKind struct {
	Courier string // "" for those that name none
	Single  bool
}

// IngestionOrigin is what decides whether an ingestion record is kept.
type IngestionOrigin struct {
	ID      string
	Address string // of the sender, "" for an aggregate
	Refusal string // kind of refusal: its code and reason
}

// Surplus returns which of a kind's records, given the newest first, are to be deleted
// so that as many as are kept are left, the least needed first. Each network has an
// equal share of the places, and in it each kind of refusal; what one does not need
// goes to the others. So a flood's own records are deleted before those of the courier
// whose name it uses. Within a share the newest are kept.
func (l *IngestionLimit) Surplus(records []IngestionOrigin) []string {
	type group struct {
		network netip.Prefix
		refusal string
	}
	type ranked struct {
		id  string
		of  netip.Prefix
		nth int
	}
	ofGroup, ofNetwork := map[group]int{}, map[netip.Prefix]int{}
	all := make([]ranked, len(records))
	for i, r := range records {
		g := group{network(r.Address), r.Refusal}
		ofGroup[g]++
		all[i] = ranked{r.ID, g.network, ofGroup[g]} // newest of its kind of refusal
	}
	first := func(a, b ranked) int { return a.nth - b.nth }
	slices.SortStableFunc(all, first)
	for i := range all {
		ofNetwork[all[i].of]++
		all[i].nth = ofNetwork[all[i].of]
	}
	slices.SortStableFunc(all, first)
	gone := all[min(l.keep, len(all)):]
	slices.Reverse(gone)
	ids := make([]string, len(gone))
	for i, r := range gone {
		ids[i] = r.id
	}
	return ids
}

// network returns what one sender has to itself: an IPv4 address, or the 64 bits that an
// IPv6 site is given. Whatever is no address counts as one network.
func network(address string) netip.Prefix {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return netip.Prefix{}
	}
	a = a.Unmap()
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	n, _ := a.Prefix(bits) // the address has as many
	return n
}

// NewIngestionLimit returns a limit of so many records of each kind, 0 for none.
func NewIngestionLimit(keep int) *IngestionLimit {
	return &IngestionLimit{keep: keep, put: map[IngestionKind]int64{}}
}

// Candidates returns among how many of a kind's newest records [IngestionLimit.Surplus]
// chooses; older ones are deleted by age, however many there are. No batch is larger.
func (l *IngestionLimit) Candidates() int { return 2*l.keep + 1000 }

// Apply calls store for the records, and afterwards trim for each kind that needs it.
func (l *IngestionLimit) Apply(records []ingestion.Record, store func() error, trim func(IngestionKind) error) error {
	due := l.count(records)
	err := store()
	for _, kind := range due {
		if err == nil {
			err = trim(kind)
		}
	}
	if err != nil {
		l.forget(due)
	}
	return err
}

// count adds records that are about to be stored and returns the kinds that have to be
// trimmed afterwards, which it counts from zero again.
func (l *IngestionLimit) count(records []ingestion.Record) (due []IngestionKind) {
	if l.keep == 0 {
		return nil
	}
	more := map[IngestionKind]int64{}
	for i := range records {
		more[IngestionKind{CleanText(records[i].Courier), records[i].Request != nil}]++
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for kind, n := range more {
		put, known := l.put[kind]
		l.put[kind] = put + n
		if !known || put+n > int64(l.keep/10) {
			due = append(due, kind)
			l.put[kind] = 0
		}
	}
	return due
}

// forget drops the counts of these kinds: their next records have them trimmed.
func (l *IngestionLimit) forget(kinds []IngestionKind) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, kind := range kinds {
		delete(l.put, kind)
	}
}
