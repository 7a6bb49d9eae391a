package persistence

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// mongoIndex is an index that the store needs.
type mongoIndex struct {
	name    string
	key     bson.D
	expires bool          // it is a TTL index,
	ttl     time.Duration // whose rows live so long; 0 for no such index
}

// unwanted reports whether there should be no such index.
func (w mongoIndex) unwanted() bool { return w.expires && w.ttl == 0 }

func ascending(fields ...string) bson.D { return keys(1, fields) }

func descending(fields ...string) bson.D { return keys(-1, fields) }

func keys(order int32, fields []string) (key bson.D) {
	for _, f := range fields {
		key = append(key, bson.E{Key: f, Value: order})
	}
	return key
}

func expiryIndex(ttl time.Duration) mongoIndex {
	return mongoIndex{name: "expiry", key: ascending("expiresFrom"), expires: true, ttl: ttl}
}

// ensureIndexes makes the indexes that are missing for the rows that this process
// writes. An index of ours that has another retention is changed to the configured
// one, if that is longer or may be shorter; any other difference is an error that
// says what to do, and nothing is changed.
func (m *Mongo) ensureIndexes(ctx context.Context) error {
	keep := m.config.Retention
	for _, c := range []struct {
		of     MongoRows
		in     *mongo.Collection
		wanted []mongoIndex
	}{
		{MongoEvents, m.records, []mongoIndex{
			{name: "by_key", key: ascending("idempotencyKey")},
			{name: "by_status", key: ascending("status")},
			expiryIndex(keep.LedgerTTL),
		}},
		{MongoEvents, m.shipments, []mongoIndex{
			{name: "by_id", key: ascending("shipmentId")},
			expiryIndex(keep.ShipmentTTL),
		}},
		{MongoEvents, m.letters, []mongoIndex{
			{name: "by_time", key: descending("deadAt", "_id")},
			{name: "by_review", key: append(ascending("reviewStatus"), descending("deadAt", "_id")...)},
			{name: "by_courier", key: append(ascending("courier"), descending("deadAt", "_id")...)},
			{name: "by_key", key: ascending("idempotencyKey")},
			{name: "by_sequence", key: ascending("sequence")},
			expiryIndex(keep.DeadLetterTTL),
		}},
		{MongoIngestions, m.ingestions, []mongoIndex{
			{name: "by_courier", key: append(ascending("courier"), descending("_id", "single")...)},
			{name: "by_outcome", key: append(ascending("outcome"), descending("_id")...)},
			{name: "by_code", key: append(ascending("errorCode"), descending("_id")...)},
			expiryIndex(keep.IngestionTTL),
		}},
	} {
		if m.config.Writes&c.of == 0 {
			continue
		}
		if err := m.ensure(ctx, c.in, c.wanted); err != nil {
			return fmt.Errorf("indexes of %s.%s: %w", m.config.Database, c.in.Name(), err)
		}
	}
	return nil
}

// ensure brings the indexes of one collection to what is wanted.
func (m *Mongo) ensure(ctx context.Context, in *mongo.Collection, wanted []mongoIndex) error {
	existing, err := m.listIndexes(ctx, in)
	if err != nil {
		return err
	}
	var missing []mongo.IndexModel
	inUse := false // made before, if without an expiry then for rows that stay for ever
	for _, w := range wanted {
		found, err := w.among(existing)
		switch {
		case err != nil && !w.unwanted():
			return err
		case found != nil && w.expires && found.ttl() != w.ttl:
			if err := m.retain(ctx, in, found, w); err != nil {
				return err
			}
		case found == nil && !w.unwanted():
			if !w.expires || !inUse || m.mayShorten(in, 0, w.ttl) {
				missing = append(missing, w.model())
			}
		}
		inUse = inUse || found != nil
	}
	if len(missing) == 0 {
		return nil
	}
	m.config.Log.Info("making indexes, which takes its time when there are many rows", "collection", in.Name(), "indexes", len(missing))
	m.hinder(fmt.Errorf("%d indexes of %s are being made, nothing is processed until they are", len(missing), in.Name()))
	ctx, cancel := context.WithTimeout(ctx, indexTimeout)
	defer cancel()
	_, err = in.Indexes().CreateMany(ctx, missing)
	return err
}

// indexTimeout bounds the making of a collection's indexes, which takes its time
// when there are many rows already.
const indexTimeout = time.Hour

