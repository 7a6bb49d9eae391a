package mongo

import (
	"context"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/fincart/courier-gateway/persistence"
)

// Rows expire by a TTL index. Where a server refuses one, because an operator's own index
// is in its place, the store deletes the rows itself, reports it as a problem, and tries
// to make the TTL index again at each sweep.

// sweep is a collection whose rows the store deletes itself.
type sweep struct {
	in *table
	by index // the TTL index that there should be
}

// Sweep implements [persistence.Database]. It deletes only where no TTL index does.
func (s *Store) Sweep(ctx context.Context, now time.Time) (persistence.Swept, error) {
	var swept persistence.Swept
	if len(s.indexes.problems.sweeps()) == 0 {
		return swept, nil
	}
	err := s.server.do(ctx, "sweep", func(ctx context.Context) error {
		for _, due := range s.indexes.problems.sweeps() {
			n, err := due.expire(ctx, now)
			switch due.in {
			case s.indexes.records:
				swept.Records += n
			case s.indexes.letters:
				swept.DeadLetters += n
			case s.indexes.ingestions:
				swept.Ingestions += n
			}
			if err != nil {
				return err
			}
		}
		return s.indexes.ensureIndexes(ctx)
	})
	return swept, err
}

// expire deletes the rows of a collection whose time is up, and counts them.
func (s sweep) expire(ctx context.Context, now time.Time) (n int64, err error) {
	due := bson.E{Key: s.by.key[0].Key, Value: bson.D{{Key: "$lte", Value: dateKey(now.Add(-s.by.ttl))}}}
	for {
		ids, err := s.in.idsWhere(ctx, bson.D{due}, options.Find())
		if err != nil || len(ids) == 0 {
			return n, err
		}
		if err := s.in.deleteRows(ctx, ids, due); err != nil {
			return n, err
		}
		if n += int64(len(ids)); len(ids) < maxDeletes {
			return n, nil
		}
	}
}

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
		x.problems.resolve(in, w)
		x.log.Warn("an index that the appliance had not made expires rows from now on",
			"collection", in.name(), "index", index.Name, "ttl", w.ttl)
		return nil
	case serverFailed(err, convertRefusals...):
		x.problems.reportSwept(in, w, fmt.Errorf("index %q can't be made a TTL index: %w", index.Name, err))
		return nil
	default:
		return err
	}
}

// setTTL gives an index a TTL.
func (t *table) setTTL(ctx context.Context, index string, ttl time.Duration) error {
	ctx, cancel := t.server.withTimeout(ctx)
	defer cancel()
	return t.rows.Database().RunCommand(ctx, bson.D{
		{Key: "collMod", Value: t.name()},
		{Key: "index", Value: bson.D{{Key: "name", Value: index}, {Key: "expireAfterSeconds", Value: int64(ttl / time.Second)}}},
	}).Err()
}

// mayShorten reports whether rows that are kept for so long, 0 forever, may be kept for
// as short as ttl, and warns where they may not: it can't be known whether this retention
// is meant, or the one that another service has set.
func (x *indexes) mayShorten(in *table, kept, ttl time.Duration) bool {
	if !x.shortenTTL && x.problems.firstWarning("retention of "+in.name()) {
		x.log.Warn("the database keeps rows longer than configured and continues to, because a shorter retention deletes them; it has to be allowed (persistence.mongo_shorten_ttl)",
			"collection", in.name(), "kept", retentionText(kept), "configured", retentionText(ttl))
	}
	return x.shortenTTL
}

// retentionText returns a retention for the log.
func retentionText(ttl time.Duration) string {
	if ttl == 0 {
		return "forever"
	}
	return ttl.String()
}

// retain changes how long rows are kept, forever when the index is unwanted, unless
// that is shorter and may not be.
func (x *indexes) retain(ctx context.Context, in *table, index *existingIndex, w index) error {
	if !w.unwanted() && w.ttl < index.ttl() && !x.mayShorten(in, index.ttl(), w.ttl) {
		return nil
	}
	ctx, cancel := x.server.withTimeout(ctx)
	defer cancel()
	x.log.Warn("retention changes with the configuration",
		"collection", in.name(), "kept", retentionText(index.ttl()), "configured", retentionText(w.ttl))
	if w.unwanted() {
		return in.rows.Indexes().DropOne(ctx, index.Name)
	}
	if err := in.setTTL(ctx, index.Name, w.ttl); err != nil {
		return fmt.Errorf("change the retention of index %q to %s, which takes the role dbAdmin: %w", index.Name, w.ttl, err)
	}
	return nil
}
