// Package storetest is what every store and every cache has to pass, with the rows,
// the waiting and the broken network that their tests share. Only tests import it.
package storetest

import (
	"context"
	"fmt"
	"strings"
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
		{"statuses that are not mapped", contractUnmapped},
		{"counts", contractCounts},
		{"cancelled and closed", contractEnds},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, open(t, persistence.Retention{}))
		})
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
