package mongo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
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
