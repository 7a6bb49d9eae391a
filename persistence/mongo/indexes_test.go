package mongo

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/persistence"
	"github.com/fincart/courier-gateway/persistence/storetest"
)

func TestIndexes(t *testing.T) {
	t.Parallel()
	c, _ := anyMongo(t)
	first := openTest(t, c)
	if err := first.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	count := func() (n int) {
		for _, in := range []*table{first.indexes.records, first.indexes.shipments, first.indexes.letters, first.indexes.ingestions} {
			n += len(storetest.Must(in.listIndexes(t.Context())))
		}
		return n
	}
	before := count()
	if before != 4+2+1+10+4 {
		t.Errorf("%d indexes", before)
	}
	for range 2 { // idempotent
		if err := openTest(t, c).Ping(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if after := count(); after != before {
		t.Errorf("%d indexes, there were %d", after, before)
	}
}

// TestReportsIndexesBeingMade has that take longer than calls wait.
func TestReportsIndexesBeingMade(t *testing.T) {
	t.Parallel()
	made := make(chan struct{})
	s := &scriptedMongo{answer: func(name string, _ bson.M) bson.M {
		if name == "createIndexes" {
			<-made
		}
		return nil
	}}
	c := testConfig(s.start(t))
	finish := sync.OnceFunc(func() { close(made) })
	defer finish()
	c.OperationTimeout = time.Second
	m := openTest(t, c)
	reports := func(when string, err error) {
		t.Helper()
		if event.CodeOf(err) != event.DependencyDown || !strings.Contains(err.Error(), "indexes of processed_events are being made") {
			t.Errorf("%s: %v", when, err)
		}
	}
	storetest.Eventually(t, "a call that gives up to hear of it", func() bool { // and not only of a store that is getting ready
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		return strings.Contains(m.Ping(ctx).Error(), "being made")
	})
	reports("a call with all the time in the world", m.Ping(t.Context()))
	_, err := m.Ledger.Commit(t.Context(), []event.Change{storetest.Records(storetest.FullRecord("demo", "k"))})
	reports("a commit", err)
	finish()
	storetest.Eventually(t, "the store to get ready", func() bool { return m.Ping(t.Context()) == nil })
}

// TestIndexBeside finds another index under the name of one of ours: it stays, and
// ours is made beside it.
func TestIndexBeside(t *testing.T) {
	t.Parallel()
	c, _ := anyMongo(t)
	in := connectTo(t, c).Collection("dead_letter_events")
	storetest.Must(in.Indexes().CreateOne(t.Context(), mongo.IndexModel{Keys: bson.D{{Key: "sequence", Value: -1}}, Options: indexNamed("by_sequence")}))
	m := openTest(t, c)
	storetest.CommitAll(t, m.Ledger, storetest.Records(storetest.FullRecord("demo", "k")))
	found := map[string]string{}
	for _, x := range storetest.Must(m.indexes.letters.listIndexes(t.Context())) {
		found[x.Name] = keyText(x.Key)
	}
	if found["by_sequence"] != "{sequence: -1}" || found["by_sequence_2"] != "{sequence: 1}" {
		t.Errorf("the indexes are %v", found)
	}
	if p := m.Problems(); len(p) != 0 {
		t.Errorf("problems are %q", p)
	}
}

// TestLeavesOthersRowsAlone has a service of each kind start where all are kept
// forever: it looks at and changes what it writes itself, and nothing else.
func TestLeavesOthersRowsAlone(t *testing.T) {
	t.Parallel()
	for writes, want := range map[Rows][]string{
		IngestionRecords:          {"ingestion_records"},
		Events:                    {"processed_events", "active_shipments", "dead_letter_events"},
		Events | IngestionRecords: {"processed_events", "active_shipments", "dead_letter_events", "ingestion_records"},
	} {
		s := &scriptedMongo{}
		c := testConfig(s.start(t))
		c.Writes, c.ShortenTTL = writes, true
		c.Retention = persistence.Retention{LedgerTTL: time.Hour, DeadLetterTTL: time.Hour, ShipmentTTL: time.Hour, IngestionTTL: time.Hour}
		if err := openTest(t, c).Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"listIndexes", "createIndexes"} {
			var got []string
			for _, command := range s.named(name) {
				got = append(got, fmt.Sprint(command[name]))
			}
			storetest.Same(t, got, want)
		}
	}
}

func TestIndexServedBy(t *testing.T) {
	t.Parallel()
	hour := 3600.0
	plain := index{name: "by_key", key: ascending("a", "b")}
	expiring := index{name: "by_key", key: ascending("a", "b"), expires: true, ttl: time.Hour}
	for _, test := range []struct {
		existing               existingIndex
		serves, servesToExpire bool
	}{
		{existingIndex{Name: "other", Key: ascending("a")}, false, false},
		{existingIndex{Name: "by_key", Key: ascending("a", "b")}, true, true},
		{existingIndex{Name: "named otherwise", Key: bson.D{{Key: "a", Value: 1.0}, {Key: "b", Value: int64(1)}}}, true, true},
		{existingIndex{Name: "by_key", Key: ascending("b", "a")}, false, false},
		{existingIndex{Name: "x", Key: ascending("a", "b"), Options: map[string]any{"unique": true}}, false, true},
		{existingIndex{Name: "x", Key: ascending("a", "b"), Options: map[string]any{"sparse": true}}, false, true},
		{existingIndex{Name: "x", Key: ascending("a", "b"), Options: map[string]any{"hidden": true}}, false, true},
		{existingIndex{Name: "x", Key: ascending("a", "b"), Options: map[string]any{"sparse": false, "v": 2}}, true, true},
		{existingIndex{Name: "x", Key: ascending("a", "b"), Options: map[string]any{"partialFilterExpression": bson.M{}}}, false, false},
		{existingIndex{Name: "x", Key: ascending("a", "b"), Expires: &hour}, true, true},
	} {
		for w, want := range map[*index]bool{&plain: test.serves, &expiring: test.servesToExpire} {
			if found := w.servedBy([]existingIndex{test.existing}); (found != nil) != want {
				t.Errorf("%+v serves as one that expires=%t: %t, want %t", test.existing, w.expires, found != nil, want)
			}
		}
	}
	both := []existingIndex{{Name: "plain", Key: ascending("a", "b")}, {Name: "ttl", Key: ascending("a", "b"), Expires: &hour}}
	if found := expiring.servedBy(both); found.Name != "ttl" {
		t.Errorf("rows are to expire by %q, want the TTL index", found.Name)
	}
}

// TestForeignUniqueIndex has an operator's unique index refuse a second dead letter
// on a server: it is never lost silently, and is stored when the index is gone.
func TestForeignUniqueIndex(t *testing.T) {
	t.Parallel()
	c, _ := anyMongo(t)
	m := openTest(t, c)
	if err := m.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	unique := options.Index().SetName("one_per_courier").SetUnique(true)
	storetest.Must(m.indexes.letters.rows.Indexes().CreateOne(t.Context(), mongo.IndexModel{Keys: ascending("courier"), Options: unique}))
	first, second := storetest.FullLetter("1", 1), storetest.FullLetter("2", 2)
	storetest.CommitAll(t, m.Ledger, storetest.DeadLetters(first))
	storetest.CommitAll(t, m.Ledger, storetest.DeadLetters(first)) // it is there already
	if err := storetest.CommitSome(t, m.Ledger, storetest.DeadLetters(second))[0]; event.CodeOf(err) != event.DependencyDown || !strings.Contains(err.Error(), "unique index") {
		t.Errorf("the second letter of a courier: %v", err)
	}
	if err := m.indexes.letters.rows.Indexes().DropOne(t.Context(), "one_per_courier"); err != nil {
		t.Fatal(err)
	}
	storetest.CommitAll(t, m.Ledger, storetest.DeadLetters(second))
	if _, err := m.DeadLetters.DeadLetter(t.Context(), "2"); err != nil {
		t.Errorf("the second letter is lost: %v", err)
	}
}

// TestCommitQuorum: the build of an index waits for a majority, where there can be
// one and the server knows of it.
func TestCommitQuorum(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, set string
		refusal   int
		want      []any // of each collection's command
	}{
		{"alone", "", 0, []any{nil}},
		{"replica set", "rs", 0, []any{"majority"}},
		{"one that knows no quorum", "rs", 303, []any{"majority", nil}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := &scriptedMongo{replicaSet: test.set, answer: func(name string, c bson.M) bson.M {
				if name == "createIndexes" && test.refusal != 0 && c["commitQuorum"] != nil {
					return bson.M{"ok": 0, "code": test.refusal, "errmsg": "Field 'commitQuorum' is currently not supported"}
				}
				return nil
			}}
			m := openTest(t, testConfig(s.start(t)))
			if err := m.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
			var got []any
			for _, c := range s.named("createIndexes") {
				if c["createIndexes"] == "active_shipments" {
					got = append(got, c["commitQuorum"])
				}
			}
			storetest.Same(t, got, test.want)
		})
	}
}
