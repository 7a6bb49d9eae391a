package mongo

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/persistence"
)

type ingestionDocument struct {
	ID            string           `bson:"_id"`
	Courier       string           `bson:"courier"` // "" when the request named none
	Single        bool             `bson:"single"`  // it has a request
	Outcome       string           `bson:"outcome"`
	Count         int64            `bson:"count"`
	Bytes         int64            `bson:"bytes"`
	At            bson.DateTime    `bson:"at"`
	AtNanos       int32            `bson:"atNanos,omitempty"`
	Until         date             `bson:"until,omitempty"`
	UntilNanos    int32            `bson:"untilNanos,omitempty"`
	Code          string           `bson:"errorCode,omitempty"`
	Reason        string           `bson:"reason,omitempty"`
	Detail        string           `bson:"detail,omitempty"`
	Status        int              `bson:"status,omitempty"`
	Address       string           `bson:"address,omitempty"`
	TraceID       string           `bson:"traceId,omitempty"`
	AcceptedAt    date             `bson:"acceptedAt,omitempty"`
	AcceptedNanos int32            `bson:"acceptedAtNanos,omitempty"`
	AcceptedKey   string           `bson:"acceptedKey,omitempty"`
	AcceptedBy    string           `bson:"acceptedBy,omitempty"`
	Request       *requestDocument `bson:"request,omitempty"`
}

type requestDocument struct {
	Method    string           `bson:"method,omitempty"`
	Path      string           `bson:"path,omitempty"`
	Query     string           `bson:"query,omitempty"`
	Headers   []headerDocument `bson:"headers,omitempty"`
	Body      []byte           `bson:"body"`
	BodyBytes int              `bson:"bodyBytes"`
	Redacted  bool             `bson:"redacted,omitempty"`
}

func newIngestionDocument(r *ingestion.Record) ingestionDocument {
	doc := ingestionDocument{
		ID: persistence.CleanText(r.ID), Courier: persistence.CleanText(r.Courier), Single: r.Request != nil, Outcome: persistence.CleanText(string(r.Outcome)),
		Count: r.Count, Bytes: r.Bytes, At: dateKey(r.At), AtNanos: nanosOf(r.At), Until: dateOf(r.Until), UntilNanos: nanosOf(r.Until), Code: persistence.CleanText(string(r.Code)),
		Reason: persistence.CleanText(r.Reason), Detail: persistence.CleanText(r.Detail), Status: r.Status, Address: persistence.CleanText(r.Address),
		TraceID: persistence.CleanText(r.TraceID), AcceptedAt: dateOf(r.AcceptedAt), AcceptedNanos: nanosOf(r.AcceptedAt), AcceptedKey: persistence.CleanText(r.AcceptedKey), AcceptedBy: persistence.CleanText(r.AcceptedBy),
	}
	if q := r.Request; q != nil {
		doc.Request = &requestDocument{
			Method: persistence.CleanText(q.Method), Path: persistence.CleanText(q.Path), Query: persistence.CleanText(q.Query),
			Headers: mapList(q.Headers, func(h ingestion.Header) headerDocument {
				return headerDocument{persistence.CleanText(h.Name), persistence.CleanText(h.Value)}
			}),
			Body: q.Body, BodyBytes: q.BodyBytes, Redacted: q.Redacted,
		}
	}
	return doc
}

func (d *ingestionDocument) record(t *times) ingestion.Record {
	t.document = d.ID
	r := ingestion.Record{
		ID: d.ID, Courier: d.Courier, Outcome: ingestion.Outcome(d.Outcome), Count: d.Count, Bytes: d.Bytes,
		At: t.at(&d.At, d.AtNanos), Until: t.at(d.Until, d.UntilNanos), Code: event.Code(d.Code), Reason: d.Reason, Detail: d.Detail,
		Status: d.Status, Address: d.Address, TraceID: d.TraceID, AcceptedAt: t.at(d.AcceptedAt, d.AcceptedNanos), AcceptedKey: d.AcceptedKey, AcceptedBy: d.AcceptedBy,
	}
	if q := d.Request; q != nil {
		r.Request = &ingestion.Request{
			Method: q.Method, Path: q.Path, Query: q.Query,
			Headers: mapList(q.Headers, func(h headerDocument) ingestion.Header { return ingestion.Header(h) }),
			Body:    append([]byte{}, q.Body...), BodyBytes: q.BodyBytes, Redacted: q.Redacted,
		}
	}
	return r
}

