package persistence

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

func contractEndedSequences(t *testing.T, s Store) {
	row := func(seq uint64, status event.Status, received, ended time.Time) event.Record {
		return event.Record{
			Identity: event.Identity{Courier: "c", Key: fmt.Sprint(seq, status, ended.Unix())}, Status: status,
			Sequence: seq, ReceivedAt: received, EndedAt: ended,
		}
	}
	commitAll(t, s, records(
		row(9, event.Processed, noon, noon.Add(time.Hour)),
		row(10, event.Processed, noon, noon.Add(time.Hour)),
		row(11, event.DeadLettered, noon, noon.Add(time.Hour)),
		row(12, event.Failed, noon, time.Time{}),
		row(13, event.Processed, noon, noon.Add(-time.Minute)),                   // ended too early
		row(14, event.Processed, noon.Add(2*time.Minute), noon.Add(time.Hour)),   // received too late
		row(15, event.Processed, noon.Add(time.Minute), noon.Add(2*time.Minute)), // on both bounds
		row(16, event.Processed, noon, noon.Add(time.Hour)),
	))
	ask := event.MissingEvents{Sequence: event.SequenceRange{First: 10, Last: 15}}
	for _, test := range []struct {
		after, before time.Time
		want          []uint64
	}{
		{time.Time{}, time.Time{}, []uint64{10, 11, 13, 14, 15}},
		{noon.Add(2 * time.Minute), noon.Add(time.Minute), []uint64{10, 11, 15}},
	} {
		ask.EndedAfter, ask.ReceivedBefore = test.after, test.before
		got := must(s.EndedSequences(t.Context(), ask))
		slices.Sort(got)
		if !slices.Equal(got, test.want) {
			t.Errorf("ended after %s and received before %s: %v, want %v", test.after, test.before, got, test.want)
		}
	}
}
