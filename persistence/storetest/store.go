// Package storetest is what every store and every cache has to pass, with the rows,
// the waiting and the broken network that their tests share. Only tests import it.
package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/persistence"
)

// longestKey is as much as the intake lets an idempotency key have, in bytes.
const longestKey = 512

// Store is what every store has to pass. open returns an empty store of
// its own that is closed when the test ends.
func Store(t *testing.T, open func(t *testing.T, keep persistence.Retention) persistence.Store) {
	ingestionContract(t, open)
	for _, test := range []struct {
		name string
		run  func(*testing.T, persistence.Store)
	}{
		{"rows come back as they went in", contractRoundTrip},
		{"rows without optional members", contractMinimal},
		{"text of every kind", contractText},
		{"keys that look alike are different", contractLookalikes},
		{"times", contractTimes},
		{"nothing is nothing", contractNothing},
		{"batches of any size", contractBatch},
		{"any courier by key and id", contractAnyCourier},
		{"versions of records", contractRecordVersions},
		{"versions of shipments", contractShipmentVersions},
		{"a change is whole or not at all", contractWhole},
		{"the same rows twice in a commit", contractTwice},
		{"rows too large", contractTooLarge},
		{"no update is lost", contractConcurrent},
		{"one winner for one event", contractOneWinner},
		{"memory is not shared", contractMemory},
		{"dead letters are never overwritten", contractLetterOnce},
		{"listing dead letters", contractListing},
		{"pages of dead letters", contractPages},
		{"reviews", contractReview},
		{"links are added at the same time", contractLinks},
		{"dead sequences", contractDeadSequences},
		{"ended sequences", contractEndedSequences},
		{"counts", contractCounts},
		{"cancelled and closed", contractEnds},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, open(t, persistence.Retention{}))
		})
	}
}

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

func FullShipment(courier, id string) shipment.Shipment {
	return shipment.Shipment{
		Ref: shipment.Ref{Courier: courier, ID: id}, OrderID: "ord_1", State: shipment.Delivered,
		RawStatus: "DELIVERED", EventTime: Noon, LastEvent: "k2", Leg: 2,
		History: []shipment.Checkpoint{
			{At: Noon.Add(-time.Hour), State: shipment.Unknown, Status: "odd", Key: "k1", EventID: "e1", Type: "t1"},
			{At: Noon, State: shipment.Delivered, Key: "k2", EventID: "e2"},
		},
		Dropped: 7, CreatedAt: Noon.Add(1), UpdatedAt: Noon.Add(2),
	}
}

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

// codes returns the codes of a commit's outcomes.
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

func Records(rs ...event.Record) event.Change { return event.Change{Records: rs} }

func Shipment(s shipment.Shipment) event.Change { return event.Change{Shipment: &s} }

func DeadLetters(ds ...event.DeadLetter) event.Change { return event.Change{DeadLetters: ds} }

// must returns v, or panics, which fails the test that is running.
func Must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func GetRecord(t *testing.T, s persistence.Ledger, id event.Identity) (event.Record, bool) {
	t.Helper()
	found := Must(s.Records(t.Context(), []event.Identity{id}))
	if len(found) > 1 {
		t.Fatalf("%d records for %s", len(found), id)
	}
	return append(found, event.Record{})[0], len(found) == 1
}

func GetShipment(t *testing.T, s persistence.Ledger, ref shipment.Ref) (shipment.Shipment, bool) {
	t.Helper()
	found := Must(s.Shipments(t.Context(), []shipment.Ref{ref}))
	if len(found) > 1 {
		t.Fatalf("%d shipments for %s", len(found), ref)
	}
	return append(found, shipment.Shipment{})[0], len(found) == 1
}

// same fails the test unless got and want are equal in every member.
func Same(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		g, _ := json.MarshalIndent(got, "", " ")
		w, _ := json.MarshalIndent(want, "", " ")
		t.Errorf("got %s\nwant %s", g, w)
	}
}

