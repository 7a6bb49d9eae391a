package mongo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/persistence"
	"github.com/fincart/courier-gateway/persistence/storetest"
)

// bulkIDs returns the ids of a command's rows, in their order.
func bulkIDs(c bson.M) (ids []string) {
	rows, _ := c["documents"].([]bson.M)
	for _, row := range rows {
		ids = append(ids, row["_id"].(string))
	}
	updates, _ := c["updates"].([]bson.M)
	for _, u := range updates {
		ids = append(ids, u["q"].(bson.D)[0].Value.(string))
	}
	deletes, _ := c["deletes"].([]bson.M)
	for _, d := range deletes {
		ids = append(ids, idList(d["q"].(bson.D))...)
	}
	return ids
}

// TestBulksAreInOrder looks at every bulk of every kind as the server sees it. Two
// of the same rows in different orders lock each other out on a server that locks row
// by row.
func TestBulksAreInOrder(t *testing.T) {
	t.Parallel()
	wanted := []string{"c", "a", "d", "b", "aa"}
	s := &scriptedMongo{}
	expired := []bson.M{{"_id": "z"}, {"_id": "x"}, {"_id": "y"}}
	s.answer = func(name string, c bson.M) bson.M {
		text := fmt.Sprint(c["filter"])
		switch {
		case name == "find" && strings.Contains(text, "flooded"):
			return cursorAnswer(manyRecords(300)...)
		case name == "find" && strings.Contains(text, "$lte"):
			return cursorAnswer(expired...)
		case name == "createIndexes" && strings.Contains(fmt.Sprint(c["indexes"]), "expireAfterSeconds"):
			return bson.M{"ok": 0, "code": 85, "errmsg": "another index is there"}
		}
		return nil
	}
	c := testConfig(s.start(t))
	c.Retention = persistence.Retention{LedgerTTL: time.Hour, DeadLetterTTL: time.Hour, ShipmentTTL: time.Hour, IngestionTTL: time.Hour, IngestionsPerCourier: 100}
	m := openTest(t, c)
	for version := range int64(2) {
		var changes []event.Change
		for i, id := range wanted {
			p := storetest.FullShipment("demo", id)
			p.Version = version
			r := storetest.FullRecord("demo", id)
			r.Version = version
			changes = append(changes, event.Change{Shipment: &p, Records: []event.Record{r}, DeadLetters: []event.DeadLetter{storetest.FullLetter(id, uint64(i))}})
		}
		storetest.CommitAll(t, m.Ledger, changes...)
	}
	var intake []ingestion.Record
	for _, n := range []int{7, 3, 9, 1} {
		intake = append(intake, storetest.Single(n, "flooded", ingestion.Refused))
	}
	storetest.PutIngestions(t, m.Ingestions, intake...)
	storetest.Must(m.Sweep(t.Context(), storetest.Noon))

	seen := map[string]int{}
	for _, name := range []string{"insert", "update", "delete"} {
		for _, command := range s.named(name) {
			ids := bulkIDs(command)
			if seen[fmt.Sprint(name, " ", command[name])]++; !slices.IsSorted(ids) {
				t.Errorf("%s of %v has the ids in the order %q", name, command[name], ids)
			}
			if len(ids) < 3 {
				t.Errorf("%s of %v has only %q: what order they come in can't be seen", name, command[name], ids)
			}
		}
	}
	want := map[string]int{
		"insert processed_events": 1, "update processed_events": 3, // reserved and finished
		"insert active_shipments": 1, "update active_shipments": 1,
		"insert dead_letter_events": 2, "insert ingestion_records": 1,
		"delete ingestion_records": 2, // of the flooded courier, and expired ones
		"delete processed_events":  1, "delete active_shipments": 1, "delete dead_letter_events": 1,
	}
	storetest.Same(t, seen, want)
}

