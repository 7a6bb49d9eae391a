package journey

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event/shipment"
)

// misread is r as a wrong mapping reads it: with other states, at other times, of another
// order.
func misread(r Report) Report {
	wrong := func(s shipment.State) shipment.State {
		switch s {
		case shipment.InTransit, shipment.Returned:
			return shipment.Unknown
		case shipment.OutForDelivery:
			return shipment.Delivered
		default:
			return s
		}
	}
	r.Event = r.Clone()
	r.State = wrong(stateOf(r.State, r.Status))
	r.OccurredAt = r.OccurredAt.Add(-90 * time.Minute)
	if r.OrderID == "A" {
		r.OrderID = "wrong"
	}
	for i, m := range r.Checkpoints {
		r.Checkpoints[i].State = wrong(stateOf(m.State, m.Status))
		r.Checkpoints[i].At = m.At.Add(-90 * time.Minute)
	}
	return r
}

func applied(reports ...Report) shipment.Shipment {
	s := shipment.Shipment{Ref: shipment.Ref{Courier: "demo", ID: "s"}}
	for _, r := range reports {
		Apply(&s, r, noon)
	}
	return s
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func keysOf(reports []Report) map[string]bool {
	keys := map[string]bool{}
	for _, r := range reports {
		keys[r.Key] = true
	}
	return keys
}

// TestRebuildIsWhatTheRightMappingWouldHaveMade, in whatever order the events were and are
// read; and once more it changes nothing.
func TestRebuildIsWhatTheRightMappingWouldHaveMade(t *testing.T) {
	reflected := 0
	for range 500 {
		reports := randomReports()
		wrong := make([]Report, len(reports))
		for to, from := range rand.Perm(len(reports)) {
			wrong[to] = misread(reports[from])
		}
		want, before := applied(reports...), applied(wrong...)
		rebuilt := Rebuild(before, keysOf(reports), reports, noon)
		if !reflect.DeepEqual(rebuilt, want) {
			t.Fatalf("rebuilt is\n%s, want\n%s", asJSON(t, rebuilt), asJSON(t, want))
		}
		rand.Shuffle(len(reports), func(i, k int) { reports[i], reports[k] = reports[k], reports[i] })
		again := Rebuild(rebuilt, keysOf(reports), reports, noon.Add(time.Hour))
		if !reflect.DeepEqual(again, rebuilt) {
			t.Fatalf("once more it is\n%s, was\n%s\nof %s", asJSON(t, again), asJSON(t, rebuilt), asJSON(t, reports))
		}
		claims := slices.ContainsFunc(rebuilt.History, func(c shipment.Checkpoint) bool { return !c.ClaimedAt.IsZero() })
		for _, r := range reports { // one that claims a time is at the earliest of several receipts
			if !claims && !Reflects(rebuilt, r) {
				t.Fatalf("%+v does not reflect %+v", rebuilt, r)
			}
			if !claims {
				reflected++
			}
		}
	}
	if reflected == 0 {
		t.Error("nothing was compared")
	}
}

// TestRebuildKeepsWhatIsGone: what the queue has no more stays as it was, but for scans
// that later pushes repeat.
func TestRebuildKeepsWhatIsGone(t *testing.T) {
	gone := []Report{says("pending 0m A"), pushes("a", "in_transit 2m", "teleported 1m", "in_transit 2m")}
	kept := pushes("b", "beamed 5m", "teleported 1m", "in_transit 2m", "beamed 3m")
	before := applied(append(gone, kept)...)
	right := kept
	right.Event = kept.Clone()
	right.State = shipment.OutForDelivery
	for i := range right.Checkpoints {
		switch right.Checkpoints[i].Status {
		case "teleported":
			right.Checkpoints[i].State = shipment.InfoReceived
		case "beamed":
			right.Checkpoints[i].State = shipment.OutForDelivery
		}
	}
	if Reflects(before, right) || !Reflects(before, kept) {
		t.Error("what was read wrongly passes for right, or the other way round")
	}
	s := Rebuild(before, map[string]bool{"b": true}, []Report{right}, noon.Add(time.Hour))
	if got, want := shown(s), "pending 0s, teleported 1m0s, in_transit 2m0s, beamed 3m0s"; got != want ||
		s.State != shipment.OutForDelivery || s.OrderID != "A" || s.History[1].State != shipment.InfoReceived || s.UpdatedAt.Equal(before.UpdatedAt) {
		t.Errorf("%s of order %q: %s, want %s\n%+v", s.State, s.OrderID, got, want, s)
	}
	if moved := Rebuild(before, map[string]bool{"b": true}, nil, noon); moved.State != shipment.InTransit || Changed(moved, applied(gone...)) {
		t.Errorf("without an event that is about another shipment it is %+v", moved)
	}
}

func TestRebuildOfAFullHistory(t *testing.T) {
	var reports []Report
	for i := range maxHistory + 20 {
		r := says("in_transit 0m")
		r.Key, r.OccurredAt = "k"+noon.Add(time.Duration(i)).String(), noon.Add(time.Duration(i)*time.Minute)
		reports = append(reports, r)
	}
	before := applied(reports...)
	if s := Rebuild(before, keysOf(reports), reports, noon.Add(time.Hour)); Changed(before, s) || s.Dropped != 20 {
		t.Errorf("%d checkpoints, %d dropped", len(s.History), s.Dropped)
	}
	if s := Rebuild(before, keysOf(reports[:30]), reports[:30], noon.Add(time.Hour)); Changed(before, s) {
		t.Errorf("with those that were dropped before: %d checkpoints, %d dropped", len(s.History), s.Dropped)
	}
}