func contractRoundTrip(t *testing.T, s persistence.Store) {
	r, p, d := FullRecord("demo", "k1"), FullShipment("demo", "shp_1"), FullLetter("42-abcd", 1<<63+42)
	r.Sequence = 1<<64 - 1
	CommitAll(t, s.Ledger, event.Change{Shipment: &p, Records: []event.Record{r}, DeadLetters: []event.DeadLetter{d}})
	for version := int64(1); version <= 2; version++ {
		r.Version, p.Version = version, version
		gotRecord, _ := GetRecord(t, s.Ledger, r.Identity)
		gotShipment, _ := GetShipment(t, s.Ledger, p.Ref)
		Same(t, gotRecord, r)
		Same(t, gotShipment, p)
		Same(t, Must(s.DeadLetters.DeadLetter(t.Context(), d.ID)), d)

		// Again over what is stored, with other values.
		r.Status, r.Attempts, r.Message, r.EndedAt = event.Failed, r.Attempts[:1], "", time.Time{}
		p.State, p.History, p.RawStatus = shipment.Exception, p.History[:1], ""
		CommitAll(t, s.Ledger, event.Change{Shipment: &p, Records: []event.Record{r}, DeadLetters: []event.DeadLetter{d}})
	}
}

func contractMinimal(t *testing.T, s persistence.Store) {
	r := event.Record{Identity: event.Identity{Courier: "c", Key: "k"}, Status: event.Received}
	p := shipment.Shipment{Ref: shipment.Ref{Courier: "c", ID: "i"}, State: shipment.Unknown}
	d := event.DeadLetter{ID: "1-a", DeadAt: Noon}
	CommitAll(t, s.Ledger, Records(r), Shipment(p), DeadLetters(d))
	r.Version, r.Attempts = 1, []event.Attempt{}
	p.Version, p.History = 1, []shipment.Checkpoint{}
	d.Attempts, d.Headers, d.Body, d.ReviewStatus = []event.Attempt{}, map[string]string{}, []byte{}, event.ReviewPending
	gotRecord, _ := GetRecord(t, s.Ledger, r.Identity)
	gotShipment, _ := GetShipment(t, s.Ledger, p.Ref)
	Same(t, gotRecord, r)
	Same(t, gotShipment, p)
	Same(t, Must(s.DeadLetters.DeadLetter(t.Context(), d.ID)), d)
}

func contractText(t *testing.T, s persistence.Store) {
	for _, text := range []string{
		"plain", "with:colons::", "ümläut", "日本語", "🚚\u200d📦", "quote\"back\\slash/", "line\nfeed\ttab\x01\x1f\x7f",
		"nul\x00inside", "%_*?[]$.", " spaces ", "\u2028\uFFFD", strings.Repeat("k", longestKey), strings.Repeat("😀", longestKey/4),
	} {
		r := event.Record{
			Identity: event.Identity{Courier: "c", Key: text}, Status: event.Failed, Attempts: []event.Attempt{{Number: 1, Message: text}},
			EventID: text, EventType: text, ShipmentID: text, TraceID: text, BodyHash: text, Replay: text, Code: event.Code(text), Message: text, Version: 0,
		}
		p := shipment.Shipment{
			Ref: shipment.Ref{Courier: "c", ID: text}, OrderID: text, State: shipment.State(text), RawStatus: text, LastEvent: text,
			History: []shipment.Checkpoint{{Status: text, Key: text, EventID: text, Type: text, State: shipment.State(text)}},
		}
		d := event.DeadLetter{
			ID: text, Identity: r.Identity, EventID: text, Message: text, Headers: map[string]string{text: text}, Body: []byte(text), Note: text,
			DeadAt: Noon, Attempts: []event.Attempt{}, ReviewStatus: event.ReviewPending,
		}
		CommitAll(t, s.Ledger, event.Change{Shipment: &p, Records: []event.Record{r}, DeadLetters: []event.DeadLetter{d}})
		r.Version, p.Version = 1, 1
		gotRecord, _ := GetRecord(t, s.Ledger, r.Identity)
		gotShipment, _ := GetShipment(t, s.Ledger, p.Ref)
		Same(t, gotRecord, r)
		Same(t, gotShipment, p)
		Same(t, Must(s.DeadLetters.DeadLetter(t.Context(), text)), d)
		Same(t, Must(s.Ledger.RecordsByKey(t.Context(), text)), []event.Record{r})
		Same(t, Must(s.DeadLetters.DeadLetters(t.Context(), event.DeadLetterFilter{Key: text})), []event.DeadLetter{d})
	}

	bad := "bad\xffbytes"
	CommitAll(t, s.Ledger, event.Change{
		Records: []event.Record{{Identity: event.Identity{Courier: "c", Key: "k"}, Status: event.Failed, Message: bad,
			Attempts: []event.Attempt{{Number: 1, Message: bad}}}},
		DeadLetters: []event.DeadLetter{{ID: "bad", DeadAt: Noon, Message: bad, Headers: map[string]string{"h": bad}, Body: []byte(bad)}},
	})
	r, _ := GetRecord(t, s.Ledger, event.Identity{Courier: "c", Key: "k"})
	d := Must(s.DeadLetters.DeadLetter(t.Context(), "bad"))
	for _, got := range []string{r.Message, r.Attempts[0].Message, d.Message, d.Headers["h"]} {
		if got != "bad\uFFFDbytes" {
			t.Errorf("invalid UTF-8 came back as %q", got)
		}
	}
	if string(d.Body) != bad {
		t.Errorf("the body came back as %q", d.Body)
	}
}

