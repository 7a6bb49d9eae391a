package mongo

import (
	"fmt"
	"slices"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ingest/event/loss"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/persistence"
	"github.com/fincart/courier-gateway/persistence/storetest"
)

// TestQueriesAreIndexed compares what the server is asked for with the indexes that it was
// told to make: filter and order of every command are the beginning of one of them, whatever
// the retention, and there is none that no command needs. What changes documents names their
// _id, by which the collections can be sharded.
func TestQueriesAreIndexed(t *testing.T) {
	t.Parallel()
	for name, keep := range map[string]persistence.Retention{"default": persistence.DefaultRetention(), "forever": {IngestionsPerCourier: 1000}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &scriptedMongo{}
			s.answer = func(name string, c bson.M) bson.M {
				switch {
				case name == "find" && c[name] == "ingestion_records" && c["limit"] == int64(2501): // looks how many there are
					return cursorAnswer(manyRecords(2501)...)
				case name == "find" && fmt.Sprint(c["filter"]) == `{"_id":"x"}`: // a listing continues behind it
					return cursorAnswer(bson.M{"_id": "x", "deadAt": dateKey(storetest.Noon)})
				case name == "update": // loses a row
					return bson.M{"ok": 1, "n": 0, "nModified": 0}
				}
				return nil
			}
			c := testConfig(s.start(t))
			c.Retention = keep
			m := openTest(t, c)
			if err := m.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
			indexes := madeIndexes(s)
			s.forget()
			askEverything(t, m)
			used := map[string]bool{}
			for _, asked := range asked(s) {
				name := asked.servedBy(indexes[asked.in])
				if name == "" {
					t.Errorf("no index serves %s %s sorted by %v", asked.in, asked.filter, asked.order)
				}
				used[asked.in+"."+name] = true
				if asked.writes && !asked.selects("_id") {
					t.Errorf("%s %s is changed on every shard", asked.in, asked.filter)
				}
			}
			for in, list := range indexes {
				for _, x := range list {
					if !used[in+"."+x.name] && !x.expires {
						t.Errorf("the index %s of %s serves no command", x.name, in)
					}
				}
			}
		})
	}
}

