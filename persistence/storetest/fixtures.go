package storetest

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/persistence"
)

// LargestChunk is how many rows a store may delete at once: the suite sweeps more than
// twice as many, so that the chunks are seen to join. A store's own tests check that it
// keeps to it.
const LargestChunk = 500

// The first and the last time that a store keeps.
var (
	firstTime = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	lastTime  = time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC)
)

// Noon is when everything happens in these tests.
var Noon = time.Date(2026, 2, 26, 12, 0, 0, 123_456_789, time.UTC)

// FullRecord returns a ledger row with every member set.
func FullRecord(courier, key string) event.Record {
	return event.Record{
		Identity: event.Identity{Courier: courier, Key: key}, Status: event.Processed,
		EventID: "evt_1", EventType: "shipment.status.updated", OccurredAt: Noon, ShipmentID: "shp_1",
		TraceID: "req_1", ReceivedAt: Noon.Add(time.Second), Sequence: 42, BodyHash: strings.Repeat("ab", 32),
		Attempts: []event.Attempt{
			{Number: 1, StartedAt: Noon.Add(2), EndedAt: Noon.Add(3), Outcome: event.WillRetry, Code: event.Timeout, Message: "too slow"},
			{Number: 2, StartedAt: Noon.Add(4), EndedAt: Noon.Add(5), Outcome: event.Succeeded},
			{Number: 3, StartedAt: Noon.Add(6)},
		},
		Conflicts: 2, Replay: "nonce", Code: event.Throttled, Message: "again",
		UpdatedAt: Noon.Add(7), EndedAt: Noon.Add(8),
	}
}

// FullShipment returns a shipment with every member set.
func FullShipment(courier, id string) shipment.Shipment {
	return shipment.Shipment{
		Ref: shipment.Ref{Courier: courier, ID: id}, OrderID: "ord_1", State: shipment.Delivered,
		RawStatus: "DELIVERED", EventTime: Noon, LastEvent: "k2", Leg: 2,
		History: []shipment.Checkpoint{
			{At: Noon.Add(-time.Hour), State: shipment.Unknown, Status: "odd", Key: "k1", EventID: "e1", Type: "t1",
				OrderID: "ord_1", ClaimedAt: Noon.Add(time.Hour), ScanAt: Noon.Add(-2 * time.Hour)},
			{At: Noon, State: shipment.Delivered, Key: "k2", EventID: "e2"},
		},
		Dropped: 7, CreatedAt: Noon.Add(1), UpdatedAt: Noon.Add(2),
	}
}

// FullLetter returns a dead letter with every member set.
func FullLetter(id string, seq uint64) event.DeadLetter {
	return event.DeadLetter{
		ID: id, Identity: event.Identity{Courier: "demo", Key: "k1"}, Sequence: seq, EventID: "evt_1", ShipmentID: "shp_1",
		TraceID: "req_1", ReceivedAt: Noon, DeadAt: Noon.Add(time.Minute), Code: event.AttemptsExhausted, Message: "gave up",
		Attempts:     []event.Attempt{{Number: 1, StartedAt: Noon, EndedAt: Noon.Add(1), Outcome: event.GaveUp, Code: event.Internal, Message: "why"}},
		Headers:      map[string]string{"Gw-Courier": "demo", "$odd.name": "", "": "no name"},
		Body:         []byte("{\"a\":1}\n\x00\xff"),
		ReviewStatus: event.ReviewReviewed, ReviewedAt: Noon.Add(2), Note: "look at this",
		Replays:  []event.ReplayLink{{Nonce: "n1", Sequence: 43, At: Noon.Add(3)}},
		ReplayOf: "n0",
	}
}

// CommitAll stores changes and fails the test unless all of them are.
func CommitAll(t *testing.T, s persistence.Ledger, changes ...event.Change) {
	t.Helper()
	for i, err := range CommitSome(t, s, changes...) {
		if err != nil {
			t.Fatalf("change %d: %v", i, err)
		}
	}
}

// CommitSome stores changes and returns what became of each.
func CommitSome(t *testing.T, s persistence.Ledger, changes ...event.Change) []error {
	t.Helper()
	outcomes, err := s.Commit(t.Context(), changes)
	if err != nil {
		t.Fatalf("commit: %v", err)
	}
	if len(outcomes) != len(changes) {
		t.Fatalf("commit of %d changes has %d outcomes", len(changes), len(outcomes))
	}
	return outcomes
}

// Codes returns the codes of a commit's outcomes.
func Codes(t *testing.T, outcomes []error) []event.Code {
	t.Helper()
	list := make([]event.Code, len(outcomes))
	for i, err := range outcomes {
		if _, ok := errors.AsType[*event.Error](err); err != nil && !ok {
			t.Errorf("outcome %d is no *event.Error: %v", i, err)
		}
		list[i] = event.CodeOf(err)
	}
	return list
}

// Records returns a change of ledger rows.
func Records(rs ...event.Record) event.Change { return event.Change{Records: rs} }

// Shipment returns a change of a shipment.
func Shipment(s shipment.Shipment) event.Change { return event.Change{Shipment: &s} }

// DeadLetters returns a change of dead letters.
func DeadLetters(ds ...event.DeadLetter) event.Change { return event.Change{DeadLetters: ds} }

// Must returns v, or panics, which fails the test that is running.
func Must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// GetRecord looks a ledger row up, and reports whether it exists.
func GetRecord(t *testing.T, s persistence.Ledger, id event.Identity) (event.Record, bool) {
	t.Helper()
	found := Must(s.Records(t.Context(), []event.Identity{id}))
	if len(found) > 1 {
		t.Fatalf("%d records for %s", len(found), id)
	}
	return append(found, event.Record{})[0], len(found) == 1
}

// GetShipment looks a shipment up, and reports whether it exists.
func GetShipment(t *testing.T, s persistence.Ledger, ref shipment.Ref) (shipment.Shipment, bool) {
	t.Helper()
	found := Must(s.Shipments(t.Context(), []shipment.Ref{ref}))
	if len(found) > 1 {
		t.Fatalf("%d shipments for %s", len(found), ref)
	}
	return append(found, shipment.Shipment{})[0], len(found) == 1
}

// Same fails the test unless got and want are equal in every member.
func Same(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		g, _ := json.MarshalIndent(got, "", " ")
		w, _ := json.MarshalIndent(want, "", " ")
		t.Errorf("got %s\nwant %s", g, w)
	}
}