func contractLookalikes(t *testing.T, s persistence.Store) {
	ids := []event.Identity{
		{Courier: "c", Key: "Key"}, {Courier: "c", Key: "key"}, {Courier: "c", Key: "key "}, {Courier: "c", Key: "k\u00e9y"},
		{Courier: "c", Key: "ke\u0301y"}, {Courier: "d", Key: "key"}, {Courier: "c", Key: "c:key"}, {Courier: "c", Key: "0"}, {Courier: "c", Key: "0.0"},
	}
	for i, id := range ids {
		ref := shipment.Ref{Courier: id.Courier, ID: id.Key}
		CommitAll(t, s.Ledger, event.Change{
			Shipment: &shipment.Shipment{Ref: ref, Leg: i, State: shipment.Unknown},
			Records:  []event.Record{{Identity: id, Status: event.Received, Sequence: uint64(i)}},
		})
	}
	for i, id := range ids {
		if r, ok := GetRecord(t, s.Ledger, id); !ok || r.Identity != id || r.Sequence != uint64(i) {
			t.Errorf("record %q: %t %+v", id, ok, r)
		}
		if p, ok := GetShipment(t, s.Ledger, shipment.Ref{Courier: id.Courier, ID: id.Key}); !ok || p.ID != id.Key || p.Leg != i {
			t.Errorf("shipment %q: %t %+v", id, ok, p)
		}
	}
}

func contractTimes(t *testing.T, s persistence.Store) {
	zone := time.FixedZone("", -14*3600)
	for i, test := range []struct{ in, out time.Time }{
		{time.Time{}, time.Time{}},
		{Noon, Noon},
		{Noon.In(zone), Noon},
		{time.Unix(0, 1), time.Unix(0, 1).UTC()},
		{time.Unix(1, 0), time.Unix(1, 0).UTC()},
		{firstTime, firstTime},
		{lastTime, lastTime},
		{time.Date(9999, 12, 31, 23, 0, 0, 0, zone), lastTime},
		{time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC), firstTime},
		{time.Date(2300, 1, 1, 0, 0, 0, 1, time.UTC), time.Date(2300, 1, 1, 0, 0, 0, 1, time.UTC)},
	} {
		r := event.Record{Identity: event.Identity{Courier: "c", Key: fmt.Sprint(i)}, Status: event.Received, OccurredAt: test.in,
			Attempts: []event.Attempt{{Number: 1, StartedAt: test.in}}}
		p := shipment.Shipment{Ref: shipment.Ref{Courier: "c", ID: fmt.Sprint(i)}, EventTime: test.in,
			History: []shipment.Checkpoint{{At: test.in}}}
		CommitAll(t, s.Ledger, event.Change{Records: []event.Record{r}, Shipment: &p})
		gotRecord, _ := GetRecord(t, s.Ledger, r.Identity)
		gotShipment, _ := GetShipment(t, s.Ledger, p.Ref)
		for _, got := range []time.Time{gotRecord.OccurredAt, gotRecord.Attempts[0].StartedAt, gotShipment.EventTime, gotShipment.History[0].At} {
			if !got.Equal(test.out) || got.Location() != time.UTC {
				t.Errorf("%s came back as %s, want %s", test.in, got, test.out)
			}
		}
	}
}

