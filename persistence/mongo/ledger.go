package mongo

import (
	"context"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ingest/event/loss"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/persistence"
)

// find returns the documents that pass a filter. The expected number makes them
// come in one answer, as far as they fit into one (16 MB).
func find[D any](ctx context.Context, m *Store, in *mongo.Collection, filter bson.D, how *options.FindOptionsBuilder, expected int) (found []D, err error) {
	err = m.retried(ctx, func(ctx context.Context) error {
		found, err = findOnce[D](ctx, in, filter, how, expected)
		return err
	})
	return found, err
}

func findOnce[D any](ctx context.Context, in *mongo.Collection, filter bson.D, how *options.FindOptionsBuilder, expected int) (found []D, err error) {
	// One more than expected, or the server keeps a cursor for what may follow.
	cursor, err := in.Find(ctx, filter, how.SetBatchSize(int32(expected+1)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = cursor.Close(ctx) }() // what was found is found
	for cursor.Next(ctx) {
		var d D
		if err := cursor.Decode(&d); err != nil {
			return nil, unreadable(cursor.Current, err)
		}
		found = append(found, d)
	}
	return found, cursor.Err()
}

// decode fills document from the one that was asked for.
func decode(result *mongo.SingleResult, document any) error {
	raw, err := result.Raw()
	if err != nil {
		return err
	}
	if err := result.Decode(document); err != nil {
		return unreadable(raw, err)
	}
	return nil
}

// unreadable is the error of a document that somebody else has written to. The
// store works, so it is not down: whoever needs this document is in trouble, and
// nobody else.
func unreadable(raw bson.Raw, err error) *event.Error {
	return event.Errorf(event.Internal, "mongodb", "document %s holds what the appliance does not write: %w", raw.Lookup("_id"), err)
}

// rows makes rows of documents.
func rows[D, R any](documents []D, convert func(*D, *times) R) ([]R, error) {
	list := make([]R, len(documents))
	for i := range documents {
		var t times
		if list[i] = convert(&documents[i], &t); t.err != nil {
			return nil, event.Errorf(event.Internal, "mongodb", "document %q holds what the appliance does not write: %w", t.document, t.err)
		}
	}
	return list, nil
}

// Records implements [persistence.Store].
func (m *Store) Records(ctx context.Context, ids []event.Identity) (found []event.Record, err error) {
	names := mapList(ids, func(id event.Identity) string { return persistence.CleanText(id.String()) })
	err = m.do(ctx, "records", func(ctx context.Context) error {
		if len(names) == 0 {
			return nil
		}
		docs, err := find[recordDocument](ctx, m, m.records, oneOf(names), options.Find(), len(names))
		if err != nil {
			return err
		}
		found, err = rows(docs, (*recordDocument).record)
		return err
	})
	return found, err
}

// Shipments implements [persistence.Store].
func (m *Store) Shipments(ctx context.Context, refs []shipment.Ref) (found []shipment.Shipment, err error) {
	names := mapList(refs, func(ref shipment.Ref) string { return persistence.CleanText(ref.String()) })
	err = m.do(ctx, "shipments", func(ctx context.Context) error {
		if len(names) == 0 {
			return nil
		}
		docs, err := find[shipmentDocument](ctx, m, m.shipments, oneOf(names), options.Find(), len(names))
		if err != nil {
			return err
		}
		found, err = rows(docs, (*shipmentDocument).shipment)
		return err
	})
	return found, err
}

// oneOf is the filter for documents with one of these ids.
func oneOf(ids []string) bson.D {
	return bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}
}

// byCourier is a listing in the order of couriers, of which there are few.
func byCourier() *options.FindOptionsBuilder {
	return options.Find().SetSort(bson.D{{Key: "courier", Value: 1}})
}

// RecordsByKey implements [persistence.Store].
func (m *Store) RecordsByKey(ctx context.Context, key string) (found []event.Record, err error) {
	err = m.do(ctx, "records_by_key", func(ctx context.Context) error {
		docs, err := find[recordDocument](ctx, m, m.records, bson.D{{Key: "idempotencyKey", Value: persistence.CleanText(key)}}, byCourier(), persistence.DefaultPage)
		if err != nil {
			return err
		}
		found, err = rows(docs, (*recordDocument).record)
		return err
	})
	return found, err
}