// TestCodes has the server fail with every number that MongoDB has, and some of
// those that speak its protocol: of a command as a whole, and of one row of a bulk.
func TestCodes(t *testing.T) {
	t.Parallel()
	exceptions := map[int]event.Code{ // of a command and of a row
		50: event.Timeout, 262: event.Timeout,
		112: event.Throttled, 433: event.Throttled, 449: event.Throttled, 450: event.Throttled, 462: event.Throttled, 16500: event.Throttled,
	}
	ofRows := map[int]event.Code{ // of a row only
		10334: event.DomainInvalid, 17280: event.DomainInvalid, 17419: event.DomainInvalid, 17420: event.DomainInvalid,
	}
	numbers := []int{4711, 8000, 9001, 9996, 10003, 10058, 10107, 10334, 11600, 11601, 11602, 12586, 12587, 13104, 13113, 13297, 13388,
		13435, 13436, 14031, 16500, 16755, 17280, 17419, 17420, 28769, 31082, 40413, 40414, 40415, 46841, 50768, 50915, 56846, 57986,
		91331, 640570, 1003141, 4662500, 4938500, 9737301, 9751901, 10045600, 10171600}
	for n := 1; n <= 500; n++ {
		numbers = append(numbers, n)
	}
	var number atomic.Int64
	var ofRow atomic.Bool
	s := &scriptedMongo{answer: func(name string, _ bson.M) bson.M {
		switch n := int32(number.Load()); {
		case name != "insert" || n == 0:
			return nil
		case ofRow.Load():
			return bson.M{"ok": 1, "n": 1, "writeErrors": []bson.M{{"index": 0, "code": n, "errmsg": "failed"}}}
		default:
			return bson.M{"ok": 0, "code": n, "codeName": "name", "errmsg": "failed"}
		}
	}}
	m := openTest(t, testConfig(s.start(t)))
	changes := []event.Change{storetest.Records(storetest.FullRecord("demo", "1")), storetest.Records(storetest.FullRecord("demo", "2"))}
	for _, n := range numbers {
		want, listed := exceptions[n]
		if !listed {
			want = event.DependencyDown
		}
		number.Store(int64(n))
		ofRow.Store(false)
		if _, err := m.Ledger.Commit(t.Context(), changes); event.CodeOf(err) != want {
			t.Errorf("%d of a commit: %v, want %s", n, err, want)
		}
		ofRow.Store(true)
		outcomes, err := m.Ledger.Commit(t.Context(), changes)
		switch {
		case listed: // of the whole, whichever row it is said of
			if event.CodeOf(err) != want {
				t.Errorf("%d of a row: %v, want %s", n, err, want)
			}
			continue
		case ofRows[n] != "":
			want = ofRows[n]
		}
		if err != nil {
			t.Errorf("%d of a row: %v, want an outcome of its change", n, err)
			continue
		}
		if got := storetest.Codes(t, outcomes); got[0] != want || got[1] != "" {
			t.Errorf("%d of a row: %v, want %s for it and none for the other", n, outcomes, want)
		}
	}
}

