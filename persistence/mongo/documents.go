package mongo

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/persistence"
)

// Documents have the names of the operators' API, except that a record of a request
// keeps acceptedAt, acceptedKey and acceptedBy for who accepted it. version is the row's Version;
// commit is the id of the commit that wrote the row last, by which that commit
// recognises its own rows (see [Ledger.Commit]). What expires does so by a TTL index on one
// of its dates; rows without that date stay.

type recordDocument struct {
	ID            string            `bson:"_id"` // courier:idempotencyKey
	Courier       string            `bson:"courier"`
	Key           string            `bson:"idempotencyKey"`
	Version       int64             `bson:"version"`
	Commit        bson.ObjectID     `bson:"commit"`
	Status        string            `bson:"status"`
	EventID       string            `bson:"eventId,omitempty"`
	EventType     string            `bson:"eventType,omitempty"`
	OccurredAt    date              `bson:"occurredAt,omitempty"`
	OccurredNanos int32             `bson:"occurredAtNanos,omitempty"`
	ShipmentID    string            `bson:"shipmentId,omitempty"`
	TraceID       string            `bson:"traceId,omitempty"`
	ReceivedAt    date              `bson:"receivedAt,omitempty"`
	ReceivedNanos int32             `bson:"receivedAtNanos,omitempty"`
	Sequence      int64             `bson:"sequence"`
	BodyHash      string            `bson:"bodyHash,omitempty"`
	Attempts      []attemptDocument `bson:"attempts,omitempty"`
	Conflicts     int               `bson:"conflicts,omitempty"`
	Replay        string            `bson:"replay,omitempty"`
	Code          string            `bson:"errorCode,omitempty"`
	Message       string            `bson:"message,omitempty"`
	UpdatedAt     date              `bson:"updatedAt,omitempty"`
	UpdatedNanos  int32             `bson:"updatedAtNanos,omitempty"`
	EndedAt       date              `bson:"endedAt,omitempty"`
	EndedNanos    int32             `bson:"endedAtNanos,omitempty"`
}

type attemptDocument struct {
	Number       int    `bson:"number"`
	StartedAt    date   `bson:"startedAt,omitempty"`
	StartedNanos int32  `bson:"startedAtNanos,omitempty"`
	EndedAt      date   `bson:"endedAt,omitempty"`
	EndedNanos   int32  `bson:"endedAtNanos,omitempty"`
	Outcome      string `bson:"outcome,omitempty"`
	Code         string `bson:"errorCode,omitempty"`
	Message      string `bson:"message,omitempty"`
}

type shipmentDocument struct {
	ID           string               `bson:"_id"` // courier:shipmentId
	Courier      string               `bson:"courier"`
	ShipmentID   string               `bson:"shipmentId"`
	Version      int64                `bson:"version"`
	Commit       bson.ObjectID        `bson:"commit"`
	OrderID      string               `bson:"orderId,omitempty"`
	State        string               `bson:"state"`
	RawStatus    string               `bson:"rawStatus,omitempty"`
	EventTime    date                 `bson:"eventTime,omitempty"`
	EventNanos   int32                `bson:"eventTimeNanos,omitempty"`
	LastEvent    string               `bson:"lastEvent,omitempty"`
	Leg          int                  `bson:"leg"`
	History      []checkpointDocument `bson:"history,omitempty"`
	Dropped      int                  `bson:"historyDropped,omitempty"`
	CreatedAt    date                 `bson:"createdAt,omitempty"`
	CreatedNanos int32                `bson:"createdAtNanos,omitempty"`
	UpdatedAt    date                 `bson:"updatedAt,omitempty"`
	UpdatedNanos int32                `bson:"updatedAtNanos,omitempty"`
}

type checkpointDocument struct {
	At           date   `bson:"occurredAt,omitempty"`
	AtNanos      int32  `bson:"occurredAtNanos,omitempty"`
	State        string `bson:"state"`
	Status       string `bson:"rawStatus,omitempty"`
	Key          string `bson:"idempotencyKey"`
	EventID      string `bson:"eventId"`
	Type         string `bson:"eventType,omitempty"`
	OrderID      string `bson:"orderId,omitempty"`
	ClaimedAt    date   `bson:"claimedAt,omitempty"`
	ClaimedNanos int32  `bson:"claimedAtNanos,omitempty"`
	ScanAt       date   `bson:"scanAt,omitempty"`
	ScanNanos    int32  `bson:"scanAtNanos,omitempty"`
}

