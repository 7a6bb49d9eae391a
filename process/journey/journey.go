// Package journey has the rules about shipments: what the events of a parcel, taken
// together, say of it.
//
// [Apply] adds an event to a shipment, [Rebuild] reads events again that were added before.
// Both are pure functions, and a shipment is a function of the set of its events: their
// order, and how often one of them comes, make no difference. That is what makes a retry
// after a half-finished commit harmless.
//
// # What an event says
//
//	it has                         what it says of the present        of the past
//	a status, no history           the status, at its time            nothing
//	a status and a history         the status, at its time            each scan of the history
//	a history alone                what its newest scan says, or the  each scan
//	                                 end, if that scan is a late one
//	a status that is not mapped,   the status, which moves nothing,   each scan
//	  and a history                and its newest scan that is,
//	                                 or the end, likewise
//	neither status nor history     nothing                            nothing
//
// Only what events say of the present moves a shipment: a scan in a history may be dated
// ahead, or in the local time of a depot, and the push that has it says otherwise. The
// scans are kept to be looked at, each once however many pushes repeat it. The newest scan
// is one that isn't dated ahead ([event.Moment.Ahead]), if there is any; it is late where it
// follows delivered or returned and no scan since then opens a leg, by the table below. Where
// a push has no time of its own, package payload dates it by the scan that it takes its status
// from, or by its newest scan; by its receipt if that scan says something else.
//
// # When an event happened
//
//	its time                               counts as
//	up to the courier's bound ahead        it is
//	  of the receipt
//	further ahead                          the receipt, in whole seconds; the checkpoint
//	                                         keeps what was claimed
//	before the year 2000: a clock that     the receipt, likewise; a scan stays as it is, for
//	  was never set                        it moves nothing
//	any other in the past                  it is: late, and older than what is known
//
// # What moves a shipment
//
// By event time, at one instant by the order of the vocabulary:
//
//	the state is                    then comes                            and the state is
//	unknown, or on the way          a mapped state                        that one
//	on the way, past info_received  pending: the sender has no data       the same
//	any that is known               a status that is not mapped           the same; the raw status shows it
//	any                             no status                             the same
//	delivered, returned, cancelled  the same                              the same, since the first
//	  "                             delivered or returned, another one    that one: the end was corrected
//	  "                             cancelled or expired                  the same: they move no parcel
//	  "                             a state on the way, within 2 days     the same: a late scan
//	  "                             info_received                         that one, in a new leg
//	delivered, returned             pending                               the same
//	cancelled                       pending                               that one, in a new leg
//	delivered, returned, cancelled  anything in another order             that one, in a new leg
//	  "                             what moves a parcel, after 2 days     that one, in a new leg
//	expired                         any other but pending                 that one: the tracker had given
//	                                                                      up, not the parcel
//
// The order id is that of the newest event that moved the shipment and has one. What
// moves nothing only fills a place that is empty.
package journey

import (
	"slices"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
)

// Report is an event, and what its time is measured by.
type Report struct {
	event.Event
	ReceivedAt time.Time     // zero when that is not known; then every time is believed
	MaxAhead   time.Duration // how far ahead of that a time is believed
}

// clockWasSet is the first time that is believed of an event of the present.
var clockWasSet = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// Apply adds r to s at now.
func Apply(s *shipment.Shipment, r Report, now time.Time) {
	adopt(s)
	joined := false
	for _, c := range checkpoints(r) {
		joined = keep(s, c) || joined
	}
	if s.CreatedAt.IsZero() {
		s.CreatedAt = now
	}
	if joined {
		s.UpdatedAt = now
	}
	settle(s)
}

// checkpoints returns what r says: the scans of its history, which have no type, and then
// what it says of the present.
func checkpoints(r Report) []shipment.Checkpoint {
	own := r.present()
	if len(r.Checkpoints) == 0 {
		return []shipment.Checkpoint{own}
	}
	all := make([]shipment.Checkpoint, 0, len(r.Checkpoints)+2)
	for _, m := range r.Checkpoints {
		all = append(all, r.scan(m))
	}
	if own.State == "" {
		return all
	}
	newest := r.newestOf(all, func(s shipment.State) bool { return s != "" })
	counts := own
	switch {
	case repeats(own, newest):
		own.ScanAt = newest.At
	case slices.ContainsFunc(all, func(c shipment.Checkpoint) bool { return compareMoments(c, own) == 0 }):
		own.ScanAt = own.At
	}
	if own.State == shipment.Unknown {
		mapped := r.lastOf(all)
		counts.State, counts.Status, counts.ScanAt = mapped.State, mapped.Status, mapped.At
	}
	all = append(all, own)
	if counts.State != "" && counts.State != own.State {
		all = append(all, counts)
	}
	return all
}

