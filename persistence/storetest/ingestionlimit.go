package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/persistence"
)

func contractIngestionNoBound(t *testing.T, s persistence.Store) {
	var all []ingestion.Record
	for i := range 300 {
		all = append(all, Single(2*i, "demo", ingestion.Refused), Aggregate(2*i+1, "demo", ingestion.Accepted))
	}
	PutIngestions(t, s.Ingestions, all...)
	if got := len(ingestionIDs(t, s.Ingestions, ingestion.Filter{Limit: 1000})); got != len(all) {
		t.Errorf("%d records, %d were put", got, len(all))
	}
}

// contractIngestionBound floods a store that keeps three of a kind.
func contractIngestionBound(t *testing.T, s persistence.Store) {
	quiet := []ingestion.Record{
		Single(0, "quiet", ingestion.Refused), Aggregate(1, "quiet", ingestion.Accepted),
		Single(2, "", ingestion.Refused), Aggregate(3, "flood", ingestion.Accepted), // of the flooding courier, but an aggregate
	}
	PutIngestions(t, s.Ingestions, quiet...)
	for i := 10; i < 50; i += 4 {
		PutIngestions(t, s.Ingestions, Single(i, "flood", ingestion.Refused), Single(i+2, "flood", ingestion.Observed),
			Single(i+1, "flood", ingestion.Refused), Single(i+3, "flood", ingestion.Refused))
	}
	WantIngestions(t, s.Ingestions, ingestion.Filter{}, 49, 48, 47, 3, 2, 1, 0)

	// One that is older than those that stay does not.
	PutIngestions(t, s.Ingestions, Single(20, "flood", ingestion.Refused))
	WantIngestions(t, s.Ingestions, ingestion.Filter{}, 49, 48, 47, 3, 2, 1, 0)

	// Aggregates delete aggregates, and requests that name no courier each other.
	for i := 50; i < 60; i++ {
		PutIngestions(t, s.Ingestions, Aggregate(2*i, "flood", ingestion.Refused), Single(2*i+1, "", ingestion.Refused))
	}
	WantIngestions(t, s.Ingestions, ingestion.Filter{}, 119, 118, 117, 116, 115, 114, 49, 48, 47, 1, 0)

	// All of it in one batch, of more than a sweep deletes at once.
	const n, first = 2*LargestChunk + 100, 200
	var batch []ingestion.Record
	for i := range n {
		batch = append(batch, Single(first+2*i, "quiet", ingestion.Refused), Aggregate(first+2*i+1, "quiet", ingestion.Accepted))
	}
	PutIngestions(t, s.Ingestions, batch...)
	const last = first + 2*n - 1
	WantIngestions(t, s.Ingestions, ingestion.Filter{Courier: "quiet"}, last, last-1, last-2, last-3, last-4, last-5)
}

// contractIngestionShares floods a store that keeps six, from one address and from
// many of one IPv6 site.
func contractIngestionShares(t *testing.T, s persistence.Store) {
	from := func(n int, address string) ingestion.Record {
		r := Single(n, "demo", ingestion.Refused)
		r.Address = address
		return r
	}
	for n := range 5 {
		PutIngestions(t, s.Ingestions, from(n, "192.0.2.1"))
	}
	for n := 10; n < 40; n++ {
		PutIngestions(t, s.Ingestions, from(n, "192.0.2.2"))
	}
	WantIngestions(t, s.Ingestions, ingestion.Filter{}, 39, 38, 37, 4, 3, 2)
	for n := 40; n < 70; n++ {
		PutIngestions(t, s.Ingestions, from(n, fmt.Sprintf("2001:db8:0:1::%x", n)))
	}
	WantIngestions(t, s.Ingestions, ingestion.Filter{}, 69, 68, 39, 38, 4, 3)
	// What is not needed goes to the others.
	PutIngestions(t, s.Ingestions, from(70, "2001:db8:0:2::1"))
	WantIngestions(t, s.Ingestions, ingestion.Filter{}, 70, 69, 68, 39, 38, 4)
}

// contractIngestionKinds floods a store that keeps six from the address from which a few
// requests came that were refused for another reason.
func contractIngestionKinds(t *testing.T, s persistence.Store) {
	refused := func(n int, code event.Code, reason string) ingestion.Record {
		r := Single(n, "demo", ingestion.Refused)
		r.Address, r.Code, r.Reason = "192.0.2.1", code, reason
		return r
	}
	for n := range 5 {
		PutIngestions(t, s.Ingestions, refused(n, event.InvalidSignature, "mismatch"))
	}
	for n := 10; n < 40; n++ {
		PutIngestions(t, s.Ingestions, refused(n, event.InvalidSignature, "missing"))
	}
	WantIngestions(t, s.Ingestions, ingestion.Filter{}, 39, 38, 37, 4, 3, 2)
	for n := 40; n < 70; n++ { // a third kind, with a third of the places
		PutIngestions(t, s.Ingestions, refused(n, event.InvalidPayload, ""))
	}
	WantIngestions(t, s.Ingestions, ingestion.Filter{}, 69, 68, 39, 38, 4, 3)
	other := refused(70, event.InvalidPayload, "") // kinds do not add to the share of a network
	other.Address = "192.0.2.2"
	PutIngestions(t, s.Ingestions, other)
	WantIngestions(t, s.Ingestions, ingestion.Filter{}, 70, 69, 68, 39, 38, 4)
}

