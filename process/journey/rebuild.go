package journey

import (
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/fincart/courier-gateway/ingest/event/shipment"
)

// Rebuild returns s as it is when the events with these keys are read again, and say what
// reports has: what they said before goes, and what only other events said stays. A key
// without a report is that of an event which is about another shipment. Of a scan that
// another event had too, with the same words, only the new reading stays.
//
// Rebuilding with what is known changes nothing; see [Reflects], which is quicker.
func Rebuild(s shipment.Shipment, keys map[string]bool, reports []Report, now time.Time) shipment.Shipment {
	again := map[shipment.Checkpoint]bool{}
	var lines []shipment.Checkpoint
	for _, r := range reports {
		for _, c := range checkpoints(r) {
			lines = append(lines, c)
			again[words(c)] = isScan(c) || again[words(c)]
		}
	}
	rebuilt := s
	rebuilt.History = slices.Clone(s.History)
	adopt(&rebuilt)
	rebuilt.History = slices.DeleteFunc(rebuilt.History, func(c shipment.Checkpoint) bool {
		return keys[c.Key] || isScan(c) && again[words(c)]
	})
	if len(rebuilt.History) == 0 {
		rebuilt.OrderID = ""
	}
	for _, c := range lines {
		join(&rebuilt.History, c)
	}
	dropped := 0
	for ; len(rebuilt.History) > maxHistory; dropped++ {
		gone := dispensable(rebuilt.History)
		rebuilt.History = slices.Delete(rebuilt.History, gone, gone+1)
	}
	rebuilt.Dropped = max(s.Dropped, dropped) // those may be the same
	if rebuilt.CreatedAt.IsZero() {
		rebuilt.CreatedAt = now
	}
	settle(&rebuilt)
	if Changed(s, rebuilt) {
		rebuilt.UpdatedAt = now
	}
	return rebuilt
}

// words is what a courier itself said in a checkpoint.
func words(c shipment.Checkpoint) shipment.Checkpoint {
	return shipment.Checkpoint{At: claim(c).Round(0).UTC(), Status: c.Status}
}

// Changed reports whether two states of a shipment differ in what events say.
func Changed(before, after shipment.Shipment) bool {
	after.Version, after.UpdatedAt, after.CreatedAt = before.Version, before.UpdatedAt, before.CreatedAt
	if len(before.History) == 0 && len(after.History) == 0 {
		after.History = before.History
	}
	return !reflect.DeepEqual(before, after)
}

// Reflects reports whether s says what r says, and nothing else in its name.
func Reflects(s shipment.Shipment, r Report) bool {
	lines := checkpoints(r)
	for _, c := range lines {
		if at, known := slices.BinarySearchFunc(s.History, c, compareMoments); !isScan(c) || !known || isScan(s.History[at]) && s.History[at].Key > c.Key {
			if !slices.Contains(s.History, c) {
				return false
			}
		}
	}
	for _, c := range s.History {
		if c.Key == r.Key && !slices.ContainsFunc(lines, func(o shipment.Checkpoint) bool { return compareMoments(o, c) == 0 }) {
			return false
		}
	}
	settled := s
	settle(&settled)
	return !Changed(s, settled)
}

// Keys returns the keys of the events that a history has, in order.
func Keys(history []shipment.Checkpoint) []string {
	keys := map[string]bool{}
	for _, c := range history {
		keys[c.Key] = true
	}
	return slices.Sorted(maps.Keys(keys))
}