func contractNothing(t *testing.T, s persistence.Store) {
	if got := Must(s.Ledger.Records(t.Context(), nil)); len(got) != 0 {
		t.Errorf("no records asked for, got %v", got)
	}
	if got := Must(s.Ledger.Shipments(t.Context(), nil)); len(got) != 0 {
		t.Errorf("no shipments asked for, got %v", got)
	}
	if got := Must(s.DeadLetters.DeadSequences(t.Context(), nil)); len(got) != 0 {
		t.Errorf("no sequences asked for, got %v", got)
	}
	CommitAll(t, s.Ledger)
	CommitAll(t, s.Ledger, event.Change{})
	if _, ok := GetRecord(t, s.Ledger, event.Identity{Courier: "c", Key: "k"}); ok {
		t.Error("an empty store has a record")
	}
	if got := Must(s.Ledger.RecordsByKey(t.Context(), "k")); len(got) != 0 {
		t.Errorf("an empty store has records %v", got)
	}
	if got := Must(s.Ledger.ShipmentsByID(t.Context(), "i")); len(got) != 0 {
		t.Errorf("an empty store has shipments %v", got)
	}
	if got := Must(s.DeadLetters.DeadLetters(t.Context(), event.DeadLetterFilter{})); len(got) != 0 {
		t.Errorf("an empty store has dead letters %v", got)
	}
	if err := s.Database.Ping(t.Context()); err != nil {
		t.Errorf("ping: %v", err)
	}
}

func contractBatch(t *testing.T, s persistence.Store) {
	const n = 150
	var changes []event.Change
	var ids []event.Identity
	var refs []shipment.Ref
	for i := range n {
		id := event.Identity{Courier: "demo", Key: fmt.Sprintf("key-%d", i)}
		ref := shipment.Ref{Courier: "demo", ID: fmt.Sprintf("shp-%d", i)}
		ids, refs = append(ids, id, event.Identity{Courier: "demo", Key: "unknown" + id.Key}), append(refs, ref)
		changes = append(changes, Shipment(shipment.Shipment{Ref: ref, Leg: i}),
			Records(event.Record{Identity: id, Status: event.Processed, Sequence: uint64(i)}))
	}
	CommitAll(t, s.Ledger, changes...)
	seen := map[event.Identity]uint64{}
	for _, r := range Must(s.Ledger.Records(t.Context(), ids)) {
		seen[r.Identity] = r.Sequence
	}
	for i := range n {
		if seq, ok := seen[ids[2*i]]; !ok || seq != uint64(i) {
			t.Fatalf("record %d: %t %d", i, ok, seq)
		}
	}
	if len(seen) != n {
		t.Errorf("%d records, want %d", len(seen), n)
	}
	if got := Must(s.Ledger.Shipments(t.Context(), refs)); len(got) != n {
		t.Errorf("%d shipments, want %d", len(got), n)
	}
}

func contractAnyCourier(t *testing.T, s persistence.Store) {
	for _, courier := range []string{"b", "a", "c"} {
		CommitAll(t, s.Ledger, event.Change{
			Shipment: &shipment.Shipment{Ref: shipment.Ref{Courier: courier, ID: "same"}},
			Records: []event.Record{
				{Identity: event.Identity{Courier: courier, Key: "same"}, Status: event.Received},
				{Identity: event.Identity{Courier: courier, Key: "other"}, Status: event.Received},
			},
		})
	}
	var couriers []string
	for _, r := range Must(s.Ledger.RecordsByKey(t.Context(), "same")) {
		couriers = append(couriers, r.String())
	}
	Same(t, couriers, []string{"a:same", "b:same", "c:same"})
	couriers = nil
	for _, p := range Must(s.Ledger.ShipmentsByID(t.Context(), "same")) {
		couriers = append(couriers, p.String())
	}
	Same(t, couriers, []string{"a:same", "b:same", "c:same"})
}

func contractRecordVersions(t *testing.T, s persistence.Store) {
	r := FullRecord("demo", "k")
	CommitAll(t, s.Ledger, Records(r))
	for _, version := range []int64{0, 2, 77} {
		r.Version, r.Message = version, "must not be stored"
		Same(t, Codes(t, CommitSome(t, s.Ledger, Records(r))), []event.Code{event.VersionConflict})
	}
	if got, _ := GetRecord(t, s.Ledger, r.Identity); got.Message != "again" || got.Version != 1 {
		t.Errorf("a conflicting change was stored: %+v", got)
	}
	r.Version, r.Message = 1, "stored"
	CommitAll(t, s.Ledger, Records(r))
	if got, _ := GetRecord(t, s.Ledger, r.Identity); got.Message != "stored" || got.Version != 2 {
		t.Errorf("not stored: %+v", got)
	}

	missing := FullRecord("demo", "missing")
	missing.Version = 3
	Same(t, Codes(t, CommitSome(t, s.Ledger, Records(missing))), []event.Code{event.VersionConflict})
	nothing := event.Record{Status: event.Failed, Version: 1 << 62} // as one asks whether the store takes writes
	Same(t, Codes(t, CommitSome(t, s.Ledger, Records(nothing))), []event.Code{event.VersionConflict})
	if got, ok := GetRecord(t, s.Ledger, nothing.Identity); ok {
		t.Errorf("a row that never was is %+v", got)
	}
	got, _ := GetRecord(t, s.Ledger, missing.Identity)
	if got.Status.Terminal() {
		t.Errorf("a row that was to be replaced but did not exist is there, ended: %+v", got)
	}
	missing.Version = got.Version
	CommitAll(t, s.Ledger, Records(missing))
}