// TestRetriesAreBounded counts what a server in trouble is sent. A driver that
// retries until the deadline, without a pause, would send it thousands.
func TestRetriesAreBounded(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, command string
		call          func(m *Store) error
		want          int
	}{
		{"records", "find", func(m *Store) error {
			_, err := m.Ledger.Records(t.Context(), []event.Identity{{Courier: "demo", Key: "k"}})
			return err
		}, 3},
		{"one dead letter", "find", func(m *Store) error {
			_, err := m.DeadLetters.DeadLetter(t.Context(), "1")
			return err
		}, 3},
		{"counts", "count", func(m *Store) error {
			_, err := m.Counts(t.Context())
			return err
		}, 3},
		{"review", "findAndModify", func(m *Store) error {
			_, err := m.DeadLetters.Review(t.Context(), "1", event.ReviewReviewed, "", nil)
			return err
		}, 3},
		{"take", "findAndModify", func(m *Store) error {
			_, err := m.Ingestions.AcceptIngestion(t.Context(), "1", "k", "", storetest.Noon)
			return err
		}, 3},
		{"put", "insert", func(m *Store) error {
			return m.Ingestions.PutIngestions(t.Context(), []ingestion.Record{storetest.FullIngestion(1)})
		}, 3},
		// A commit is made again by the worker, which waits in between.
		{"commit", "insert", func(m *Store) error {
			_, err := m.Ledger.Commit(t.Context(), []event.Change{storetest.Records(storetest.FullRecord("demo", "k"))})
			return err
		}, 1},
	} {
		for code, labels := range map[int][]string{134: nil, 262: {"RetryableWriteError", "RetryableError"}, 462: {"SystemOverloadedError", "RetryableError"}} {
			t.Run(fmt.Sprint(test.name, " ", code), func(t *testing.T) {
				t.Parallel()
				var failing atomic.Bool
				s := &scriptedMongo{replicaSet: "rs", answer: func(name string, _ bson.M) bson.M {
					if name == test.command && failing.Load() {
						return bson.M{"ok": 0, "code": code, "errmsg": "failed", "errorLabels": labels}
					}
					return nil
				}}
				c := testConfig(s.start(t))
				c.OperationTimeout = 2 * time.Second
				m := openTest(t, c)
				if err := m.Ping(t.Context()); err != nil {
					t.Fatal(err)
				}
				s.forget()
				failing.Store(true)
				err := test.call(m)
				want := test.want
				if code != 134 { // it took too long, or asked for less: not again at once
					want = 1
				}
				if n := len(s.named(test.command)); err == nil || n != want {
					t.Errorf("%d requests, want %d; %v", n, want, err)
				}
			})
		}
	}
}

// TestDroppedConnections has the primary of a replica set close a connection over
// a command, as after a failover: what can be sent again is, within the call, and a
// commit goes through when it is made again.
func TestDroppedConnections(t *testing.T) {
	t.Parallel()
	var drop atomic.Pointer[string]
	s := &scriptedMongo{replicaSet: "rs"}
	s.answer = func(name string, _ bson.M) bson.M {
		if next := drop.Load(); next != nil && *next == name && drop.CompareAndSwap(next, nil) {
			return dropped
		}
		if name == "findAndModify" {
			return bson.M{"ok": 1, "value": bson.M{"_id": "1", "deadAt": dateKey(storetest.Noon), "at": dateKey(storetest.Noon)}, "lastErrorObject": bson.M{"n": 1, "updatedExisting": true}}
		}
		return nil
	}
	c := testConfig(s.start(t))
	c.MaxConns = 4
	m := openTest(t, c)
	if err := m.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func() error{
		"find": func() error {
			_, err := m.Ledger.Records(t.Context(), []event.Identity{{Courier: "demo", Key: "k"}})
			return err
		},
		"count": func() error { _, err := m.Counts(t.Context()); return err },
		"findAndModify": func() error {
			_, err := m.DeadLetters.Review(t.Context(), "1", event.ReviewReviewed, "", nil)
			return err
		},
		"insert": func() error {
			return m.Ingestions.PutIngestions(t.Context(), []ingestion.Record{storetest.FullIngestion(1)})
		},
	} {
		drop.Store(&name)
		if err := call(); err != nil || drop.Load() != nil {
			t.Errorf("over a %s: %v", name, err)
		}
	}
	insert := "insert"
	drop.Store(&insert)
	change := storetest.Records(storetest.FullRecord("demo", "k"))
	if _, err := m.Ledger.Commit(t.Context(), []event.Change{change}); event.CodeOf(err) != event.DependencyDown {
		t.Errorf("a commit: %v", err)
	}
	storetest.CommitAll(t, m.Ledger, change)
}

