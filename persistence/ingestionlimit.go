package persistence

import (
	"net/netip"
	"slices"
	"sync"

	"github.com/fincart/courier-gateway/ingest/event/ingestion"
)

// IngestionLimit keeps the ingestion records of each kind within
// [Retention.IngestionsPerCourier]. Cutting back costs a look at as many records as
// stay, so it is done once for a tenth of them. What was
// put before the store was opened is not known here: the first records of a kind
// always have it cut back.
//
// There are as many kinds as couriers are configured, twice, and two for none.
type IngestionLimit struct {
	keep int // of a kind, 0 for all

	mu  sync.Mutex
	put map[IngestionKind]int64 // since the kind was last cut back
}

// IngestionKind is what the bound holds for: the single requests of a courier, or
// its sums.
type IngestionKind struct {
	Courier string // "" for those that name none
	Single  bool
}

// IngestionOrigin is what an ingestion record is, for the choice of those that go.
type IngestionOrigin struct {
	ID      string
	Address string // of the sender, "" for a sum
	Refusal string // kind of refusal: its code and reason
}

// Surplus returns which of a kind's records, the newest first, are to go so that keep
// stay. Each network has an equal share of the places, and in it each kind of refusal;
// what one does not need goes to the others: so a flood pushes out its own records before
// those of the courier whose name it uses. Within a share the newest stay.
func Surplus(records []IngestionOrigin, keep int) []string {
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
	gone := all[min(keep, len(all)):]
	slices.Reverse(gone) // those that are needed least first
	ids := make([]string, len(gone))
	for i, r := range gone {
		ids[i] = r.id
	}
	return ids
}

// network returns what one sender has to itself: an address, or by IPv6 the 64 bits
// that a site is given. All that is no address is one.
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

// Keep returns how many records of a kind stay, 0 for all.
func (b *IngestionLimit) Keep() int { return b.keep }

// Choice is among how many of the newest records of a kind those that stay are chosen;
// the rest goes by age, however many that are. More don't come on top at once.
func (b *IngestionLimit) Choice() int { return 2*b.keep + 1000 }

// Apply has records stored, and afterwards each kind cut back that needs it.
func (b *IngestionLimit) Apply(records []ingestion.Record, store func() error, cutBack func(IngestionKind) error) error {
	due := b.count(records)
	err := store()
	for _, kind := range due {
		if err == nil {
			err = cutBack(kind)
		}
	}
	if err != nil {
		b.forget(due)
	}
	return err
}

// count takes note of records that are about to be stored and returns the kinds
// that have to be cut back then. They count from zero again.
func (b *IngestionLimit) count(records []ingestion.Record) (due []IngestionKind) {
	if b.keep == 0 {
		return nil
	}
	more := map[IngestionKind]int64{}
	for i := range records {
		more[IngestionKind{CleanText(records[i].Courier), records[i].Request != nil}]++
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for kind, n := range more {
		put, known := b.put[kind]
		b.put[kind] = put + n
		if !known || put+n > int64(b.keep/10) {
			due = append(due, kind)
			b.put[kind] = 0
		}
	}
	return due
}

// forget has the next records of these kinds cut them back.
func (b *IngestionLimit) forget(kinds []IngestionKind) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, kind := range kinds {
		delete(b.put, kind)
	}
}
