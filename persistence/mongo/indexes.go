package mongo

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/fincart/courier-gateway/persistence"
)

// index is an index that the store needs.
type index struct {
	name    string
	key     bson.D
	expires bool          // it is a TTL index,
	ttl     time.Duration // whose rows live so long; 0 for no such index
}

// unwanted reports whether there should be no such index.
func (w index) unwanted() bool { return w.expires && w.ttl == 0 }

func ascending(fields ...string) bson.D { return keys(1, fields) }

func descending(fields ...string) bson.D { return keys(-1, fields) }

func keys(order int32, fields []string) (key bson.D) {
	for _, f := range fields {
		key = append(key, bson.E{Key: f, Value: order})
	}
	return key
}

func expiryIndex(date string, ttl time.Duration) index {
	return index{name: "expiry", key: ascending(date), expires: true, ttl: ttl}
}

// indexes makes the indexes of the collections and sets how long their rows are kept.
type indexes struct {
	server                                  *server
	records, shipments, letters, ingestions *table
	retention                               persistence.Retention
	writes                                  Rows
	shortenTTL                              bool
	problems                                *problems
	log                                     *slog.Logger
}

// wantedIndexes are the indexes of one collection, for the rows of a kind.
type wantedIndexes struct {
	of      Rows
	in      *table
	indexes []index
}

// wanted returns every index that the store needs: each query's filter and order are the
// beginning of one, which TestQueriesAreIndexed checks.
func (x *indexes) wanted() []wantedIndexes {
	keep := x.retention
	records := []index{
		{name: "by_key", key: ascending("idempotencyKey")},
		{name: "by_status", key: ascending("status")},
		expiryIndex("endedAt", keep.LedgerTTL),
	}
	if keep.LedgerTTL == 0 { // EndedSequences needs it all the same
		records = append(records, index{name: "by_end", key: ascending("endedAt")})
	}
	return []wantedIndexes{
		{Events, x.records, records},
		{Events, x.shipments, []index{
			{name: "by_id", key: ascending("shipmentId")},
			expiryIndex("updatedAt", keep.ShipmentTTL),
		}},
		{Events, x.letters, append(letterIndexes(), expiryIndex("deadAt", keep.DeadLetterTTL))},
		{IngestionRecords, x.ingestions, []index{
			{name: "by_courier", key: append(ascending("courier"), descending("_id", "single")...)},
			{name: "by_outcome", key: append(ascending("outcome"), newestFirst...)},
			{name: "by_code", key: append(ascending("errorCode"), newestFirst...)},
			expiryIndex("at", keep.IngestionTTL),
		}},
	}
}

// letterIndexes returns one index for each set of conditions that a listing of dead letters
// may have, because nothing bounds how many letters there are after a long fault: whatever
// is asked for, a page costs the scan of a page. They are written when an event becomes
// a dead letter, which few do.
func letterIndexes() []index {
	newest := func(name string, fields ...string) index {
		return index{name: name, key: append(ascending(fields...), newestLetters...)}
	}
	return []index{
		newest("by_time"),
		newest("by_courier", "courier"), newest("by_code", "errorCode"), newest("by_review", "reviewStatus"),
		newest("by_courier_code", "courier", "errorCode"), newest("by_courier_review", "courier", "reviewStatus"),
		newest("by_code_review", "errorCode", "reviewStatus"), newest("by_courier_code_review", "courier", "errorCode", "reviewStatus"),
		newest("by_key", "idempotencyKey"),
		{name: "by_sequence", key: ascending("sequence")},
	}
}

// ensureIndexes makes the indexes that are missing for the rows that this process
// writes. An index of the appliance with another retention is changed to the configured
// one, if that is longer or may be shorter. Indexes that an operator has made are kept: one
// that fits is used, beside one that does not the appliance makes its own.
func (x *indexes) ensureIndexes(ctx context.Context) error {
	for _, c := range x.wanted() {
		if x.writes&c.of == 0 {
			continue
		}
		if err := x.ensure(ctx, c.in, c.indexes); err != nil {
			return fmt.Errorf("indexes of %s.%s: %w", x.server.db.Name(), c.in.name(), err)
		}
	}
	return nil
}

// ensure brings the indexes of one collection to what is wanted, as far as the server
// lets it: what it refuses is reported as a problem, and rows that no TTL index can
// expire are deleted by [Store.Sweep].
func (x *indexes) ensure(ctx context.Context, in *table, wanted []index) error {
	existing, err := in.listIndexes(ctx)
	if err != nil {
		return err
	}
	x.warnOfUnique(in, existing)
	var missing []index
	inUse := false // made before, if without an expiry then for rows that stay forever
	for _, w := range wanted {
		found := w.servedBy(existing)
		switch {
		case found == nil && w.unwanted():
			x.problems.resolve(in, w)
		case found == nil:
			if !w.expires || !inUse || x.mayShorten(in, 0, w.ttl) {
				w.name = freeName(w.name, existing)
				missing = append(missing, w)
			}
		case w.expires && found.Expires == nil && !w.unwanted():
			if inUse && !x.mayShorten(in, 0, w.ttl) {
				break
			}
			if err := x.convert(ctx, in, found, w); err != nil {
				return err
			}
		case w.expires && found.ttl() != w.ttl:
			if err := x.retain(ctx, in, found, w); err != nil {
				return err
			}
			x.problems.resolve(in, w)
			if name := found.Name; w.unwanted() { // dropped
				existing = slices.DeleteFunc(existing, func(e existingIndex) bool { return e.Name == name })
			}
		default:
			x.problems.resolve(in, w)
		}
		inUse = inUse || found != nil
	}
	return x.makeMissing(ctx, in, missing)
}

