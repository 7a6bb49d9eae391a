package storetest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/persistence"
)

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