func contractShipmentVersions(t *testing.T, s persistence.Store) {
	p := FullShipment("demo", "shp")
	CommitAll(t, s.Ledger, Shipment(p))
	for _, version := range []int64{0, 2, 77} {
		p.Version, p.RawStatus = version, "must not be stored"
		Same(t, Codes(t, CommitSome(t, s.Ledger, Shipment(p))), []event.Code{event.VersionConflict})
	}
	if got, _ := GetShipment(t, s.Ledger, p.Ref); got.RawStatus != "DELIVERED" || got.Version != 1 {
		t.Errorf("a conflicting change was stored: %+v", got)
	}
	p.Version, p.RawStatus = 1, "stored"
	CommitAll(t, s.Ledger, Shipment(p))
	if got, _ := GetShipment(t, s.Ledger, p.Ref); got.RawStatus != "stored" || got.Version != 2 {
		t.Errorf("not stored: %+v", got)
	}

	missing := FullShipment("demo", "missing")
	missing.Version = 3
	Same(t, Codes(t, CommitSome(t, s.Ledger, Shipment(missing))), []event.Code{event.VersionConflict})
	got, _ := GetShipment(t, s.Ledger, missing.Ref)
	missing.Version = got.Version
	CommitAll(t, s.Ledger, Shipment(missing))
}

func contractWhole(t *testing.T, s persistence.Store) {
	CommitAll(t, s.Ledger, Records(FullRecord("demo", "taken")), Shipment(FullShipment("demo", "taken")))
	fresh := func(key, id, letter string) event.Change {
		p := FullShipment("demo", id)
		return event.Change{Shipment: &p, Records: []event.Record{FullRecord("demo", key), FullRecord("demo", key+"+")},
			DeadLetters: []event.DeadLetter{FullLetter(letter, 1)}}
	}
	got := Codes(t, CommitSome(t, s.Ledger,
		fresh("a", "a", "a"), fresh("taken", "b", "b"), fresh("c", "taken", "c"), fresh("d", "d", "d")))
	Same(t, got, []event.Code{"", event.VersionConflict, event.VersionConflict, ""})

	for _, name := range []string{"a", "d"} {
		for _, key := range []string{name, name + "+"} {
			if r, ok := GetRecord(t, s.Ledger, event.Identity{Courier: "demo", Key: key}); !ok || r.Status != event.Processed {
				t.Errorf("record %s of a change beside conflicts: %t %+v", key, ok, r)
			}
		}
		if _, ok := GetShipment(t, s.Ledger, shipment.Ref{Courier: "demo", ID: name}); !ok {
			t.Errorf("shipment %s of a change beside conflicts is missing", name)
		}
		if _, err := s.DeadLetters.DeadLetter(t.Context(), name); err != nil {
			t.Errorf("letter %s of a change beside conflicts: %v", name, err)
		}
	}
	if _, ok := GetShipment(t, s.Ledger, shipment.Ref{Courier: "demo", ID: "b"}); ok {
		t.Error("the shipment of a change whose record conflicts was stored")
	}
	for _, id := range []string{"b", "c"} {
		if _, err := s.DeadLetters.DeadLetter(t.Context(), id); event.CodeOf(err) != event.NotFound {
			t.Errorf("letter %s of a change that conflicts: %v", id, err)
		}
	}

	// Reading and deciding again makes the conflicting ones succeed.
	for _, name := range []string{"b", "c"} {
		c := fresh(name, name, name)
		for i := range c.Records {
			r, _ := GetRecord(t, s.Ledger, c.Records[i].Identity)
			if r.Status.Terminal() {
				t.Errorf("record %s of a change that conflicts has ended", r.Identity)
			}
			c.Records[i].Version = r.Version
		}
		CommitAll(t, s.Ledger, c)
		for i := range c.Records {
			if r, _ := GetRecord(t, s.Ledger, c.Records[i].Identity); r.Status != event.Processed || r.Version != c.Records[i].Version+1 {
				t.Errorf("record %s after deciding again: %+v", r.Identity, r)
			}
		}
	}
}