// TestDuplicates: a duplicate key says that a row is there already only if it is
// one of _id. Any other is in an index that the appliance has not made.
func TestDuplicates(t *testing.T) {
	t.Parallel()
	const there = "" // nothing is wrong
	for _, test := range []struct {
		name  string
		error bson.M
		found bool // by a look for the row
		index string
		looks int
	}{
		{"key pattern of _id", bson.M{"keyPattern": bson.M{"_id": 1}, "errmsg": "E11000"}, false, there, 0},
		{"key pattern of another", bson.M{"keyPattern": bson.M{"courier": 1}, "errmsg": "E11000 duplicate key error collection: d.c index: one_each dup key: { courier: \"index: _id_ \" }"}, false, "one_each", 0},
		{"key pattern of several", bson.M{"keyPattern": bson.D{{Key: "_id", Value: 1}, {Key: "courier", Value: 1}}, "errmsg": "E11000 index: both dup key"}, false, "both", 0},
		{"message of _id", bson.M{"errmsg": "E11000 duplicate key error collection: d.c index: _id_ dup key: { _id: \"1\" }"}, false, there, 0},
		{"message of old", bson.M{"errmsg": "E11000 duplicate key error index: d.c.$_id_ dup key: { : \"1\" }"}, false, there, 0},
		{"message of another", bson.M{"errmsg": "E11000 duplicate key error collection: d.c index: one_each dup key: { courier: \"index: _id_ \" }"}, false, "one_each", 0},
		{"message of one with a name like it", bson.M{"errmsg": "E11000 duplicate key error collection: d.c index: my_id_ dup key"}, false, "my_id_", 0},
		{"no index named, row is there", bson.M{"errmsg": "E11000 duplicate key error collection: d.c"}, true, there, 1},
		{"no index named, row is not there", bson.M{"errmsg": "E11000 duplicate key error collection: d.c"}, false, "a unique index", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			failure := bson.M{"index": 0, "code": 11000}
			for k, v := range test.error {
				failure[k] = v
			}
			s := &scriptedMongo{answer: func(name string, c bson.M) bson.M {
				switch {
				case name == "insert" && (c[name] == "dead_letter_events" || c[name] == "ingestion_records"),
					name == "insert" && strings.Contains(fmt.Sprint(c["documents"]), "demo:taken"):
					return bson.M{"ok": 1, "n": 0, "writeErrors": []bson.M{failure}}
				case name == "find" && test.found:
					for _, id := range idList(c["filter"].(bson.D)) {
						return cursorAnswer(bson.M{"_id": id})
					}
				}
				return nil
			}}
			m := openTest(t, testConfig(s.start(t)))
			letterErr := storetest.CommitSome(t, m.Ledger, storetest.DeadLetters(storetest.FullLetter("1", 1)))[0]
			recordErr := storetest.CommitSome(t, m.Ledger, storetest.Records(storetest.FullRecord("demo", "taken")))[0]
			looks := len(s.named("find"))
			intakeErr := m.Ingestions.PutIngestions(t.Context(), []ingestion.Record{storetest.FullIngestion(1)})
			if test.index == there {
				if letterErr != nil || intakeErr != nil || event.CodeOf(recordErr) != event.VersionConflict {
					t.Errorf("a letter: %v; ingestion records: %v; an event: %v", letterErr, intakeErr, recordErr)
				}
			} else {
				for _, err := range []error{letterErr, recordErr, intakeErr} {
					if event.CodeOf(err) != event.DependencyDown || !strings.Contains(err.Error(), test.index) || !strings.Contains(err.Error(), "drop it") {
						t.Errorf("a row that another index refuses: %v", err)
					}
				}
			}
			if looks != 2*test.looks {
				t.Errorf("looked %d times, want %d", looks, 2*test.looks)
			}
		})
	}
}