// askEverything calls every method that reads or changes documents, listings with every set
// of conditions.
func askEverything(t *testing.T, m *Store) {
	t.Helper()
	ctx := t.Context()
	for _, f := range storetest.LetterFilters() {
		storetest.Must(m.DeadLetters.DeadLetters(ctx, f))
	}
	for _, f := range storetest.IngestionFilters() {
		storetest.Must(m.Ingestions.Ingestions(ctx, f))
	}
	storetest.Must(m.Ledger.Records(ctx, []event.Identity{{Courier: "c", Key: "k"}}))
	storetest.Must(m.Ledger.Shipments(ctx, []shipment.Ref{{Courier: "c", ID: "k"}}))
	storetest.Must(m.Ledger.RecordsByKey(ctx, "k"))
	storetest.Must(m.Ledger.ShipmentsByID(ctx, "k"))
	storetest.Must(m.Ledger.EndedSequences(ctx, loss.Missing{Sequence: loss.Range{First: 1, Last: 2}, EndedAfter: storetest.Noon, ReceivedBefore: storetest.Noon}))
	storetest.Must(m.DeadLetters.DeadSequences(ctx, []uint64{1}))
	storetest.Must(m.Statuses.Unmapped(ctx))
	if err := m.Statuses.ChangeUnmapped(ctx, "c", func(*shipment.Unmapped) {}); event.CodeOf(err) != event.VersionConflict {
		t.Errorf("a list that another writer changes every time: %v", err)
	}
	storetest.Must(m.Counts(ctx))
	storetest.PutIngestions(t, m.Ingestions, storetest.FullIngestion(1))
	r := storetest.FullRecord("c", "k")
	r.Version = 1
	storetest.CommitSome(t, m.Ledger, storetest.Records(r))
	for what, err := range map[string]error{
		"review": errorOf(m.DeadLetters.Review(ctx, "l", event.ReviewClosed, "", &event.ReplayLink{Nonce: "n"})),
		"accept": errorOf(m.Ingestions.AcceptIngestion(ctx, "i", "k", "id", storetest.Noon)),
	} {
		if event.CodeOf(err) != event.NotFound {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func errorOf[T any](_ T, err error) error { return err }

// shape is what a command asks for.
type shape struct {
	in            string // the collection
	filter, order bson.D
	writes        bool
}

// asked returns the shapes of the commands that have come.
func asked(s *scriptedMongo) (shapes []shape) {
	add := func(c bson.M, command string, filter, order any) {
		f, _ := filter.(bson.D)
		o, _ := order.(bson.D)
		shapes = append(shapes, shape{fmt.Sprint(c[command]), f, o, command != "find" && command != "count"})
	}
	for _, c := range s.named("find") {
		add(c, "find", c["filter"], c["sort"])
	}
	for _, c := range s.named("count") {
		if query, ok := c["query"].(bson.D); ok && len(query) > 0 { // or the server knows without looking
			add(c, "count", query, nil)
		}
	}
	for _, c := range s.named("findAndModify") {
		add(c, "findAndModify", c["query"], c["sort"])
	}
	for command, list := range map[string]string{"update": "updates", "delete": "deletes"} {
		for _, c := range s.named(command) {
			for _, one := range c[list].([]bson.M) {
				add(c, command, one["q"], nil)
			}
		}
	}
	return shapes
}

// few are the fields of which one value has few documents: that of a key or an id; and of
// ingestion records, whose number the retention bounds, any. What else a filter has is then
// compared with the documents that the index finds.
var few = map[string][]string{
	"processed_events":   {"_id", "idempotencyKey", "endedAt"},
	"active_shipments":   {"_id", "shipmentId"},
	"dead_letter_events": {"_id", "idempotencyKey", "sequence"},
	"ingestion_records":  {"_id", "courier", "outcome", "errorCode"},
	"unmapped_statuses":  {"_id"}, // one for each courier
}

// servedBy returns the name of the index that has what is asked for as its beginning: the
// fields of the filter, and then those of the order in one direction. It is "" for none.
func (s shape) servedBy(indexes []index) string {
	best, most := "", -1
	for _, x := range append(indexes, index{name: "_id_", key: ascending("_id")}) {
		begin := 0
		for begin < len(x.key) && s.selects(x.key[begin].Key) && !s.sortsBy(x.key[begin].Key) {
			begin++
		}
		prefix, rest := x.key[:begin], x.key[begin:]
		if !sortedAs(rest, s.order) || len(s.order) == 0 && begin == 0 {
			continue
		}
		if enough := slices.ContainsFunc(prefix, func(e bson.E) bool { return slices.Contains(few[s.in], e.Key) }); !enough && begin < s.conditions() {
			continue
		}
		if begin > most {
			best, most = x.name, begin
		}
	}
	return best
}

func (s shape) selects(field string) bool {
	return slices.ContainsFunc(s.filter, func(e bson.E) bool { return e.Key == field })
}

func (s shape) sortsBy(field string) bool {
	return slices.ContainsFunc(s.order, func(e bson.E) bool { return e.Key == field })
}

// conditions returns how many fields an index has to find, beside those that it is sorted by.
// Ingestion records that pass are looked for among all of them, the newest first.
func (s shape) conditions() (n int) {
	for _, e := range s.filter {
		if e.Key[0] != '$' && !s.sortsBy(e.Key) && s.in != "ingestion_records" {
			n++
		}
	}
	return n
}

// sortedAs reports whether an order is the beginning of a key, or of it read backwards.
func sortedAs(key, order bson.D) bool {
	if len(order) > len(key) {
		return false
	}
	forward, backward := true, true
	for i, e := range order {
		same := fmt.Sprint(e.Value) == fmt.Sprint(key[i].Value)
		forward, backward = forward && same && e.Key == key[i].Key, backward && !same && e.Key == key[i].Key
	}
	return forward || backward
}

// madeIndexes returns the indexes that a server was told to make, by collection.
func madeIndexes(s *scriptedMongo) map[string][]index {
	made := map[string][]index{}
	for _, c := range s.named("createIndexes") {
		for _, x := range c["indexes"].(bson.A) {
			d := storetest.Must(asMap(x.(bson.D)))
			in := fmt.Sprint(c["createIndexes"])
			made[in] = append(made[in], index{name: fmt.Sprint(d["name"]), key: d["key"].(bson.D), expires: d["expireAfterSeconds"] != nil})
		}
	}
	return made
}

// TestServedBy tries shapes that no index serves.
func TestServedBy(t *testing.T) {
	t.Parallel()
	list := []index{{name: "by_a", key: append(ascending("a"), descending("t", "_id")...)}, {name: "by_key", key: ascending("idempotencyKey")}}
	for _, test := range []struct {
		filter, order bson.D
		want          string
	}{
		{bson.D{{Key: "a", Value: 1}}, descending("t", "_id"), "by_a"},
		{bson.D{{Key: "a", Value: 1}}, ascending("t", "_id"), "by_a"},
		{bson.D{{Key: "a", Value: 1}}, append(ascending("t"), descending("_id")...), ""},
		{bson.D{{Key: "a", Value: 1}, {Key: "b", Value: 1}}, descending("t"), ""},
		{bson.D{{Key: "b", Value: 1}}, nil, ""},
		{nil, descending("t"), ""},
		{bson.D{{Key: "a", Value: 1}}, descending("_id"), ""},
		{bson.D{{Key: "_id", Value: 1}, {Key: "b", Value: 1}}, nil, "_id_"},
		{bson.D{{Key: "idempotencyKey", Value: 1}, {Key: "b", Value: 1}}, nil, "by_key"},
		{bson.D{{Key: "idempotencyKey", Value: 1}}, descending("t"), ""},
	} {
		if got := (shape{in: "dead_letter_events", filter: test.filter, order: test.order}).servedBy(list); got != test.want {
			t.Errorf("%s sorted by %s is served by %q, want %q", test.filter, test.order, got, test.want)
		}
	}
}

// TestListsOpenRecords names the case that retention bounds and no index.
func TestListsOpenRecords(t *testing.T) {
	t.Parallel()
	open := shape{in: "ingestion_records", filter: ingestionFilter(ingestion.Filter{Open: true}), order: newestFirst}
	if got := open.servedBy(nil); got != "_id_" {
		t.Errorf("it is read by %q", got)
	}
}