// existingIndex is an index as the server lists it.
type existingIndex struct {
	Name    string         `bson:"name"`
	Key     bson.D         `bson:"key"`
	Expires *float64       `bson:"expireAfterSeconds"`
	Options map[string]any `bson:",inline"`
}

func (x existingIndex) ttl() time.Duration {
	if x.Expires == nil {
		return 0
	}
	return time.Duration(math.Round(*x.Expires)) * time.Second
}

func (m *Mongo) listIndexes(ctx context.Context, in *mongo.Collection) (list []existingIndex, err error) {
	ctx, cancel := m.trip(ctx)
	defer cancel()
	cursor, err := in.Indexes().List(ctx)
	if err != nil {
		return nil, err
	}
	return list, cursor.All(ctx, &list)
}

// among returns the existing index that serves as w, nil when there is none, and
// an error when one is in its place.
func (w mongoIndex) among(existing []existingIndex) (*existingIndex, error) {
	for i := range existing {
		x := &existing[i]
		sameKey := keyText(x.Key) == keyText(w.key)
		if !sameKey && x.Name != w.name {
			continue
		}
		odd := oddOptions(*x)
		if sameKey && odd == "" && w.expires == (x.Expires != nil) {
			return x, nil
		}
		return nil, fmt.Errorf("index %q on %s%s is in the place of one on %s that the appliance needs: drop it (dropIndex), or name another database",
			x.Name, keyText(x.Key), odd, keyText(w.key))
	}
	return nil, nil
}

// keyText writes a key down, with its orders as whole numbers.
func keyText(key bson.D) string {
	var parts []string
	for _, e := range key {
		switch v := e.Value.(type) {
		case float64:
			parts = append(parts, fmt.Sprintf("%s: %d", e.Key, int64(v)))
		default:
			parts = append(parts, fmt.Sprintf("%s: %v", e.Key, v))
		}
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// oddOptions names the options of an index that keep it from serving every row.
func oddOptions(x existingIndex) string {
	odd := ""
	for _, name := range []string{"unique", "sparse", "partialFilterExpression", "collation", "hidden"} {
		if v, ok := x.Options[name]; ok && v != false {
			odd += " with " + name
		}
	}
	return odd
}

func (w mongoIndex) model() mongo.IndexModel {
	how := options.Index().SetName(w.name)
	if w.expires {
		how.SetExpireAfterSeconds(int32(w.ttl / time.Second))
	}
	return mongo.IndexModel{Keys: w.key, Options: how}
}

// mayShorten reports whether rows that are kept for so long, 0 for ever, may be kept
// for as short as ttl, and tells of it where they may not. Which one is meant can't be
// known from here: the new one, or the one that another service has set.
func (m *Mongo) mayShorten(in *mongo.Collection, kept, ttl time.Duration) bool {
	if !m.config.ShortenTTL {
		m.config.Log.Warn("the database keeps rows longer than configured and goes on to, because a shorter retention deletes them; it has to be allowed (persistence.mongo_shorten_ttl)",
			"collection", in.Name(), "kept", forEver(kept), "configured", forEver(ttl))
	}
	return m.config.ShortenTTL
}

// forEver words a retention.
func forEver(ttl time.Duration) string {
	if ttl == 0 {
		return "for ever"
	}
	return ttl.String()
}

// retain changes how long rows are kept, for ever when the index is unwanted, unless
// that is shorter and may not be.
func (m *Mongo) retain(ctx context.Context, in *mongo.Collection, index *existingIndex, w mongoIndex) error {
	if !w.unwanted() && w.ttl < index.ttl() && !m.mayShorten(in, index.ttl(), w.ttl) {
		return nil
	}
	ctx, cancel := m.trip(ctx)
	defer cancel()
	m.config.Log.Warn("retention changes with the configuration",
		"collection", in.Name(), "kept", forEver(index.ttl()), "configured", forEver(w.ttl))
	if w.unwanted() {
		return in.Indexes().DropOne(ctx, index.Name)
	}
	err := in.Database().RunCommand(ctx, bson.D{
		{Key: "collMod", Value: in.Name()},
		{Key: "index", Value: bson.D{{Key: "name", Value: index.Name}, {Key: "expireAfterSeconds", Value: int64(w.ttl / time.Second)}}},
	}).Err()
	if err != nil {
		return fmt.Errorf("change the retention of index %q to %s, which takes the role dbAdmin: %w", index.Name, w.ttl, err)
	}
	return nil
}
