package mongo

import (
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/persistence"
)

// A time is two members of a document, because a BSON date ends at the millisecond and the
// order of a shipment's events does not:
//
//	occurredAt       date    what people, queries and TTL indexes use
//	occurredAtNanos  int32   the nanoseconds within that millisecond; absent for none
//
// Both are absent for the zero time.

// date is the date of a time, nil for the zero time.
type date = *bson.DateTime

func dateOf(t time.Time) date {
	if t.IsZero() {
		return nil
	}
	d := dateKey(t)
	return &d
}

// dateKey is the date of a time that rows are sorted by, which always have one.
func dateKey(t time.Time) bson.DateTime { return bson.NewDateTimeFromTime(persistence.InRange(t)) }

// nanosOf returns the nanoseconds of t within its millisecond.
func nanosOf(t time.Time) int32 {
	return int32(persistence.InRange(t).Nanosecond() % int(time.Millisecond))
}

// times makes times of a document's members and keeps the first error.
type times struct {
	document string // its id
	err      error
}

func (t *times) at(d date, nanos int32) time.Time {
	if nanos < 0 || nanos >= int32(time.Millisecond) || d == nil && nanos != 0 {
		t.fail(fmt.Errorf("%d is no number of nanoseconds within a millisecond that is given", nanos))
	}
	if d == nil {
		return time.Time{}
	}
	at := d.Time().UTC().Add(time.Duration(nanos))
	if !at.Equal(persistence.InRange(at)) {
		t.fail(fmt.Errorf("the date %d ms is outside of the years 0 to 9999", int64(*d)))
	}
	return at
}

func (t *times) fail(err error) {
	if t.err == nil {
		t.err = err
	}
}

func (t *times) attempt(d attemptDocument) event.Attempt {
	return event.Attempt{
		Number: d.Number, StartedAt: t.at(d.StartedAt, d.StartedNanos), EndedAt: t.at(d.EndedAt, d.EndedNanos),
		Outcome: event.Outcome(d.Outcome), Code: event.Code(d.Code), Message: d.Message,
	}
}

func (t *times) checkpoint(d checkpointDocument) shipment.Checkpoint {
	return shipment.Checkpoint{
		At: t.at(d.At, d.AtNanos), State: shipment.State(d.State), Status: d.Status, Key: d.Key, EventID: d.EventID, Type: d.Type,
		OrderID: d.OrderID, ClaimedAt: t.at(d.ClaimedAt, d.ClaimedNanos), ScanAt: t.at(d.ScanAt, d.ScanNanos),
	}
}

func (t *times) replay(d replayDocument) event.ReplayLink {
	return event.ReplayLink{Nonce: d.Nonce, Sequence: uint64(d.Sequence), At: t.at(d.At, d.AtNanos)}
}