func contractTwice(t *testing.T, s persistence.Store) {
	r1, r2 := FullRecord("demo", "k"), FullRecord("demo", "k")
	r1.Message, r2.Message = "first", "second"
	Same(t, Codes(t, CommitSome(t, s.Ledger, Records(r1), Records(r2))), []event.Code{"", event.VersionConflict})
	if got, _ := GetRecord(t, s.Ledger, r1.Identity); got.Message != "first" {
		t.Errorf("the second of two won: %+v", got)
	}

	p1, p2 := FullShipment("demo", "i"), FullShipment("demo", "i")
	p1.RawStatus, p2.RawStatus = "first", "second"
	Same(t, Codes(t, CommitSome(t, s.Ledger, Shipment(p1), Shipment(p2))), []event.Code{"", event.VersionConflict})
	if got, _ := GetShipment(t, s.Ledger, p1.Ref); got.RawStatus != "first" {
		t.Errorf("the second of two won: %+v", got)
	}

	x := FullRecord("demo", "x")
	Same(t, Codes(t, CommitSome(t, s.Ledger, Records(x, x), Records(FullRecord("demo", "y")))), []event.Code{event.VersionConflict, ""})
	if got, ok := GetRecord(t, s.Ledger, x.Identity); ok && got.Status.Terminal() {
		t.Errorf("a change with the same row twice was stored: %+v", got)
	}

	CommitAll(t, s.Ledger, DeadLetters(FullLetter("l", 1), FullLetter("l", 1)), DeadLetters(FullLetter("l", 1)))
}

func contractTooLarge(t *testing.T, s persistence.Store) {
	huge := strings.Repeat("x", persistence.MaxRowBytes)
	d, r, p := FullLetter("huge", 1), FullRecord("demo", "huge"), FullShipment("demo", "huge")
	d.Body = []byte(huge)
	r.Attempts[0].Message = huge
	p.History[0].Status = huge
	got := CommitSome(t, s.Ledger, DeadLetters(d), Records(r), Shipment(p), Records(FullRecord("demo", "small")))
	Same(t, Codes(t, got), []event.Code{event.DomainInvalid, event.DomainInvalid, event.DomainInvalid, ""})
	if _, ok := GetRecord(t, s.Ledger, event.Identity{Courier: "demo", Key: "small"}); !ok {
		t.Error("the change beside those that are too large is missing")
	}
	if _, ok := GetRecord(t, s.Ledger, r.Identity); ok {
		t.Error("a record that is too large was stored")
	}
}

func contractConcurrent(t *testing.T, s persistence.Store) { AppendAtOnce(t, s.Ledger, 4, 4) }

// AppendAtOnce has many writers append to one shipment, as workers do: read,
// decide, commit, and again when the row moved meanwhile.
func AppendAtOnce(t *testing.T, s persistence.Ledger, writers, each int) {
	ref := shipment.Ref{Courier: "demo", ID: "shp"}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				AppendCheckpoint(t, s, ref, fmt.Sprintf("%d-%d", w, i))
			}
		})
	}
	wg.Wait()
	p, _ := GetShipment(t, s, ref)
	keys := map[string]bool{}
	for _, c := range p.History {
		keys[c.Key] = true
	}
	if len(keys) != writers*each || len(p.History) != writers*each || p.Version != int64(writers*each) {
		t.Errorf("%d checkpoints, %d different, version %d, want %d", len(p.History), len(keys), p.Version, writers*each)
	}
	for key := range keys {
		if r, ok := GetRecord(t, s, event.Identity{Courier: "demo", Key: key}); !ok || r.Status != event.Processed {
			t.Errorf("record %s: %t %s", key, ok, r.Status)
		}
	}
}

