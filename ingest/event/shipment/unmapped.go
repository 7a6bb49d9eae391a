package shipment

import (
	"cmp"
	"slices"
	"time"
)

// Unmapped are the statuses of a courier that no mapping knew when they came
// (unmapped_statuses). They move no shipment, so somebody has to look at them.
type Unmapped struct {
	Courier  string           `json:"courier"`
	Statuses []UnmappedStatus `json:"statuses"` // the last seen first
}

// UnmappedStatus is one of them.
type UnmappedStatus struct {
	Status     string    `json:"status"` // as the courier wrote it, with its detail behind a slash; empty for all that had no place
	Events     int64     `json:"events"` // that had it
	FirstSeen  time.Time `json:"firstSeen"`
	LastSeen   time.Time `json:"lastSeen"`
	Key        string    `json:"idempotencyKey"` // of the last of those events
	ShipmentID string    `json:"shipmentId"`
}

// Bounds of a courier's list, because senders choose the statuses.
const (
	MaxUnmapped = 100                 // statuses; what comes beyond is counted together
	unmappedFor = 90 * 24 * time.Hour // that one which no longer comes keeps its place
)

// Count adds what was seen to the list.
func (u *Unmapped) Count(seen ...UnmappedStatus) {
	for _, s := range seen {
		u.Statuses = slices.DeleteFunc(u.Statuses, func(o UnmappedStatus) bool { return o.LastSeen.Before(s.LastSeen.Add(-unmappedFor)) })
		at := u.place(s.Status)
		if at < 0 && len(u.Statuses) >= MaxUnmapped {
			s.Status = ""
			at = u.place("")
		}
		if at < 0 {
			u.Statuses = append(u.Statuses, s)
			continue
		}
		o := &u.Statuses[at]
		o.Events += s.Events
		if s.FirstSeen.Before(o.FirstSeen) {
			o.FirstSeen = s.FirstSeen
		}
		if !s.LastSeen.Before(o.LastSeen) {
			o.LastSeen, o.Key, o.ShipmentID = s.LastSeen, s.Key, s.ShipmentID
		}
	}
	slices.SortFunc(u.Statuses, func(a, b UnmappedStatus) int {
		return cmp.Or(b.LastSeen.Compare(a.LastSeen), cmp.Compare(a.Status, b.Status))
	})
}

func (u *Unmapped) place(status string) int {
	return slices.IndexFunc(u.Statuses, func(o UnmappedStatus) bool { return o.Status == status })
}