// TestBulksAreWhole has a server that takes little in a command: each part is one
// command, and a majority missing for any of them is seen, whatever is said of later
// ones.
func TestBulksAreWhole(t *testing.T) {
	t.Parallel()
	noMajority := bson.M{"ok": 1, "n": 2, "writeConcernError": bson.M{"code": 64, "errmsg": "waiting for replication timed out"}}
	taken := bson.M{"ok": 1, "n": 1, "writeErrors": []bson.M{{"index": 0, "code": 11000, "keyPattern": bson.M{"_id": 1}, "errmsg": "E11000"}}}
	for _, test := range []struct {
		name        string
		rows, bytes int
		version     int64
	}{
		{"inserts of few rows", 2, 0, 0},
		{"inserts of few bytes", 0, 64 << 10, 0},
		{"updates of few rows", 2, 0, 5},
		{"updates of few bytes", 0, 64 << 10, 5},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			command := "insert"
			if test.version > 0 {
				command = "update"
			}
			var failing atomic.Bool
			s := &scriptedMongo{replicaSet: "rs", batchRows: test.rows, batchBytes: test.bytes}
			s.answer = func(name string, c bson.M) bson.M {
				if name != command || c[name] != "active_shipments" || !failing.Load() {
					return nil
				}
				if slices.Contains(bulkIDs(c), "demo:0") {
					return noMajority
				}
				return taken
			}
			m := openTest(t, testConfig(s.start(t)))
			var changes []event.Change
			var intake []ingestion.Record
			for i := range 8 {
				p := storetest.FullShipment("demo", fmt.Sprint(i))
				p.Version, p.OrderID = test.version, strings.Repeat("x", 20<<10)
				changes = append(changes, storetest.Shipment(p))
				r := storetest.FullIngestion(i)
				r.Detail = p.OrderID
				intake = append(intake, r)
			}
			storetest.CommitAll(t, m.Ledger, changes...)
			if n := len(s.named(command)); n != 4 {
				t.Errorf("8 rows took %d commands, want 4 of 2 each", n)
			}
			storetest.PutIngestions(t, m.Ingestions, intake...)
			failing.Store(true)
			outcomes, err := m.Ledger.Commit(t.Context(), changes)
			if event.CodeOf(err) != event.DependencyDown {
				t.Errorf("without a majority for the first part: %v, %v", outcomes, err)
			}
		})
	}
}

