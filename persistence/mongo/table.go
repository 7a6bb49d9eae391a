package mongo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/persistence"
)

// table is one collection of documents.
type table struct {
	rows   *mongo.Collection
	server *server
}

// name returns the collection's.
func (t *table) name() string { return t.rows.Name() }

// insertRows inserts rows in one command, unordered.
func (t *table) insertRows(ctx context.Context, rows []bson.Raw) error {
	ctx, cancel := t.server.withTimeout(ctx)
	defer cancel()
	_, err := t.rows.InsertMany(ctx, rows, options.InsertMany().SetOrdered(false))
	return err
}

// maxDeletes is how many rows one command deletes, by their ids.
const maxDeletes = 10_000

// deleteRows deletes the rows with these ids that also pass more, in order of id.
func (t *table) deleteRows(ctx context.Context, ids []string, more ...bson.E) error {
	for part := range slices.Chunk(slices.Sorted(slices.Values(ids)), maxDeletes) {
		err := t.server.retry(ctx, func(ctx context.Context) error {
			gone, err := t.rows.DeleteMany(ctx, idsOf(part, more...))
			if gone != nil {
				t.server.metrics.Swept(t.name(), gone.DeletedCount)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// classifyErrors splits the error of a bulk insert, in which row i has id(i). It returns
// the rows that existed already, and the errors of the others; or the error of the whole,
// which says nothing about rows. A duplicate key means that the row exists only in the
// index of _id. Where the server does not name the index, the row is looked up.
func (t *table) classifyErrors(ctx context.Context, id func(int) string, err error) (present []int, failed []mongo.BulkWriteError, whole error) {
	bulk, ok := errors.AsType[mongo.BulkWriteException](err)
	if !ok || bulk.WriteConcernError != nil {
		return nil, nil, err
	}
	var unnamed []mongo.BulkWriteError
	for _, e := range bulk.WriteErrors {
		if e.Code != duplicateKey {
			failed = append(failed, e)
			continue
		}
		switch kind, _ := duplicateOf(e.WriteError); kind {
		case duplicateID:
			present = append(present, e.Index)
		case duplicateUnnamed:
			unnamed = append(unnamed, e)
		default:
			failed = append(failed, e)
		}
	}
	if len(unnamed) == 0 {
		return present, failed, nil
	}
	ids := mapList(unnamed, func(e mongo.BulkWriteError) string { return id(e.Index) })
	there, err := t.existing(ctx, ids)
	if err != nil {
		return nil, nil, fmt.Errorf("look which rows were there already: %w", err)
	}
	for _, e := range unnamed {
		if there[id(e.Index)] {
			present = append(present, e.Index)
		} else {
			failed = append(failed, e)
		}
	}
	return present, failed, nil
}

// existing returns which of the ids have a row that also passes more.
func (t *table) existing(ctx context.Context, ids []string, more ...bson.E) (map[string]bool, error) {
	type key struct {
		ID string `bson:"_id"`
	}
	found, err := find[key](ctx, t, idsOf(ids, more...), options.Find().SetProjection(bson.D{{Key: "_id", Value: 1}}), len(ids))
	there := make(map[string]bool, len(found))
	for _, k := range found {
		there[k.ID] = true
	}
	return there, err
}

// idsWhere returns the ids of rows that pass a filter, no more than one command deletes.
func (t *table) idsWhere(ctx context.Context, filter bson.D, how *options.FindOptionsBuilder) ([]string, error) {
	type key struct {
		ID string `bson:"_id"`
	}
	found, err := find[key](ctx, t, filter, how.SetProjection(bson.D{{Key: "_id", Value: 1}}).SetLimit(maxDeletes), maxDeletes)
	return mapList(found, func(k key) string { return k.ID }), err
}

// oneOf is the filter for documents with one of these ids.
func oneOf(ids []string) bson.D {
	return bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}
}

// idsOf is the filter for the rows with these ids that also pass more.
func idsOf(ids []string, more ...bson.E) bson.D {
	return append(oneOf(ids), more...)
}

func (t *table) estimate(ctx context.Context) (n int64, err error) {
	err = t.server.retry(ctx, func(ctx context.Context) error {
		n, err = t.rows.EstimatedDocumentCount(ctx)
		return err
	})
	return n, err
}

// count counts the rows that pass a condition, up to a limit.
func (t *table) count(ctx context.Context, which bson.E, limit int) (int64, error) {
	// CountDocuments would aggregate, which is slower than the server's count.
	var answer struct {
		N int64 `bson:"n"`
	}
	err := t.server.retry(ctx, func(ctx context.Context) error {
		return t.rows.Database().RunCommand(ctx, bson.D{
			{Key: "count", Value: t.name()}, {Key: "query", Value: bson.D{which}}, {Key: "limit", Value: limit},
		}).Decode(&answer)
	})
	return answer.N, err
}

// find returns the documents that pass a filter. The expected number makes them
// come in one answer, as far as they fit into one (16 MB).
func find[D any](ctx context.Context, t *table, filter bson.D, how *options.FindOptionsBuilder, expected int) (found []D, err error) {
	err = t.server.retry(ctx, func(ctx context.Context) error {
		found, err = findOnce[D](ctx, t, filter, how, expected)
		return err
	})
	return found, err
}

func findOnce[D any](ctx context.Context, t *table, filter bson.D, how *options.FindOptionsBuilder, expected int) (found []D, err error) {
	// One more than expected, or the server keeps a cursor for what may follow.
	cursor, err := t.rows.Find(ctx, filter, how.SetBatchSize(int32(expected+1)))
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

// unreadable is the error of a document that another program has written to. The store is
// not down: only what needs this document fails.
func unreadable(raw bson.Raw, err error) *event.Error {
	return event.Errorf(event.Internal, "mongodb", "document %s holds what the appliance does not write: %w", raw.Lookup("_id"), err)
}

// query selects documents.
type query struct {
	op     string // for metrics and errors
	filter bson.D
	order  bson.D // nil for any
	most   int    // documents that are expected; for 0 there is no round trip
	page   int    // documents at most, 0 for all
}

// list returns the rows of the documents that a query selects.
func list[D, R any](ctx context.Context, t *table, q query, convert func(*D, *times) R) (found []R, err error) {
	err = t.server.do(ctx, q.op, func(ctx context.Context) error {
		if q.most == 0 {
			return nil
		}
		how := options.Find()
		if q.order != nil {
			how.SetSort(q.order)
		}
		if q.page > 0 {
			how.SetLimit(int64(q.page))
		}
		docs, err := find[D](ctx, t, q.filter, how, q.most)
		if err != nil {
			return err
		}
		found, err = rows(docs, convert)
		return err
	})
	return found, err
}

// rows makes rows of documents.
func rows[D, R any](documents []D, convert func(*D, *times) R) ([]R, error) {
	list := make([]R, len(documents))
	for i := range documents {
		r, err := row(&documents[i], convert)
		if err != nil {
			return nil, err
		}
		list[i] = r
	}
	return list, nil
}

// row makes a row of a document.
func row[D, R any](document *D, convert func(*D, *times) R) (R, error) {
	var t times
	r := convert(document, &t)
	if t.err != nil {
		var none R
		return none, event.Errorf(event.Internal, "mongodb", "document %q holds what the appliance does not write: %w", t.document, t.err)
	}
	return r, nil
}

// readOne returns the document that ask asks for, or [mongo.ErrNoDocuments].
func readOne[D any](ctx context.Context, t *table, ask func(context.Context) *mongo.SingleResult) (doc D, err error) {
	err = t.server.retry(ctx, func(ctx context.Context) error { return decode(ask(ctx), &doc) })
	return doc, err
}

// findByID returns the document of an id, or [mongo.ErrNoDocuments].
func findByID[D any](ctx context.Context, t *table, id string) (D, error) {
	return readOne[D](ctx, t, func(ctx context.Context) *mongo.SingleResult {
		return t.rows.FindOne(ctx, bson.D{{Key: "_id", Value: persistence.CleanText(id)}})
	})
}

// findAndUpdate updates the document that a filter selects and returns it as it then is, or
// [mongo.ErrNoDocuments].
func findAndUpdate[D any](ctx context.Context, t *table, filter, update bson.D) (D, error) {
	return readOne[D](ctx, t, func(ctx context.Context) *mongo.SingleResult {
		return t.rows.FindOneAndUpdate(ctx, filter, update, options.FindOneAndUpdate().SetReturnDocument(options.After))
	})
}