// contractIngestionSlack looks at a store that keeps forty, and a tenth more.
func contractIngestionSlack(t *testing.T, s persistence.Store) {
	most := 0
	for i := range 200 {
		PutIngestions(t, s.Ingestions, Single(i, "demo", ingestion.Refused))
		got := ingestionIDs(t, s.Ingestions, ingestion.Filter{Limit: 1000})
		most = max(most, len(got))
		for j, n := range got {
			if n != i-j {
				t.Fatalf("after %d the store has %v", i, got)
			}
		}
		if len(got) < min(i+1, 40) || len(got) > 44 {
			t.Fatalf("after %d there are %d", i, len(got))
		}
	}
	if most != 44 {
		t.Errorf("never more than %d were there at the same time, so each call trims", most)
	}
}

// contractIngestionWriters has several put records at the same time.
func contractIngestionWriters(t *testing.T, s persistence.Store) {
	const writers, each = 4, 15
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				n := 2 * (i*writers + w)
				if err := s.Ingestions.PutIngestions(t.Context(), []ingestion.Record{
					Single(n, "demo", ingestion.Refused), Single(n+1, "demo", ingestion.Refused),
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	// Nothing that they put was lost sight of: three more have all cut back.
	const n = 2 * writers * each
	PutIngestions(t, s.Ingestions, Single(n, "demo", ingestion.Refused), Single(n+1, "demo", ingestion.Refused), Single(n+2, "demo", ingestion.Refused))
	if got := ingestionIDs(t, s.Ingestions, ingestion.Filter{Limit: 1000}); len(got) != 20 || got[0] != n+2 || got[19] != n-17 {
		t.Errorf("the store has %v", got)
	}
}

// wantIngestionCounts fails the test unless the store counts as given.
func wantIngestionCounts(t *testing.T, s persistence.Store, want map[ingestion.Outcome]int64) {
	t.Helper()
	got := map[ingestion.Outcome]int64{}
	for outcome, n := range Must(s.Database.Counts(t.Context())).Ingestions {
		if n != 0 {
			got[ingestion.Outcome(outcome)] = n
		}
	}
	Same(t, got, want)
}

func contractIngestionCounts(t *testing.T, s persistence.Store) {
	type outcomes = map[ingestion.Outcome]int64
	wantIngestionCounts(t, s, outcomes{})
	PutIngestions(t, s.Ingestions,
		Single(0, "a", ingestion.Refused), Single(1, "a", ingestion.Observed), Single(2, "b", ingestion.Refused),
		Aggregate(3, "a", ingestion.Accepted), Aggregate(4, "a", ingestion.Duplicate))
	PutIngestions(t, s.Ingestions, Single(0, "a", ingestion.Refused), Aggregate(5, "b", ingestion.Accepted))
	Must(s.Ingestions.AcceptIngestion(t.Context(), ingestionID(0), "key", "k", Noon))
	wantIngestionCounts(t, s, outcomes{ingestion.Refused: 2, ingestion.Observed: 1, ingestion.Accepted: 2, ingestion.Duplicate: 1})
	// Three refused ones push out one that was refused and one that was observed.
	PutIngestions(t, s.Ingestions, Single(6, "a", ingestion.Refused), Single(7, "a", ingestion.Refused), Single(8, "a", ingestion.Refused))
	wantIngestionCounts(t, s, outcomes{ingestion.Refused: 4, ingestion.Accepted: 2, ingestion.Duplicate: 1})
}

// sweepIngestions is the part of the Sweep with ingestion records.
func sweepIngestions(t *testing.T, open func(t *testing.T, keep persistence.Retention) persistence.Store) {
	t.Run("sweep ingestion records", func(t *testing.T) {
		t.Parallel()
		s := open(t, persistence.Retention{IngestionTTL: time.Hour, IngestionsPerCourier: 3000})
		old, fresh, late := Single(0, "a", ingestion.Refused), Aggregate(1, "a", ingestion.Accepted), Aggregate(2, "b", ingestion.Accepted)
		old.At, fresh.At, late.At, late.Until = Noon.Add(-time.Hour-1), Noon.Add(-time.Hour), Noon.Add(-2*time.Hour), Noon
		PutIngestions(t, s.Ingestions, fresh, old, late)
		Must(s.Ingestions.AcceptIngestion(t.Context(), old.ID, "key", "k", Noon))
		for _, want := range []int64{2, 0} {
			if got := Must(s.Database.Sweep(t.Context(), Noon)); got != (persistence.Swept{Ingestions: want}) {
				t.Errorf("swept %+v, want %d", got, want)
			}
		}
		WantIngestions(t, s.Ingestions, ingestion.Filter{}, 1)
		wantIngestionCounts(t, s, map[ingestion.Outcome]int64{ingestion.Accepted: 1})

		var many []ingestion.Record
		for i := range 2*LargestChunk + 3 {
			many = append(many, Single(10+i, "a", ingestion.Refused))
		}
		PutIngestions(t, s.Ingestions, many...)
		if got, want := Must(s.Database.Sweep(t.Context(), Noon.Add(2*time.Hour))), int64(len(many)+1); got.Ingestions != want {
			t.Errorf("swept %+v, want %d", got, want)
		}
		WantIngestions(t, s.Ingestions, ingestion.Filter{})
		wantIngestionCounts(t, s, map[ingestion.Outcome]int64{})
	})
}