// ShipmentsByID implements [persistence.Store].
func (m *Store) ShipmentsByID(ctx context.Context, id string) (found []shipment.Shipment, err error) {
	err = m.do(ctx, "shipments_by_id", func(ctx context.Context) error {
		docs, err := find[shipmentDocument](ctx, m, m.shipments, bson.D{{Key: "shipmentId", Value: persistence.CleanText(id)}}, byCourier(), persistence.DefaultPage)
		if err != nil {
			return err
		}
		found, err = rows(docs, (*shipmentDocument).shipment)
		return err
	})
	return found, err
}

// countLimit bounds how many index entries one figure of Counts is worth. A
// status that has more rows counts as that many.
const countLimit = 1_000_000

// Counts implements [persistence.Store]. How many documents there are the server knows.
// Those of a status are counted in an index, up to countLimit; of the events the
// processed ones, nearly all of them, are what the others leave.
func (m *Store) Counts(ctx context.Context) (event.StoreCounts, error) {
	counts := persistence.EmptyCounts()
	err := m.do(ctx, "counts", func(ctx context.Context) (err error) {
		if counts.Shipments, err = m.estimate(ctx, m.shipments); err != nil {
			return err
		}
		left, err := m.estimate(ctx, m.records)
		if err != nil {
			return err
		}
		for _, status := range []event.Status{event.Received, event.Processing, event.Failed, event.DeadLettered} {
			n, err := m.count(ctx, m.records, "status", string(status))
			if err != nil {
				return err
			}
			counts.Records[status] = n
			left -= n
		}
		counts.Records[event.Processed] = max(left, 0)
		for _, status := range event.ReviewStatuses {
			if counts.DeadLetters[status], err = m.count(ctx, m.letters, "reviewStatus", string(status)); err != nil {
				return err
			}
		}
		for _, outcome := range ingestion.Outcomes {
			if counts.Ingestions[string(outcome)], err = m.count(ctx, m.ingestions, "outcome", string(outcome)); err != nil {
				return err
			}
		}
		return nil
	})
	return counts, err
}

func (m *Store) estimate(ctx context.Context, in *mongo.Collection) (n int64, err error) {
	err = m.retried(ctx, func(ctx context.Context) error {
		n, err = in.EstimatedDocumentCount(ctx)
		return err
	})
	return n, err
}

func (m *Store) count(ctx context.Context, in *mongo.Collection, field, value string) (int64, error) {
	// CountDocuments would aggregate, which is slower than the server's count.
	var answer struct {
		N int64 `bson:"n"`
	}
	err := m.retried(ctx, func(ctx context.Context) error {
		return in.Database().RunCommand(ctx, bson.D{
			{Key: "count", Value: in.Name()}, {Key: "query", Value: bson.D{{Key: field, Value: value}}}, {Key: "limit", Value: countLimit},
		}).Decode(&answer)
	})
	return answer.N, err
}

// EndedSequences implements [persistence.Store], by the index that makes rows expire.
func (m *Store) EndedSequences(ctx context.Context, missing loss.Missing) (ended []uint64, err error) {
	type position struct {
		Sequence int64 `bson:"sequence"`
	}
	filter := bson.D{
		{Key: "expiresFrom", Value: bson.D{{Key: "$gte", Value: bson.NewDateTimeFromTime(missing.EndedAfter.Truncate(time.Millisecond))}}},
		{Key: "sequence", Value: bson.D{{Key: "$gte", Value: int64(missing.Sequence.First)}, {Key: "$lte", Value: int64(missing.Sequence.Last)}}},
	}
	if !missing.ReceivedBefore.IsZero() {
		filter = append(filter, bson.E{Key: "receivedAt", Value: bson.D{{Key: "$lte", Value: persistence.TimeText(missing.ReceivedBefore)}}})
	}
	err = m.do(ctx, "ended_sequences", func(ctx context.Context) error {
		found, err := find[position](ctx, m, m.records, filter,
			options.Find().SetProjection(bson.D{{Key: "_id", Value: 0}, {Key: "sequence", Value: 1}}), int(missing.Sequence.Count()))
		ended = mapList(found, func(p position) uint64 { return uint64(p.Sequence) })
		return err
	})
	return ended, err
}
