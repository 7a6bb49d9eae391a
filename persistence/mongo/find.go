package mongo

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/persistence"
)

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