type letterDocument struct {
	ID            string            `bson:"_id"`
	Courier       string            `bson:"courier,omitempty"`
	Key           string            `bson:"idempotencyKey,omitempty"`
	Sequence      int64             `bson:"sequence"`
	EventID       string            `bson:"eventId,omitempty"`
	ShipmentID    string            `bson:"shipmentId,omitempty"`
	TraceID       string            `bson:"traceId,omitempty"`
	ReceivedAt    date              `bson:"receivedAt,omitempty"`
	ReceivedNanos int32             `bson:"receivedAtNanos,omitempty"`
	DeadAt        bson.DateTime     `bson:"deadAt"`
	DeadNanos     int32             `bson:"deadAtNanos"` // 0 too: letters are sorted by it
	Code          string            `bson:"errorCode,omitempty"`
	Message       string            `bson:"message,omitempty"`
	Attempts      []attemptDocument `bson:"attempts,omitempty"`
	Headers       []headerDocument  `bson:"headers,omitempty"`
	Body          []byte            `bson:"body"`
	ReviewStatus  string            `bson:"reviewStatus"`
	ReviewedAt    date              `bson:"reviewedAt,omitempty"`
	ReviewedNanos int32             `bson:"reviewedAtNanos,omitempty"`
	Note          string            `bson:"note,omitempty"`
	Replays       []replayDocument  `bson:"replays,omitempty"`
	ReplayOf      string            `bson:"replayOf,omitempty"`
}

// headerDocument is a header of a dead letter or a captured request, in a list
// because a stranger's header may have a name that a document's member can't have.
type headerDocument struct {
	Name  string `bson:"name"`
	Value string `bson:"value"`
}

type replayDocument struct {
	Nonce    string `bson:"nonce"`
	Sequence int64  `bson:"sequence"`
	At       date   `bson:"at,omitempty"`
	AtNanos  int32  `bson:"atNanos,omitempty"`
}

func newRecordDocument(r *event.Record, commit bson.ObjectID) recordDocument {
	return recordDocument{
		ID: persistence.CleanText(r.String()), Courier: persistence.CleanText(r.Courier), Key: persistence.CleanText(r.Key), Version: r.Version + 1, Commit: commit,
		Status: persistence.CleanText(string(r.Status)), EventID: persistence.CleanText(r.EventID), EventType: persistence.CleanText(r.EventType),
		OccurredAt: dateOf(r.OccurredAt), OccurredNanos: nanosOf(r.OccurredAt), ShipmentID: persistence.CleanText(r.ShipmentID), TraceID: persistence.CleanText(r.TraceID),
		ReceivedAt: dateOf(r.ReceivedAt), ReceivedNanos: nanosOf(r.ReceivedAt), Sequence: int64(r.Sequence), BodyHash: persistence.CleanText(r.BodyHash),
		Attempts: mapList(r.Attempts, newAttemptDocument), Conflicts: r.Conflicts,
		Replay: persistence.CleanText(r.Replay), Code: persistence.CleanText(string(r.Code)), Message: persistence.CleanText(r.Message),
		UpdatedAt: dateOf(r.UpdatedAt), UpdatedNanos: nanosOf(r.UpdatedAt), EndedAt: dateOf(r.EndedAt), EndedNanos: nanosOf(r.EndedAt),
	}
}

// inProcess returns the document as it is while its commit is under way: the event is
// being processed, its last attempt is open.
func (d recordDocument) inProcess() recordDocument {
	d.Status, d.Code, d.Message, d.EndedAt, d.EndedNanos = string(event.Processing), "", "", nil, 0
	if last := len(d.Attempts) - 1; last >= 0 {
		open := attemptDocument{Number: d.Attempts[last].Number, StartedAt: d.Attempts[last].StartedAt, StartedNanos: d.Attempts[last].StartedNanos}
		d.Attempts = append(d.Attempts[:last:last], open)
	}
	return d
}

func (d *recordDocument) record(t *times) event.Record {
	t.document = d.ID
	return event.Record{
		Identity: event.Identity{Courier: d.Courier, Key: d.Key}, Status: event.Status(d.Status), EventID: d.EventID,
		EventType: d.EventType, OccurredAt: t.at(d.OccurredAt, d.OccurredNanos), ShipmentID: d.ShipmentID, TraceID: d.TraceID,
		ReceivedAt: t.at(d.ReceivedAt, d.ReceivedNanos), Sequence: uint64(d.Sequence), BodyHash: d.BodyHash,
		Attempts:  mapList(d.Attempts, t.attempt),
		Conflicts: d.Conflicts, Replay: d.Replay, Code: event.Code(d.Code), Message: d.Message,
		UpdatedAt: t.at(d.UpdatedAt, d.UpdatedNanos), EndedAt: t.at(d.EndedAt, d.EndedNanos), Version: d.Version,
	}
}

func newAttemptDocument(a event.Attempt) attemptDocument {
	return attemptDocument{
		Number: a.Number, StartedAt: dateOf(a.StartedAt), StartedNanos: nanosOf(a.StartedAt), EndedAt: dateOf(a.EndedAt), EndedNanos: nanosOf(a.EndedAt),
		Outcome: persistence.CleanText(string(a.Outcome)), Code: persistence.CleanText(string(a.Code)), Message: persistence.CleanText(a.Message),
	}
}

