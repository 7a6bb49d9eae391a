package shipment

import (
	"strconv"
	"testing"
	"time"
)

func TestUnmappedStatusesAreCountedAndBounded(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	seen := func(status string, at time.Time) UnmappedStatus {
		return UnmappedStatus{Status: status, Events: 1, FirstSeen: at, LastSeen: at, Key: status + at.String()}
	}
	u := Unmapped{Courier: "c"}
	u.Count(seen("a", noon.Add(time.Hour)), seen("b", noon), seen("a", noon))
	if a := u.Statuses[0]; len(u.Statuses) != 2 || a.Status != "a" || a.Events != 2 || !a.FirstSeen.Equal(noon) ||
		!a.LastSeen.Equal(noon.Add(time.Hour)) || a.Key != "a"+noon.Add(time.Hour).String() {
		t.Fatalf("%+v", u)
	}
	for i := range 3 * MaxUnmapped { // a sender that has its ids in the status
		u.Count(seen("id "+strconv.Itoa(i), noon.Add(time.Minute)))
	}
	if others := u.Statuses[u.place("")]; len(u.Statuses) != MaxUnmapped+1 || others.Events != 2*MaxUnmapped+2 || u.place("a") < 0 {
		t.Errorf("%d statuses, %+v for the others", len(u.Statuses), others)
	}
	u.Count(seen("new", noon.Add(unmappedFor+2*time.Hour)))
	if len(u.Statuses) != 1 || u.place("new") < 0 {
		t.Errorf("those that no longer come keep their places: %+v", u)
	}
}
