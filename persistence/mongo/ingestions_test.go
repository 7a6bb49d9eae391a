package mongo

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/persistence/storetest"
)

// TestIngestionTrips counts commands where records have to be cut back: what
// that takes is the same for any number of records, and is done once for many.
func TestIngestionTrips(t *testing.T) {
	t.Parallel()
	server := &scriptedMongo{}
	server.answer = func(name string, c bson.M) bson.M {
		if name == "find" && strings.Contains(fmt.Sprint(c["filter"]), "flooded") {
			return cursorAnswer(manyRecords(2001)...)
		}
		return nil
	}
	c := testConfig(server.start(t))
	c.Retention.IngestionsPerCourier = 2000
	m := openTest(t, c)
	if err := m.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	put := func(courier string, size int) (sent string) {
		var batch []ingestion.Record
		for i := range size {
			batch = append(batch, storetest.Single(i, courier, ingestion.Refused))
		}
		server.forget()
		storetest.PutIngestions(t, m.Ingestions, batch...)
		for _, name := range []string{"insert", "find", "delete"} {
			sent += strings.Repeat(name+" ", len(server.named(name)))
		}
		return sent
	}
	for _, test := range []struct {
		courier string
		size    int
		want    string
	}{
		{"a", 1, "insert find "}, // how many there are is not known yet
		{"a", 1, "insert "},
		{"a", 150, "insert "},
		{"flooded", 150, "insert find delete "},
		{"flooded", 200, "insert "},
		{"a", 49, "insert "},
		{"a", 1, "insert find "}, // 201, more than a tenth of what is kept
		{"a", 200, "insert "},
		{"a", 500, "insert find "},
	} {
		if got := put(test.courier, test.size); got != test.want {
			t.Errorf("%d records of %s take %q, want %q", test.size, test.courier, got, test.want)
		}
	}

	server.forget()
	storetest.PutIngestions(t, m.Ingestions, storetest.Aggregate(1, "flooded", ingestion.Accepted))
	finds, deletes := server.named("find"), server.named("delete")
	if len(finds) != 1 || len(deletes) != 1 {
		t.Fatalf("for the first aggregate: %v, %v", finds, deletes)
	}
	want := `{"courier":"flooded","single":false}`
	if look := finds[0]; fmt.Sprint(look["filter"]) != want || look["limit"] != int64(5001) || fmt.Sprint(look["sort"]) != `{"_id":{"$numberInt":"-1"}}` {
		t.Errorf("looked for %v", look)
	}
	want = `{"_id":{"$in":["0000"]}}`
	if d := deletes[0]["deletes"].([]bson.M)[0]; fmt.Sprint(d["q"]) != want || d["limit"] != int32(0) {
		t.Errorf("deleted %v", d)
	}
}

// manyRecords is how a server lists n records, the newest first.
func manyRecords(n int) (documents []bson.M) {
	for i := range n {
		documents = append(documents, bson.M{"_id": fmt.Sprintf("%04d", n-1-i)})
	}
	return documents
}

// TestIngestionAnswers has a server say what becomes of ingestion records.
func TestIngestionAnswers(t *testing.T) {
	t.Parallel()
	writeErrors := func(codes ...int) (list []bson.M) {
		for i, code := range codes {
			list = append(list, bson.M{"index": i, "code": code, "errmsg": "refused", "keyPattern": bson.M{"_id": 1}})
		}
		return list
	}
	noMajority := bson.M{"code": 64, "errmsg": "waiting for replication timed out"}
	for _, test := range []struct {
		name    string
		command string
		answer  bson.M
		want    event.Code
	}{
		{"all are there", "insert", bson.M{"ok": 1, "n": 0, "writeErrors": writeErrors(11000, 11000)}, ""},
		{"there, but not on a majority", "insert", bson.M{"ok": 1, "n": 1, "writeErrors": writeErrors(11000), "writeConcernError": noMajority}, event.DependencyDown},
		{"there, but not on a majority in time", "insert", bson.M{"ok": 1, "n": 1, "writeErrors": writeErrors(11000), "writeConcernError": bson.M{"code": 50, "errmsg": "operation exceeded time limit"}}, event.DependencyDown},
		{"one is there, one failed", "insert", bson.M{"ok": 1, "n": 0, "writeErrors": writeErrors(11000, 14031)}, event.DependencyDown},
		{"one is there, one was refused by a validator", "insert", bson.M{"ok": 1, "n": 0, "writeErrors": writeErrors(11000, 121)}, event.DependencyDown},
		{"one is there, one is too large", "insert", bson.M{"ok": 1, "n": 0, "writeErrors": writeErrors(11000, 10334)}, event.DomainInvalid},
		{"no primary", "insert", bson.M{"ok": 0, "code": 10107, "errmsg": "refused"}, event.DependencyDown},
		{"can't look", "find", bson.M{"ok": 0, "code": 50, "errmsg": "refused"}, event.Timeout},
		{"can't delete", "delete", bson.M{"ok": 0, "code": 462, "errmsg": "refused", "errorLabels": []string{"SystemOverloadedError"}}, event.Throttled},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var failing atomic.Bool
			s := &scriptedMongo{answer: func(name string, _ bson.M) bson.M {
				switch {
				case name == test.command && failing.Load():
					return test.answer
				case name == "find":
					return cursorAnswer(manyRecords(1001)...)
				}
				return nil
			}}
			c := testConfig(s.start(t))
			c.Retention.IngestionsPerCourier = 1000
			m := openTest(t, c)
			failing.Store(true)
			batch := []ingestion.Record{storetest.FullIngestion(1), storetest.FullIngestion(2)}
			if err := m.Ingestions.PutIngestions(t.Context(), batch); event.CodeOf(err) != test.want {
				t.Errorf("put: %v", err)
			}
			// What was not cut back is, the next time.
			failing.Store(false)
			before := len(s.named("delete"))
			storetest.PutIngestions(t, m.Ingestions, batch...)
			if after := len(s.named("delete")); (after > before) != (test.want != "") {
				t.Errorf("cut back %d times and then %d", before, after)
			}
		})
	}
}