// present returns what r says of the present by itself.
func (r Report) present() shipment.Checkpoint {
	c := shipment.Checkpoint{
		At: r.OccurredAt.UTC(), State: stateOf(r.State, r.Status), Status: r.Status,
		Key: r.Key, EventID: r.ID, Type: r.Type, OrderID: r.OrderID,
	}
	if !r.ReceivedAt.IsZero() && c.At.Before(clockWasSet) {
		c.At, c.ClaimedAt = r.receipt(), c.At
	}
	return r.bound(c)
}

func (r Report) scan(m event.Moment) shipment.Checkpoint {
	return r.bound(shipment.Checkpoint{At: m.At.UTC(), State: stateOf(m.State, m.Status), Status: m.Status, Key: r.Key, EventID: r.ID})
}

// bound puts a time that lies too far ahead back to the receipt.
func (r Report) bound(c shipment.Checkpoint) shipment.Checkpoint {
	if !r.ReceivedAt.IsZero() && c.At.After(r.ReceivedAt.Add(r.MaxAhead)) {
		c.At, c.ClaimedAt = r.receipt(), c.At
	}
	return c
}

// receipt is the time of receipt in whole seconds, as most couriers write times: what
// happens in the same second is not older for that.
func (r Report) receipt() time.Time { return r.ReceivedAt.UTC().Truncate(time.Second) }

// stateOf returns what a sender's mapping took a status for, or else what our
// vocabulary takes it for.
func stateOf(mapped shipment.State, status string) shipment.State {
	if mapped == "" && status != "" {
		return shipment.ParseState(status)
	}
	return mapped
}

// repeats reports whether a push says of the present what its newest scan says.
func repeats(own, newest shipment.Checkpoint) bool {
	return own.State == newest.State && (own.State != shipment.Unknown || own.Status == newest.Status)
}

// newestOf returns the newest scan with a state that counts, one that is dated ahead only
// if there is no other; the zero one for none.
func (r Report) newestOf(scans []shipment.Checkpoint, counts func(shipment.State) bool) (newest shipment.Checkpoint) {
	for _, c := range scans {
		if counts(c.State) && (newest.State == "" || r.newer(c, newest)) {
			newest = c
		}
	}
	return newest
}

// newer reports whether the scan a is newer than b, which one that is dated ahead never is
// than one that isn't.
func (r Report) newer(a, b shipment.Checkpoint) bool {
	ahead := func(c shipment.Checkpoint) bool {
		return event.Moment{At: claim(c), State: c.State}.Ahead(r.ReceivedAt)
	}
	if ahead(a) != ahead(b) {
		return ahead(b)
	}
	return compareMoments(a, b) > 0
}

// lastOf returns the scan that says where the parcel is: the newest one that is mapped, or
// the end of its journey, if nothing since then opened another one.
func (r Report) lastOf(scans []shipment.Checkpoint) shipment.Checkpoint {
	end := r.newestOf(scans, shipment.State.Arrived)
	opens := func(c shipment.Checkpoint) bool { return r.newer(c, end) && c.State.OpensLeg(c.At.Sub(end.At)) }
	if end.State != "" && !slices.ContainsFunc(scans, opens) {
		return end
	}
	return r.newestOf(scans, func(s shipment.State) bool { return s != "" && s != shipment.Unknown })
}

// Unmapped returns the statuses of e that no mapping knows, each once and with its detail.
// mapped says which are known to mean unknown, for a scan or for the event itself.
func Unmapped(e event.Event, mapped func(status string, scan bool) bool) (statuses []string) {
	note := func(state shipment.State, status, substatus string, scan bool) {
		if status == "" || stateOf(state, status) != shipment.Unknown {
			return
		}
		full := event.FullStatus(status, substatus)
		if !slices.Contains(statuses, full) && !mapped(full, scan) {
			statuses = append(statuses, full)
		}
	}
	repeated := slices.ContainsFunc(e.Checkpoints, func(m event.Moment) bool { return m.Status == e.Status && m.Substatus == e.Substatus })
	if !repeated { // otherwise it may have been taken from there
		note(e.State, e.Status, e.Substatus, false)
	}
	for _, m := range e.Checkpoints {
		note(m.State, m.Status, m.Substatus, true)
	}
	return statuses
}
