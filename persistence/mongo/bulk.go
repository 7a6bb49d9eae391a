package mongo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/fincart/courier-gateway/persistence"
)

// A bulk write is sent in order of _id, because a server that locks row by row holds
// what it has locked until the command ends: two bulks of the same rows in different
// orders would wait for each other. And it is sent in pieces small enough that the
// driver sends each as one command: a bulk that the driver splits reports the write
// concern of its last command, and a missing majority for an earlier one goes unseen.

// bulkLimits bound what one command may hold.
type bulkLimits struct {
	rows  int // operations
	bytes int // their rows in encoded form, with what a command adds to each
}

// What one command may hold wherever the server allows more. A single row, of at most
// persistence.MaxRowBytes, always fits.
const (
	maxBulkRows  = 100_000
	maxBulkBytes = persistence.MaxRowBytes
)

// What a command adds to a row: the filter with its id and version, and the names and
// lengths of its members; and what it holds beside rows.
const (
	rowOverhead     = 256
	commandOverhead = 16 << 10
)

// serverHello is what a server says of itself in answer to "hello".
type serverHello struct {
	SetName         string `bson:"setName"`             // of its replica set
	Kind            string `bson:"msg"`                 // "isdbgrid" from a router of shards
	MaxBatchRows    int64  `bson:"maxWriteBatchSize"`   // operations in a command
	MaxMessageBytes int64  `bson:"maxMessageSizeBytes"` // of a command
}

// replicated reports whether there may be more than one member, so that writes and
// index builds can wait for a majority.
func (h serverHello) replicated() bool { return h.SetName != "" || h.Kind == "isdbgrid" }

func (h serverHello) limits() bulkLimits {
	l := bulkLimits{rows: maxBulkRows, bytes: maxBulkBytes}
	if h.MaxBatchRows > 0 {
		l.rows = int(min(h.MaxBatchRows, maxBulkRows))
	}
	if room := h.MaxMessageBytes - commandOverhead; room > 0 {
		l.bytes = int(min(room, maxBulkBytes))
	}
	return l
}

// greet asks the server what it is and what it takes.
func (m *Store) greet(ctx context.Context) (h serverHello, err error) {
	err = m.retried(ctx, func(ctx context.Context) error {
		db := m.records.Database()
		err := db.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&h)
		if serverFailed(err, noSuchCommand) {
			err = db.RunCommand(ctx, bson.D{{Key: "isMaster", Value: 1}}).Decode(&h)
		}
		return err
	})
	return h, err
}

// pieces cuts a bulk into runs that fit into a command each, in order of id.
func pieces[R any](rows []R, l bulkLimits, id func(R) string, size func(R) int) (cut [][]R) {
	rows = slices.SortedStableFunc(slices.Values(rows), func(a, b R) int { return cmp.Compare(id(a), id(b)) })
	begin, bytes := 0, 0
	for i, r := range rows {
		n := size(r) + len(id(r)) + rowOverhead
		if i > begin && (i-begin >= l.rows || bytes+n > l.bytes) {
			cut = append(cut, rows[begin:i])
			begin, bytes = i, 0
		}
		bytes += n
	}
	if begin < len(rows) {
		cut = append(cut, rows[begin:])
	}
	return cut
}

// insertRows inserts rows in one command, unordered.
func (m *Store) insertRows(ctx context.Context, in *mongo.Collection, rows []bson.Raw) error {
	ctx, cancel := m.trip(ctx)
	defer cancel()
	_, err := in.InsertMany(ctx, rows, options.InsertMany().SetOrdered(false))
	return err
}

// maxDeletes is how many rows one command deletes, by their ids.
const maxDeletes = 10_000

// deleteRows deletes the rows with these ids that also pass more, in order of id.
func (m *Store) deleteRows(ctx context.Context, in *mongo.Collection, ids []string, more ...bson.E) error {
	for part := range slices.Chunk(slices.Sorted(slices.Values(ids)), maxDeletes) {
		err := m.retried(ctx, func(ctx context.Context) error {
			gone, err := in.DeleteMany(ctx, idsOf(part, more...))
			if gone != nil {
				m.metrics.Swept(in.Name(), gone.DeletedCount)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sortErrors takes a bulk insert's error apart, in which row i has id(i). It returns
// the rows that were there already, and the errors of the others; or the error of the
// whole, about which rows say nothing. Which index a duplicate key belongs to decides:
// only the one of _id says that the row is there. Where the server does not name the
// index, the row is looked up.
func (m *Store) sortErrors(ctx context.Context, in *mongo.Collection, id func(int) string, err error) (present []int, failed []mongo.BulkWriteError, whole error) {
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
	there, err := m.existing(ctx, in, ids)
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
func (m *Store) existing(ctx context.Context, in *mongo.Collection, ids []string, more ...bson.E) (map[string]bool, error) {
	type key struct {
		ID string `bson:"_id"`
	}
	found, err := find[key](ctx, m, in, idsOf(ids, more...), options.Find().SetProjection(bson.D{{Key: "_id", Value: 1}}), len(ids))
	there := make(map[string]bool, len(found))
	for _, k := range found {
		there[k.ID] = true
	}
	return there, err
}

// idsThat returns the ids of rows that pass a filter, no more than one command deletes.
func (m *Store) idsThat(ctx context.Context, in *mongo.Collection, filter bson.D, how *options.FindOptionsBuilder) ([]string, error) {
	type key struct {
		ID string `bson:"_id"`
	}
	found, err := find[key](ctx, m, in, filter, how.SetProjection(bson.D{{Key: "_id", Value: 1}}).SetLimit(maxDeletes), maxDeletes)
	return mapList(found, func(k key) string { return k.ID }), err
}