// AppendCheckpoint adds key to a shipment and ends its event, however often that
// takes.
func AppendCheckpoint(t *testing.T, s persistence.Ledger, ref shipment.Ref, key string) {
	for t.Context().Err() == nil {
		id := event.Identity{Courier: ref.Courier, Key: key}
		found, err := s.Records(t.Context(), []event.Identity{id})
		if err != nil {
			t.Error(err)
			return
		}
		r := append(found, event.Record{Identity: id})[0]
		shipments, err := s.Shipments(t.Context(), []shipment.Ref{ref})
		if err != nil {
			t.Error(err)
			return
		}
		p := append(shipments, shipment.Shipment{Ref: ref})[0]
		if !slices.ContainsFunc(p.History, func(c shipment.Checkpoint) bool { return c.Key == key }) {
			p.History = append(p.History, shipment.Checkpoint{Key: key, At: Noon})
		} else if r.Status == event.Processed {
			return
		}
		r.Status, r.EndedAt = event.Processed, Noon
		outcomes, err := s.Commit(t.Context(), []event.Change{{Shipment: &p, Records: []event.Record{r}}})
		if err != nil {
			t.Error(err)
			return
		}
		switch event.CodeOf(outcomes[0]) {
		case "":
			return
		case event.VersionConflict:
		default:
			t.Error(outcomes[0])
			return
		}
	}
}

