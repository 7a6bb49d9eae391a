package mongo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/fincart/courier-gateway/persistence"
)

// Rows expire by a TTL index. Where a server refuses that, because an operator's own
// index is in its place, the store deletes them itself, says so, and tries at each
// sweep whether the TTL index can be had by now.

// sweep is a collection whose rows the store deletes itself.
type sweep struct {
	in  *mongo.Collection
	ttl time.Duration
}

// Sweep implements [persistence.Store]. It deletes only where no TTL index does.
func (m *Store) Sweep(ctx context.Context, now time.Time) (persistence.Swept, error) {
	var swept persistence.Swept
	if len(m.swept()) == 0 {
		return swept, nil
	}
	err := m.do(ctx, "sweep", func(ctx context.Context) error {
		for _, s := range m.swept() {
			n, err := m.expire(ctx, s, now)
			switch s.in {
			case m.records:
				swept.Records += n
			case m.letters:
				swept.DeadLetters += n
			case m.ingestions:
				swept.Ingestions += n
			}
			if err != nil {
				return err
			}
		}
		return m.ensureIndexes(ctx)
	})
	return swept, err
}

// expire deletes the rows of a collection whose time is up, and counts them.
func (m *Store) expire(ctx context.Context, s sweep, now time.Time) (n int64, err error) {
	due := bson.E{Key: "expiresFrom", Value: bson.D{{Key: "$lte", Value: bson.NewDateTimeFromTime(now.Add(-s.ttl))}}}
	for {
		ids, err := m.idsThat(ctx, s.in, bson.D{due}, options.Find())
		if err != nil || len(ids) == 0 {
			return n, err
		}
		if err := m.deleteRows(ctx, s.in, ids, due); err != nil {
			return n, err
		}
		if n += int64(len(ids)); len(ids) < maxDeletes {
			return n, nil
		}
	}
}

// swept returns the collections whose rows the store deletes itself.
func (m *Store) swept() []sweep {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.sweeps)
}

// sweepInstead has the rows of a collection deleted by the store, for want of the TTL
// index w.
func (m *Store) sweepInstead(in *mongo.Collection, w index, cause error) {
	m.mu.Lock()
	m.sweeps = append(slices.DeleteFunc(m.sweeps, func(s sweep) bool { return s.in == in }), sweep{in, w.ttl})
	m.mu.Unlock()
	m.advise(in, w, fmt.Errorf("rows are not expired by a TTL index but deleted by the appliance, which costs more: drop the index on %s that is in its place (dropIndex): %w",
		keyText(w.key), cause))
}

// advise notes what an operator should do about the index w.
func (m *Store) advise(in *mongo.Collection, w index, advice error) {
	m.mu.Lock()
	m.advice[in.Name()+" "+keyText(w.key)] = "collection " + in.Name() + ": " + advice.Error()
	m.mu.Unlock()
	if m.first(in.Name() + " " + keyText(w.key)) {
		m.config.Log.Warn("an index of the database is not as it should be", "collection", in.Name(), "error", advice)
	}
}

// resolve forgets what was noted about the index w, which is as it should be.
func (m *Store) resolve(in *mongo.Collection, w index) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.advice, in.Name()+" "+keyText(w.key))
	if w.expires {
		m.sweeps = slices.DeleteFunc(m.sweeps, func(s sweep) bool { return s.in == in })
	}
}

// Problems returns what an operator should do about the database, in a fixed order. The
// store works all the same.
func (m *Store) Problems() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Values(m.advice))
}

// first reports whether this is the first warning about something.
func (m *Store) first(about string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	warned := m.warned[about]
	m.warned[about] = true
	return !warned
}

// convertRefusals are the numbers by which a server refuses to make a TTL index of one
// that has none: BadValue, FailedToParse, Unauthorized (it takes the role dbAdmin),
// CommandNotFound, InvalidOptions of MongoDB before 5.1, CommandNotSupported,
// NotImplemented, 303 of Amazon DocumentDB, IDLUnknownField.
var convertRefusals = []int{2, 9, 13, noSuchCommand, 72, 115, 238, 303, 40415}

// convert makes a TTL index of an operator's own index on the same key, which MongoDB
// can since 5.1; where the server refuses it, the rows are swept.
func (m *Store) convert(ctx context.Context, in *mongo.Collection, index *existingIndex, w index) error {
	err := m.setTTL(ctx, in, index.Name, w.ttl)
	switch {
	case err == nil:
		m.resolve(in, w)
		m.config.Log.Warn("an index that the appliance had not made expires rows from now on",
			"collection", in.Name(), "index", index.Name, "ttl", w.ttl)
		return nil
	case serverFailed(err, convertRefusals...):
		m.sweepInstead(in, w, fmt.Errorf("index %q can't be made a TTL index: %w", index.Name, err))
		return nil
	default:
		return err
	}
}

// setTTL gives an index a TTL.
func (m *Store) setTTL(ctx context.Context, in *mongo.Collection, index string, ttl time.Duration) error {
	ctx, cancel := m.trip(ctx)
	defer cancel()
	return in.Database().RunCommand(ctx, bson.D{
		{Key: "collMod", Value: in.Name()},
		{Key: "index", Value: bson.D{{Key: "name", Value: index}, {Key: "expireAfterSeconds", Value: int64(ttl / time.Second)}}},
	}).Err()
}