// Ingestions keeps what the intake records of requests.
type Ingestions struct {
	records *table
	limit   *persistence.IngestionLimit
}

// PutIngestions implements [persistence.Ingestions] in one round trip, and two more for each
// kind of record that has to be trimmed.
func (s *Ingestions) PutIngestions(ctx context.Context, records []ingestion.Record) error {
	return s.records.server.do(ctx, "put_ingestions", func(ctx context.Context) error {
		if len(records) == 0 {
			return nil
		}
		return s.limit.Apply(records,
			func() error { return s.insertIngestions(ctx, records) },
			func(kind persistence.IngestionKind) error { return s.trim(ctx, kind) })
	})
}

func (s *Ingestions) insertIngestions(ctx context.Context, records []ingestion.Record) error {
	type row struct {
		id  string
		raw bson.Raw
	}
	rows := make([]row, len(records))
	for i := range records {
		doc := newIngestionDocument(&records[i])
		raw, err := bson.Marshal(doc)
		if err != nil {
			return err
		}
		if len(raw) > persistence.MaxRowBytes {
			return persistence.TooLarge("mongodb put_ingestions", "ingestion record", records[i].ID, len(raw))
		}
		rows[i] = row{doc.ID, raw}
	}
	for _, piece := range pieces(rows, s.records.server.limits(), func(r row) string { return r.id }, func(r row) int { return len(r.raw) }) {
		raws := mapList(piece, func(r row) bson.Raw { return r.raw })
		err := s.records.server.retry(ctx, func(ctx context.Context) error { return s.records.insertRows(ctx, raws) })
		if err == nil {
			continue
		}
		_, failed, err := s.records.classifyErrors(ctx, func(i int) string { return piece[i].id }, err)
		if err != nil {
			return err
		}
		if len(failed) > 0 {
			code, first := bulkCode(mongo.BulkWriteException{WriteErrors: failed}), failed[0]
			cause := refusedRow(s.records.name(), "ingestion record", piece[first.Index].id, first.WriteError)
			return event.Errorf(code, "mongodb put_ingestions", "%d records are not stored, such as: %w", len(failed), cause.Err)
		}
	}
	return nil
}

// trim deletes the surplus of a kind, see [persistence.IngestionLimit.Surplus]. When it
// runs out of time, what is deleted by then stays deleted, and the next records of the
// kind continue.
func (s *Ingestions) trim(ctx context.Context, kind persistence.IngestionKind) error {
	which := bson.D{{Key: "courier", Value: kind.Courier}, {Key: "single", Value: kind.Single}}
	type document struct {
		ID      string `bson:"_id"`
		Address string `bson:"address"`
		Code    string `bson:"errorCode"`
		Reason  string `bson:"reason"`
	}
	choice := s.limit.Candidates()
	found, err := find[document](ctx, s.records, which, options.Find().SetSort(newestFirst).SetLimit(int64(choice)+1).
		SetProjection(bson.D{{Key: "_id", Value: 1}, {Key: "address", Value: 1}, {Key: "errorCode", Value: 1}, {Key: "reason", Value: 1}}), choice+1)
	if err != nil {
		return err
	}
	if len(found) > choice {
		if err := s.deleteUpTo(ctx, which, found[choice].ID); err != nil {
			return err
		}
		found = found[:choice]
	}
	ids := s.limit.Surplus(mapList(found, func(d document) persistence.IngestionOrigin {
		return persistence.IngestionOrigin{ID: d.ID, Address: d.Address, Refusal: d.Code + " " + d.Reason}
	}))
	return s.records.deleteRows(ctx, ids)
}