// contractOneWinner has many workers apply the same new event, each to a
// shipment of its own: one of them may.
func contractOneWinner(t *testing.T, s persistence.Store) {
	const workers = 8
	won := make(chan int, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			p := FullShipment("demo", fmt.Sprint(w))
			outcomes, err := s.Ledger.Commit(t.Context(), []event.Change{{Shipment: &p, Records: []event.Record{FullRecord("demo", "k")}}})
			switch {
			case err != nil:
				t.Error(err)
			case outcomes[0] == nil:
				won <- w
			case event.CodeOf(outcomes[0]) != event.VersionConflict:
				t.Error(outcomes[0])
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d of %d workers won", len(won), workers)
	}
	winner := fmt.Sprint(<-won)
	for w := range workers {
		if _, ok := GetShipment(t, s.Ledger, shipment.Ref{Courier: "demo", ID: fmt.Sprint(w)}); ok != (fmt.Sprint(w) == winner) {
			t.Errorf("shipment %d is there: %t, the winner is %s", w, ok, winner)
		}
	}
}

func contractMemory(t *testing.T, s persistence.Store) {
	r, p, d := FullRecord("demo", "k"), FullShipment("demo", "i"), FullLetter("l", 1)
	CommitAll(t, s.Ledger, event.Change{Shipment: &p, Records: []event.Record{r}, DeadLetters: []event.DeadLetter{d}})
	scribble := func(r *event.Record, p *shipment.Shipment, d *event.DeadLetter) {
		r.Attempts[0].Message, p.History[0].Status = "scribbled", "scribbled"
		d.Body[0], d.Headers["new"], d.Attempts[0].Message, d.Replays[0].Nonce = 'X', "scribbled", "scribbled", "scribbled"
	}
	scribble(&r, &p, &d)
	for range 2 {
		r, _ := GetRecord(t, s.Ledger, r.Identity)
		p, _ := GetShipment(t, s.Ledger, p.Ref)
		d := Must(s.DeadLetters.DeadLetter(t.Context(), "l"))
		wantRecord, wantShipment := FullRecord("demo", "k"), FullShipment("demo", "i")
		wantRecord.Version, wantShipment.Version = 1, 1
		Same(t, r, wantRecord)
		Same(t, p, wantShipment)
		Same(t, d, FullLetter("l", 1))
		scribble(&r, &p, &d)
	}
}

func contractEnds(t *testing.T, s persistence.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Ledger.Commit(ctx, []event.Change{Records(FullRecord("demo", "k"))})
	if event.CodeOf(err) != event.Interrupted {
		t.Errorf("cancelled commit: %v", err)
	}
	if _, err := s.Ledger.Records(ctx, []event.Identity{{Courier: "demo", Key: "k"}}); event.CodeOf(err) != event.Interrupted {
		t.Errorf("cancelled look-up: %v", err)
	}
	if _, ok := GetRecord(t, s.Ledger, event.Identity{Courier: "demo", Key: "k"}); ok {
		t.Error("a cancelled commit was stored")
	}
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if _, err := s.Ledger.Records(late, []event.Identity{{Courier: "demo", Key: "k"}}); event.CodeOf(err) != event.DependencyDown {
		t.Errorf("look-up past its deadline: %v", err)
	}

	if err := s.Database.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Database.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	_, err1 := s.Ledger.Commit(t.Context(), []event.Change{Records(FullRecord("demo", "k"))})
	_, err2 := s.DeadLetters.DeadLetters(t.Context(), event.DeadLetterFilter{})
	for _, err := range []error{err1, err2, s.Database.Ping(t.Context())} {
		if event.CodeOf(err) != event.DependencyDown {
			t.Errorf("after Close: %v", err)
		}
	}
}

// Sweep is what every store that sweeps has to pass besides.
func Sweep(t *testing.T, open func(t *testing.T, keep persistence.Retention) persistence.Store) {
	sweepIngestions(t, open)
	row := func(key string, ended time.Time) event.Record {
		r := event.Record{Identity: event.Identity{Courier: "c", Key: key}, Status: event.Received, UpdatedAt: Noon.Add(-1000 * time.Hour)}
		if !ended.IsZero() {
			r.Status, r.EndedAt = event.Processed, ended
		}
		return r
	}
	fill := func(t *testing.T, s persistence.Store) {
		old, fresh := Noon.Add(-time.Hour-1), Noon.Add(-time.Hour)
		a, b := shipment.Shipment{Ref: shipment.Ref{Courier: "c", ID: "old"}, UpdatedAt: old},
			shipment.Shipment{Ref: shipment.Ref{Courier: "c", ID: "fresh"}, UpdatedAt: fresh}
		CommitAll(t, s.Ledger,
			event.Change{Shipment: &a, Records: []event.Record{row("old", old), row("under way", time.Time{})}},
			event.Change{Shipment: &b, Records: []event.Record{row("fresh", fresh)}},
			DeadLetters(event.DeadLetter{ID: "old", DeadAt: old, ReviewStatus: event.ReviewReviewed}, event.DeadLetter{ID: "fresh", DeadAt: fresh}))
	}
	t.Run("sweep by age", func(t *testing.T) {
		t.Parallel()
		s := open(t, persistence.Retention{LedgerTTL: time.Hour, DeadLetterTTL: time.Hour, ShipmentTTL: time.Hour})
		fill(t, s)
		for _, want := range []int64{1, 0} {
			if got := Must(s.Database.Sweep(t.Context(), Noon)); got != (persistence.Swept{Records: want, DeadLetters: want}) {
				t.Errorf("swept %+v, want %d", got, want)
			}
		}
		WantCounts(t, s.Database, map[event.Status]int64{event.Processed: 1, event.Received: 1}, map[event.ReviewStatus]int64{event.ReviewPending: 1}, 1)
		for key, want := range map[string]bool{"old": false, "fresh": true, "under way": true} {
			if _, ok := GetRecord(t, s.Ledger, event.Identity{Courier: "c", Key: key}); ok != want {
				t.Errorf("record %q is there: %t", key, ok)
			}
		}
		if _, ok := GetShipment(t, s.Ledger, shipment.Ref{Courier: "c", ID: "old"}); ok {
			t.Error("the old shipment is there")
		}
		if _, err := s.DeadLetters.DeadLetter(t.Context(), "old"); event.CodeOf(err) != event.NotFound {
			t.Errorf("the old letter: %v", err)
		}
		CommitAll(t, s.Ledger, Records(row("old", Noon))) // as if it had never been
	})
	t.Run("sweep nothing", func(t *testing.T) {
		t.Parallel()
		s := open(t, persistence.Retention{})
		fill(t, s)
		PutIngestions(t, s.Ingestions, FullIngestion(0))
		if got := Must(s.Database.Sweep(t.Context(), Noon.Add(1e6*time.Hour))); got != (persistence.Swept{}) {
			t.Errorf("swept %+v", got)
		}
		WantIngestions(t, s.Ingestions, ingestion.Filter{}, 0)
		WantCounts(t, s.Database, map[event.Status]int64{event.Processed: 2, event.Received: 1},
			map[event.ReviewStatus]int64{event.ReviewReviewed: 1, event.ReviewPending: 1}, 2)
	})
	t.Run("sweep many", func(t *testing.T) {
		t.Parallel()
		const n = 2*LargestChunk + 3
		s := open(t, persistence.Retention{LedgerTTL: time.Hour, DeadLetterTTL: time.Hour})
		var changes []event.Change
		for i := range n {
			changes = append(changes, Records(row(fmt.Sprint(i), Noon)), DeadLetters(event.DeadLetter{ID: fmt.Sprint(i), DeadAt: Noon}))
		}
		CommitAll(t, s.Ledger, changes...)
		if got := Must(s.Database.Sweep(t.Context(), Noon.Add(2*time.Hour))); got != (persistence.Swept{Records: n, DeadLetters: n}) {
			t.Errorf("swept %+v, want %d", got, n)
		}
		WantCounts(t, s.Database, map[event.Status]int64{}, map[event.ReviewStatus]int64{}, 0)
	})
}
