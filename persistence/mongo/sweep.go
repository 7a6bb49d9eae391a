package mongo

import (
	"context"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/fincart/courier-gateway/persistence"
)

// Rows expire by a TTL index. Where a server refuses that, because an operator's own
// index is in its place, the store deletes them itself, says so, and tries at each
// sweep whether the TTL index can be had by now.

// sweep is a collection whose rows the store deletes itself.
type sweep struct {
	in  *table
	ttl time.Duration
}

// Sweep implements [persistence.Database]. It deletes only where no TTL index does.
func (s *Store) Sweep(ctx context.Context, now time.Time) (persistence.Swept, error) {
	var swept persistence.Swept
	if len(s.indexes.advice.sweeps()) == 0 {
		return swept, nil
	}
	err := s.server.do(ctx, "sweep", func(ctx context.Context) error {
		for _, due := range s.indexes.advice.sweeps() {
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
	due := bson.E{Key: "expiresFrom", Value: bson.D{{Key: "$lte", Value: bson.NewDateTimeFromTime(now.Add(-s.ttl))}}}
	for {
		ids, err := s.in.idsThat(ctx, bson.D{due}, options.Find())
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
