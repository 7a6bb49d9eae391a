package mongo

import (
	"context"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// convertRefusals are the numbers by which a server refuses to make a TTL index of one
// that has none: BadValue, FailedToParse, Unauthorized (it takes the role dbAdmin),
// CommandNotFound, InvalidOptions of MongoDB before 5.1, CommandNotSupported,
// NotImplemented, 303 of Amazon DocumentDB, IDLUnknownField.
var convertRefusals = []int{2, 9, 13, noSuchCommand, 72, 115, 238, 303, 40415}

// convert makes a TTL index of an operator's own index on the same key, which MongoDB
// can since 5.1; where the server refuses it, the rows are swept.
func (x *indexes) convert(ctx context.Context, in *table, index *existingIndex, w index) error {
	err := in.setTTL(ctx, index.Name, w.ttl)
	switch {
	case err == nil:
		x.advice.resolve(in, w)
		x.log.Warn("an index that the appliance had not made expires rows from now on",
			"collection", in.name(), "index", index.Name, "ttl", w.ttl)
		return nil
	case serverFailed(err, convertRefusals...):
		x.advice.sweepInstead(in, w, fmt.Errorf("index %q can't be made a TTL index: %w", index.Name, err))
		return nil
	default:
		return err
	}
}

// setTTL gives an index a TTL.
func (t *table) setTTL(ctx context.Context, index string, ttl time.Duration) error {
	ctx, cancel := t.server.trip(ctx)
	defer cancel()
	return t.rows.Database().RunCommand(ctx, bson.D{
		{Key: "collMod", Value: t.name()},
		{Key: "index", Value: bson.D{{Key: "name", Value: index}, {Key: "expireAfterSeconds", Value: int64(ttl / time.Second)}}},
	}).Err()
}