func newShipmentDocument(s *shipment.Shipment, commit bson.ObjectID) shipmentDocument {
	return shipmentDocument{
		ID: persistence.CleanText(s.String()), Courier: persistence.CleanText(s.Courier), ShipmentID: persistence.CleanText(s.ID), Version: s.Version + 1,
		Commit: commit, OrderID: persistence.CleanText(s.OrderID), State: persistence.CleanText(string(s.State)), RawStatus: persistence.CleanText(s.RawStatus),
		EventTime: dateOf(s.EventTime), EventNanos: nanosOf(s.EventTime), LastEvent: persistence.CleanText(s.LastEvent), Leg: s.Leg,
		History: mapList(s.History, newCheckpointDocument), Dropped: s.Dropped,
		CreatedAt: dateOf(s.CreatedAt), CreatedNanos: nanosOf(s.CreatedAt), UpdatedAt: dateOf(s.UpdatedAt), UpdatedNanos: nanosOf(s.UpdatedAt),
	}
}

func newCheckpointDocument(c shipment.Checkpoint) checkpointDocument {
	return checkpointDocument{
		At: dateOf(c.At), AtNanos: nanosOf(c.At), State: persistence.CleanText(string(c.State)), Status: persistence.CleanText(c.Status), Key: persistence.CleanText(c.Key),
		EventID: persistence.CleanText(c.EventID), Type: persistence.CleanText(c.Type),
		OrderID: persistence.CleanText(c.OrderID), ClaimedAt: dateOf(c.ClaimedAt), ClaimedNanos: nanosOf(c.ClaimedAt), ScanAt: dateOf(c.ScanAt), ScanNanos: nanosOf(c.ScanAt),
	}
}

func (d *shipmentDocument) shipment(t *times) shipment.Shipment {
	t.document = d.ID
	return shipment.Shipment{
		Ref: shipment.Ref{Courier: d.Courier, ID: d.ShipmentID}, OrderID: d.OrderID, State: shipment.State(d.State),
		RawStatus: d.RawStatus, EventTime: t.at(d.EventTime, d.EventNanos), LastEvent: d.LastEvent, Leg: d.Leg,
		History: mapList(d.History, t.checkpoint), Dropped: d.Dropped,
		CreatedAt: t.at(d.CreatedAt, d.CreatedNanos), UpdatedAt: t.at(d.UpdatedAt, d.UpdatedNanos), Version: d.Version,
	}
}

func newLetterDocument(d *event.DeadLetter) letterDocument {
	doc := letterDocument{
		ID: persistence.CleanText(d.ID), Courier: persistence.CleanText(d.Courier), Key: persistence.CleanText(d.Key), Sequence: int64(d.Sequence),
		EventID: persistence.CleanText(d.EventID), ShipmentID: persistence.CleanText(d.ShipmentID), TraceID: persistence.CleanText(d.TraceID),
		ReceivedAt: dateOf(d.ReceivedAt), ReceivedNanos: nanosOf(d.ReceivedAt), DeadAt: dateKey(d.DeadAt), DeadNanos: nanosOf(d.DeadAt), Code: persistence.CleanText(string(d.Code)),
		Message: persistence.CleanText(d.Message), Attempts: mapList(d.Attempts, newAttemptDocument), Body: d.Body,
		ReviewStatus: string(persistence.ReviewStatus(d)), ReviewedAt: dateOf(d.ReviewedAt), ReviewedNanos: nanosOf(d.ReviewedAt), Note: persistence.CleanText(d.Note),
		Replays: mapList(d.Replays, newReplayDocument), ReplayOf: persistence.CleanText(d.ReplayOf),
	}
	for name, value := range d.Headers {
		doc.Headers = append(doc.Headers, headerDocument{persistence.CleanText(name), persistence.CleanText(value)})
	}
	return doc
}

func newReplayDocument(l event.ReplayLink) replayDocument {
	return replayDocument{Nonce: persistence.CleanText(l.Nonce), Sequence: int64(l.Sequence), At: dateOf(l.At), AtNanos: nanosOf(l.At)}
}

func (d *letterDocument) letter(t *times) event.DeadLetter {
	t.document = d.ID
	letter := event.DeadLetter{
		ID: d.ID, Identity: event.Identity{Courier: d.Courier, Key: d.Key}, Sequence: uint64(d.Sequence), EventID: d.EventID,
		ShipmentID: d.ShipmentID, TraceID: d.TraceID, ReceivedAt: t.at(d.ReceivedAt, d.ReceivedNanos), DeadAt: t.at(&d.DeadAt, d.DeadNanos),
		Code: event.Code(d.Code), Message: d.Message, Attempts: mapList(d.Attempts, t.attempt),
		Headers: make(map[string]string, len(d.Headers)), Body: append([]byte{}, d.Body...),
		ReviewStatus: event.ReviewStatus(d.ReviewStatus), ReviewedAt: t.at(d.ReviewedAt, d.ReviewedNanos), Note: d.Note, ReplayOf: d.ReplayOf,
	}
	for _, h := range d.Headers {
		letter.Headers[h.Name] = h.Value
	}
	if len(d.Replays) > 0 {
		letter.Replays = mapList(d.Replays, t.replay)
	}
	return letter
}

// mapList returns what convert makes of each; never nil.
func mapList[A, B any](list []A, convert func(A) B) []B {
	converted := make([]B, len(list))
	for i := range list {
		converted[i] = convert(list[i])
	}
	return converted
}