// makeMissing makes indexes in one pass over the rows or, if the server refuses one of
// them, one by one.
func (x *indexes) makeMissing(ctx context.Context, in *table, missing []index) error {
	if len(missing) == 0 {
		return nil
	}
	x.log.Info("making indexes, which takes long when there are many rows", "collection", in.name(), "indexes", len(missing))
	x.server.replaceProblem(fmt.Errorf("%d indexes of %s are being made, nothing is processed until they are", len(missing), in.name()))
	err := x.createIndexes(ctx, in, missing)
	together := err == nil
	if !together && !serverFailed(err, indexRefusals...) {
		return err
	}
	for _, w := range missing {
		if !together {
			err = x.createIndexes(ctx, in, []index{w})
		}
		switch {
		case err == nil:
			x.problems.resolve(in, w)
		case !serverFailed(err, indexRefusals...):
			return err
		case w.expires:
			x.problems.reportSwept(in, w, fmt.Errorf("index %q can't be made: %w", w.name, err))
		default:
			x.problems.report(in, w, fmt.Errorf("index %q on %s can't be made, and listings that need it are slow: drop what is in its place (dropIndex) and restart: %w",
				w.name, keyText(w.key), err))
		}
	}
	return nil
}

// indexRefusals are the numbers by which a server refuses an index because of another
// one: CannotCreateIndex, IndexAlreadyExists, IndexOptionsConflict,
// IndexKeySpecsConflict, InvalidIndexSpecificationOption.
var indexRefusals = []int{67, 68, 85, 86, indexesBadName}

// quorumRefusals are those by which one that is no MongoDB, or has no replicas, refuses
// a commit quorum: BadValue, FailedToParse, InvalidOptions, CommandNotSupported,
// NotImplemented, 303 of Amazon DocumentDB, IDLUnknownField.
var quorumRefusals = []int{2, 9, 72, 115, 238, 303, 40415}

// createIndexes makes indexes in one command. On a replica set it waits for a majority
// of the members, as writes do; the server's own default is all of them, so that one
// member that is down would block the first start until it is back.
func (x *indexes) createIndexes(ctx context.Context, in *table, list []index) error {
	ctx, cancel := context.WithTimeout(ctx, indexTimeout)
	defer cancel()
	models := mapList(list, index.model)
	if !x.server.replicated() {
		_, err := in.rows.Indexes().CreateMany(ctx, models)
		return err
	}
	_, err := in.rows.Indexes().CreateMany(ctx, models, options.CreateIndexes().SetCommitQuorumMajority())
	if serverFailed(err, quorumRefusals...) {
		_, err = in.rows.Indexes().CreateMany(ctx, models)
	}
	return err
}

// freeName returns a name that no existing index has.
func freeName(name string, existing []existingIndex) string {
	free := name
	for n := 2; slices.ContainsFunc(existing, func(x existingIndex) bool { return x.Name == free }); n++ {
		free = fmt.Sprintf("%s_%d", name, n)
	}
	return free
}

// warnOfUnique warns of indexes that may refuse rows.
func (x *indexes) warnOfUnique(in *table, existing []existingIndex) {
	for _, e := range existing {
		if e.Options["unique"] == true && e.Name != "_id_" && x.problems.firstWarning(in.name()+"."+e.Name) {
			x.log.Warn("a unique index that is not the appliance's may refuse rows, and events then wait until it is gone",
				"collection", in.name(), "index", e.Name, "key", keyText(e.Key))
		}
	}
}

// indexTimeout bounds the making of a collection's indexes, which takes long when there
// are many rows already.
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

func (t *table) listIndexes(ctx context.Context) (list []existingIndex, err error) {
	ctx, cancel := t.server.withTimeout(ctx)
	defer cancel()
	cursor, err := t.rows.Indexes().List(ctx)
	if err != nil {
		return nil, err
	}
	return list, cursor.All(ctx, &list)
}

// servedBy returns the existing index that serves as w, under whatever name, nil when
// there is none. A TTL index serves as any other does, because the appliance has no
// index on a date alone but for what expires; of an operator's own without a TTL one can be made.
func (w index) servedBy(existing []existingIndex) (found *existingIndex) {
	for i := range existing {
		x := &existing[i]
		if keyText(x.Key) != keyText(w.key) || w.unfit(*x) {
			continue
		}
		if found == nil || found.Expires == nil && x.Expires != nil {
			found = x
		}
	}
	return found
}

// keyText returns a key as text, with its orders as whole numbers.
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

// unfit reports whether an index of the same key has an option that keeps it from
// serving every row. Rows expire by one that is sparse, hidden or has a collation, too.
func (w index) unfit(x existingIndex) bool {
	options := []string{"partialFilterExpression"}
	if !w.expires {
		options = append(options, "unique", "sparse", "collation", "hidden")
	}
	return slices.ContainsFunc(options, func(name string) bool {
		v, ok := x.Options[name]
		return ok && v != false
	})
}

func (w index) model() mongo.IndexModel {
	how := options.Index().SetName(w.name)
	if w.expires {
		how.SetExpireAfterSeconds(int32(w.ttl / time.Second))
	}
	return mongo.IndexModel{Keys: w.key, Options: how}
}