// TestAnswers has a server say what real ones say when they are in trouble.
func TestAnswers(t *testing.T) {
	t.Parallel()
	failure := func(code int, labels ...string) bson.M {
		return bson.M{"ok": 0, "code": code, "codeName": "name", "errmsg": "refused", "errorLabels": labels}
	}
	writeError := func(code, index int) bson.M {
		return bson.M{"ok": 1, "n": 1, "writeErrors": []bson.M{{"index": index, "code": code, "errmsg": "refused"}}}
	}
	writeErrors := func(first, second int) bson.M {
		return bson.M{"ok": 1, "n": 0, "writeErrors": []bson.M{{"index": 0, "code": first, "errmsg": "refused"}, {"index": 1, "code": second, "errmsg": "refused"}}}
	}
	taken := bson.M{"index": 0, "code": 11000, "keyPattern": bson.M{"_id": 1}, "errmsg": "refused"}
	rowTaken := bson.M{"ok": 1, "n": 1, "writeErrors": []bson.M{taken}}
	// An insert that fails does so at each step, for the first row that it still has.
	for _, test := range []struct {
		name    string
		command string
		answer  bson.M
		whole   event.Code
		first   event.Code // of two changes, when the whole is fine
		second  event.Code
	}{
		{"no primary", "insert", failure(10107, "RetryableWriteError"), event.DependencyDown, "", ""},
		{"shutting down", "update", failure(91), event.DependencyDown, "", ""},
		{"disk full", "insert", failure(14031), event.DependencyDown, "", ""},
		{"not allowed", "insert", failure(13), event.DependencyDown, "", ""},
		{"gave up", "update", failure(50), event.Timeout, "", ""},
		{"too busy", "insert", failure(462, "SystemOverloadedError"), event.Throttled, "", ""},
		{"rate limited", "insert", failure(16500), event.Throttled, "", ""},
		{"unheard of", "insert", failure(4711), event.DependencyDown, "", ""},
		{"no majority", "insert", bson.M{"ok": 1, "n": 2, "writeConcernError": bson.M{"code": 64, "errmsg": "waiting for replication timed out"}}, event.DependencyDown, "", ""},
		{"no majority in time", "insert", bson.M{"ok": 1, "n": 2, "writeConcernError": bson.M{"code": 50, "errmsg": "operation exceeded time limit"}}, event.DependencyDown, "", ""},
		{"no majority in time for an update", "update", bson.M{"ok": 1, "n": 2, "writeConcernError": bson.M{"code": 50, "errmsg": "operation exceeded time limit"}}, event.DependencyDown, "", ""},
		{"row taken", "insert", rowTaken, "", event.VersionConflict, event.VersionConflict},
		{"row refused by a validator", "insert", writeError(121, 0), "", event.DependencyDown, event.DependencyDown},
		{"row that an update would have refused by an index", "update", writeError(11000, 0), "", event.DependencyDown, ""},
		{"row too large", "insert", writeError(10334, 0), "", event.DomainInvalid, event.DomainInvalid},
		{"row failed for the server's reasons", "insert", writeError(14031, 0), "", event.DependencyDown, event.DependencyDown},
		{"row failed for who knows what", "insert", writeError(4711, 0), "", event.DependencyDown, event.DependencyDown},
		{"row taken, another failed", "insert", bson.M{"ok": 1, "n": 0, "writeErrors": []bson.M{taken, {"index": 1, "code": 14031, "errmsg": "refused"}}}, "", event.VersionConflict, event.DependencyDown},
		{"row too large, another failed", "insert", writeErrors(10334, 8000), "", event.DomainInvalid, event.DependencyDown},
		{"row refused, another gave up", "insert", writeErrors(121, 50), event.Timeout, "", ""},
		{"row too large, the server asks for less", "insert", writeErrors(10334, 112), event.Throttled, "", ""},
		{"row taken, no majority", "insert", bson.M{"ok": 1, "n": 1, "writeErrors": []bson.M{taken}, "writeConcernError": bson.M{"code": 64, "errmsg": "timed out"}}, event.DependencyDown, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := &scriptedMongo{answer: func(name string, c bson.M) bson.M {
				if name == test.command {
					return test.answer
				}
				return nil
			}}
			m := openTest(t, testConfig(s.start(t)))
			p1, p2 := storetest.FullShipment("demo", "1"), storetest.FullShipment("demo", "2")
			outcomes, err := m.Ledger.Commit(t.Context(), []event.Change{
				{Shipment: &p1, Records: []event.Record{storetest.FullRecord("demo", "1")}},
				{Shipment: &p2, Records: []event.Record{storetest.FullRecord("demo", "2")}},
			})
			if event.CodeOf(err) != test.whole {
				t.Fatalf("the whole: %v", err)
			}
			if err == nil {
				storetest.Same(t, storetest.Codes(t, outcomes), []event.Code{test.first, test.second})
			}
		})
	}
}

// TestTooLate has the server take longer for one command than it may: that it did
// not answer in time is another error than that it can't be reached.
func TestTooLate(t *testing.T) {
	t.Parallel()
	for _, slow := range []string{"insert", "find"} {
		t.Run(slow, func(t *testing.T) {
			t.Parallel()
			goOn := make(chan struct{})
			s := &scriptedMongo{answer: func(name string, _ bson.M) bson.M {
				if name == slow {
					<-goOn
				}
				return nil
			}}
			c := testConfig(s.start(t))
			c.MaxConns, c.OperationTimeout = 4, 200*time.Millisecond
			m := openTest(t, c)
			defer close(goOn)
			storetest.Eventually(t, "the store to get ready", func() bool { return m.Ping(t.Context()) == nil })
			var err error
			if slow == "find" {
				_, err = m.Ledger.Records(t.Context(), []event.Identity{{Courier: "demo", Key: "k"}})
			} else {
				_, err = m.Ledger.Commit(t.Context(), []event.Change{storetest.Records(storetest.FullRecord("demo", "k"))})
			}
			if event.CodeOf(err) != event.DependencyDown || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("without an answer: %v", err)
			}
			if err := m.Ping(t.Context()); err != nil {
				t.Errorf("ping: %v", err)
			}
		})
	}
}
