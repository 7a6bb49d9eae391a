package persistence

import (
	"sync"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// ingestionBound keeps the ingestion records of each kind within
// [Retention.IngestionsPerCourier]. Cutting back costs a walk through as many
// index entries as records stay, so it is done once for a tenth of them. What was
// put before the store was opened is not known here: the first records of a kind
// always have it cut back.
//
// There are as many kinds as couriers are configured, twice, and two for none.
type ingestionBound struct {
	keep int64 // of a kind, 0 for all

	mu  sync.Mutex
	put map[ingestionKind]int64 // since the kind was last cut back
}

// ingestionKind is what the bound holds for: the single requests of a courier, or
// its sums.
type ingestionKind struct {
	courier string
	single  bool
}

func newIngestionBound(keep int) *ingestionBound {
	return &ingestionBound{keep: int64(keep), put: map[ingestionKind]int64{}}
}

// within has records stored, and afterwards each kind cut back that needs it.
func (b *ingestionBound) within(records []event.IngestionRecord, store func() error, cutBack func(ingestionKind) error) error {
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
func (b *ingestionBound) count(records []event.IngestionRecord) (due []ingestionKind) {
	if b.keep == 0 {
		return nil
	}
	more := map[ingestionKind]int64{}
	for i := range records {
		more[ingestionKind{cleanText(records[i].Courier), records[i].Single()}]++
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for kind, n := range more {
		put, known := b.put[kind]
		b.put[kind] = put + n
		if !known || put+n > b.keep/10 {
			due = append(due, kind)
			b.put[kind] = 0
		}
	}
	return due
}

// forget has the next records of these kinds cut them back.
func (b *ingestionBound) forget(kinds []ingestionKind) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, kind := range kinds {
		delete(b.put, kind)
	}
}

func noIngestion(op, id string) *event.Error {
	return event.Errorf(event.NotFound, op, "no ingestion record has the id %q: it may have expired or made room for newer ones, or the id is mistyped", id)
}

// checkTaken refuses a time that would leave a record as if nobody had taken it.
func checkTaken(op string, at time.Time) error {
	if at.IsZero() {
		return event.Errorf(event.DomainInvalid, op, "no time is given")
	}
	return nil
}