// deleteUpTo deletes the records of a kind up to an id, the oldest first.
func (s *Ingestions) deleteUpTo(ctx context.Context, kind bson.D, id string) error {
	older := append(slices.Clone(kind), bson.E{Key: "_id", Value: bson.D{{Key: "$lte", Value: id}}})
	oldestFirst := bson.D{{Key: "_id", Value: 1}}
	for {
		ids, err := s.records.idsWhere(ctx, older, options.Find().SetSort(oldestFirst))
		if err != nil || len(ids) == 0 {
			return err
		}
		if err := s.records.deleteRows(ctx, ids); err != nil {
			return err
		}
		if len(ids) < maxDeletes {
			return nil
		}
	}
}

// newestFirst is the order of ingestion records.
var newestFirst = bson.D{{Key: "_id", Value: -1}}

// Ingestions implements [persistence.Ingestions].
func (s *Ingestions) Ingestions(ctx context.Context, f ingestion.Filter) ([]ingestion.Record, error) {
	page := persistence.PageSize(f.Limit)
	return list(ctx, s.records, query{
		op: "ingestions", filter: ingestionFilter(f), order: newestFirst, most: page, page: page,
	}, (*ingestionDocument).record)
}

// ingestionFilter is the filter f.
func ingestionFilter(f ingestion.Filter) bson.D {
	filter := bson.D{}
	condition := func(set bool, name string, value any) {
		if set {
			filter = append(filter, bson.E{Key: name, Value: value})
		}
	}
	condition(f.Courier != "", "courier", persistence.CleanText(f.Courier))
	condition(f.Code != "", "errorCode", persistence.CleanText(string(f.Code)))
	outcomes := mapList(f.Outcomes, func(o ingestion.Outcome) string { return persistence.CleanText(string(o)) })
	condition(len(outcomes) > 0, "outcome", bson.D{{Key: "$in", Value: outcomes}})
	condition(f.Open, "single", true)
	condition(f.Open, "acceptedAt", bson.D{{Key: "$exists", Value: false}})
	condition(f.After != "", "_id", bson.D{{Key: "$lt", Value: persistence.CleanText(f.After)}})
	return filter
}

// Ingestion implements [persistence.Ingestions].
func (s *Ingestions) Ingestion(ctx context.Context, id string) (r ingestion.Record, err error) {
	err = s.records.server.do(ctx, "ingestion", func(ctx context.Context) error {
		r, err = s.findIngestion(ctx, "mongodb ingestion", id)
		return err
	})
	return r, err
}

func (s *Ingestions) findIngestion(ctx context.Context, op, id string) (r ingestion.Record, err error) {
	doc, err := findByID[ingestionDocument](ctx, s.records, id)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return r, persistence.NoIngestion(op, id)
	}
	if err != nil {
		return r, err
	}
	return row(&doc, (*ingestionDocument).record)
}

// AcceptIngestion implements [persistence.Ingestions]. A record that can't be found
// unaccepted has been accepted, or does not exist.
func (s *Ingestions) AcceptIngestion(ctx context.Context, id, key, keyID string, at time.Time) (r ingestion.Record, err error) {
	const op = "mongodb accept_ingestion"
	if err := persistence.CheckAccepted(op, at); err != nil {
		return r, err
	}
	set := bson.D{{Key: "acceptedAt", Value: dateOf(at)}, {Key: "acceptedAtNanos", Value: nanosOf(at)}}
	for name, value := range map[string]string{"acceptedKey": key, "acceptedBy": keyID} {
		if value != "" {
			set = append(set, bson.E{Key: name, Value: persistence.CleanText(value)})
		}
	}
	unaccepted := bson.D{{Key: "_id", Value: persistence.CleanText(id)}, {Key: "acceptedAt", Value: bson.D{{Key: "$exists", Value: false}}}}
	err = s.records.server.do(ctx, "accept_ingestion", func(ctx context.Context) error {
		doc, err := findAndUpdate[ingestionDocument](ctx, s.records, unaccepted, bson.D{{Key: "$set", Value: set}})
		switch {
		case errors.Is(err, mongo.ErrNoDocuments):
			r, err = s.findIngestion(ctx, op, id)
		case err == nil:
			r, err = row(&doc, (*ingestionDocument).record)
		}
		return err
	})
	return r, err
}
