package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/loss"
	"github.com/fincart/courier-gateway/persistence"
)

func contractEndedSequences(t *testing.T, s persistence.Store) {
	row := func(seq uint64, status event.Status, received, ended time.Time) event.Record {
		return event.Record{
			Identity: event.Identity{Courier: "c", Key: fmt.Sprint(seq, status, ended.Unix())}, Status: status,
			Sequence: seq, ReceivedAt: received, EndedAt: ended,
		}
	}
	CommitAll(t, s.Ledger, Records(
		row(9, event.Processed, Noon, Noon.Add(time.Hour)),
		row(10, event.Processed, Noon, Noon.Add(time.Hour)),
		row(11, event.DeadLettered, Noon, Noon.Add(time.Hour)),
		row(12, event.Failed, Noon, time.Time{}),
		row(13, event.Processed, Noon, Noon.Add(-time.Minute)),                   // ended too early
		row(14, event.Processed, Noon.Add(2*time.Minute), Noon.Add(time.Hour)),   // received too late
		row(15, event.Processed, Noon.Add(time.Minute), Noon.Add(2*time.Minute)), // on both bounds
		row(16, event.Processed, Noon, Noon.Add(time.Hour)),
	))
	ask := loss.Missing{Sequence: loss.Range{First: 10, Last: 15}}
	for _, test := range []struct {
		after, before time.Time
		want          []uint64
	}{
		{time.Time{}, time.Time{}, []uint64{10, 11, 13, 14, 15}},
		{Noon.Add(2 * time.Minute), Noon.Add(time.Minute), []uint64{10, 11, 15}},
	} {
		ask.EndedAfter, ask.ReceivedBefore = test.after, test.before
		got := Must(s.Ledger.EndedSequences(t.Context(), ask))
		slices.Sort(got)
		if !slices.Equal(got, test.want) {
			t.Errorf("ended after %s and received before %s: %v, want %v", test.after, test.before, got, test.want)
		}
	}
}
