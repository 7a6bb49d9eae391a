package mongo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/FerretDB/FerretDB/ferretdb"
	"go.mongodb.org/mongo-driver/v2/bson"
	drivers "go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/persistence"
	"github.com/fincart/courier-gateway/persistence/storetest"
)

// ferret starts an embedded server that speaks MongoDB's protocol, one for all
// tests (making a second one is a data race in it), each of which has a database
// of its own. It knows no TTL indexes, takes at most 99 updates in one command,
// and its updates are not atomic: a store in front of it has one connection only,
// so that commands come one at a time.
var ferret = sync.OnceValue(func() *ferretServer {
	s := &ferretServer{dir: storetest.Must(os.MkdirTemp("", "ferret"))}
	f := storetest.Must(ferretdb.New(&ferretdb.Config{
		Listener: ferretdb.ListenerConfig{TCP: "127.0.0.1:0"}, Handler: "sqlite",
		SQLiteURL: "file:" + s.dir + "/?_pragma=synchronous(off)", Logger: slog.New(slog.DiscardHandler),
	}))
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.running.Go(func() { f.Run(ctx) })
	s.uri = f.MongoDBURI()
	stopFerret = s.stop
	return s
})

type ferretServer struct {
	uri, dir string
	cancel   context.CancelFunc
	running  sync.WaitGroup
}

func (s *ferretServer) stop() {
	s.cancel()
	s.running.Wait()
	os.RemoveAll(s.dir)
}

// stopFerret ends the server, if a test has started it.
var stopFerret = func() {}

func TestMain(m *testing.M) {
	code := m.Run()
	stopFerret()
	os.Exit(code)
}

func testConfig(uri string) Config {
	return Config{
		URI: uri, Database: "courier_gateway_test_" + bson.NewObjectID().Hex(), MaxConns: 1,
		ConnectTimeout: 5 * time.Second, SelectTimeout: 5 * time.Second, OperationTimeout: time.Minute,
		Writes: Events | IngestionRecords,
		Log:    slog.New(slog.DiscardHandler),
	}
}

func openTest(t testing.TB, c Config) *Store {
	t.Helper()
	m, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return m
}

func TestContractOnFerretDB(t *testing.T) {
	t.Parallel()
	uri := ferret().uri
	storetest.Store(t, func(t *testing.T, keep persistence.Retention) persistence.Store {
		c := testConfig(uri)
		c.Retention.IngestionsPerCourier = keep.IngestionsPerCourier
		return openTest(t, c).Parts()
	})
}

// mongoURI is the address of a server to test against, "" for none.
func mongoURI() string { return os.Getenv("MONGO_URI") }

// realMongo returns the settings of a database of its own on the server that
// MONGO_URI names; it is dropped when the test ends.
func realMongo(t testing.TB) Config {
	t.Helper()
	uri := mongoURI()
	if uri == "" {
		t.Skip("MONGO_URI names no server to test against")
	}
	c := testConfig(uri)
	c.MaxConns = 16
	t.Cleanup(func() {
		m := storetest.Must(Open(context.WithoutCancel(t.Context()), c))
		if err := m.server.db.Drop(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("drop %s: %v", c.Database, err)
		}
		m.Close()
	})
	return c
}

func TestContract(t *testing.T) {
	realMongo(t)
	t.Parallel()
	storetest.Store(t, func(t *testing.T, keep persistence.Retention) persistence.Store {
		c := realMongo(t)
		c.Retention = keep
		return openTest(t, c).Parts()
	})
}

func TestRetention(t *testing.T) {
	t.Parallel()
	c := realMongo(t)
	for _, keep := range []persistence.Retention{{LedgerTTL: time.Hour, DeadLetterTTL: 2 * time.Hour}, {LedgerTTL: 3 * time.Hour, ShipmentTTL: time.Hour, IngestionTTL: 4 * time.Hour}, {}} {
		c.Retention, c.ShortenTTL = keep, true
		m := openTest(t, c)
		if err := m.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		for in, want := range map[*table]time.Duration{
			m.indexes.records: keep.LedgerTTL, m.indexes.letters: keep.DeadLetterTTL,
			m.indexes.shipments: keep.ShipmentTTL, m.indexes.ingestions: keep.IngestionTTL,
		} {
			got := time.Duration(0)
			for _, x := range storetest.Must(in.listIndexes(t.Context())) {
				got += x.ttl()
			}
			if got != want {
				t.Errorf("%s expires after %s, want %s", in.name(), got, want)
			}
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	_, err := Open(t.Context(), Config{MinConns: -1, Retention: persistence.Retention{LedgerTTL: time.Millisecond, ShipmentTTL: -time.Second}})
	if err == nil {
		t.Fatal("an empty configuration was taken")
	}
	for _, fault := range []string{"Database:", "MaxConns:", "MinConns:", "ConnectTimeout:", "SelectTimeout:", "OperationTimeout:", "Log:", "Writes:", "whole seconds", "negative"} {
		if !strings.Contains(err.Error(), fault) {
			t.Errorf("%q does not name the fault in %q", err, fault)
		}
	}
	for _, uri := range []string{"", "localhost:27017", "mongodb://", "mongodb://h/?replicaSet=a&directConnection=perhaps"} {
		if m, err := Open(t.Context(), testConfig(uri)); err == nil {
			m.Close()
			t.Errorf("the address %q was taken", uri)
		}
	}
}

// TestRoundTrips counts commands where the driver sends them.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	c, large := testConfig(""), 30
	if mongoURI() != "" {
		c, large = realMongo(t), 500
	} else {
		c.URI = ferret().uri
	}
	countTrips(t, c, large)
	// The scripted server takes any number.
	c = testConfig((&scriptedMongo{}).start(t))
	countTrips(t, c, 500)
}

// countTrips fails the test unless batches of 1 and of large take the same trips.
func countTrips(t *testing.T, c Config, large int) {
	t.Helper()
	var mu sync.Mutex
	var sent []string
	c.monitor = &drivers.CommandMonitor{Started: func(_ context.Context, e *drivers.CommandStartedEvent) {
		mu.Lock()
		defer mu.Unlock()
		sent = append(sent, e.CommandName)
	}}
	m := openTest(t, c)
	if err := m.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	n := 0
	trips := func(size int) string {
		var ids []event.Identity
		var refs []shipment.Ref
		var seqs []uint64
		var fresh, again []event.Change
		var intake []ingestion.Record
		for range size {
			n++
			intake = append(intake, storetest.Single(n, "a", ingestion.Refused), storetest.Aggregate(1_000_000+n, "b", ingestion.Refused))
			id, ref := event.Identity{Courier: "c", Key: fmt.Sprint(n)}, shipment.Ref{Courier: "c", ID: fmt.Sprint(n)}
			ids, refs, seqs = append(ids, id), append(refs, ref), append(seqs, uint64(n))
			for version, changes := range []*[]event.Change{&fresh, &again} {
				*changes = append(*changes, event.Change{
					Shipment:    &shipment.Shipment{Ref: ref, Version: int64(version)},
					Records:     []event.Record{{Identity: id, Status: event.Processed, Version: int64(version)}},
					DeadLetters: []event.DeadLetter{{ID: fmt.Sprint(n), Sequence: uint64(n), DeadAt: storetest.Noon}},
				})
			}
		}
		mu.Lock()
		sent = nil
		mu.Unlock()
		storetest.CommitAll(t, m.Ledger, fresh...)
		storetest.CommitAll(t, m.Ledger, again...)
		storetest.Must(m.Ledger.Records(t.Context(), ids))
		storetest.Must(m.Ledger.Shipments(t.Context(), refs))
		storetest.Must(m.DeadLetters.DeadSequences(t.Context(), seqs))
		storetest.PutIngestions(t, m.Ingestions, intake...)
		storetest.PutIngestions(t, m.Ingestions, intake...) // all of them are there
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(sent, " ")
	}
	// FerretDB does not say which index a duplicate key is in, so that has to be looked up.
	look := ""
	if c.URI == ferret().uri {
		look = " find"
	}
	want := "insert insert insert update " + // new rows: reserve, shipments, letters, finish
		"update update insert" + look + " update " + // rows that exist
		"find find find " +
		"insert insert" + look // ingestion records
	for _, size := range []int{1, large} {
		if got := trips(size); got != want {
			t.Errorf("a batch of %d takes %q, want %q", size, got, want)
		}
	}
}

// TestInterrupted ends a commit after each of its steps, as a crash would,
// and applies the same event again.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	c := testConfig(ferret().uri)
	var cut atomic.Pointer[func()] // called after each command that writes
	c.monitor = &drivers.CommandMonitor{Succeeded: func(_ context.Context, e *drivers.CommandSucceededEvent) {
		if fn := cut.Load(); fn != nil && (e.CommandName == "insert" || e.CommandName == "update") {
			(*fn)()
		}
	}}
	m := openTest(t, c)
	for steps := 1; steps <= 4; steps++ {
		key, id := fmt.Sprintf("key-%d", steps), fmt.Sprintf("shp-%d", steps)
		p := shipment.Shipment{Ref: shipment.Ref{Courier: "demo", ID: id}, History: []shipment.Checkpoint{{Key: key, At: storetest.Noon}}}
		change := event.Change{Shipment: &p, Records: []event.Record{storetest.FullRecord("demo", key)}, DeadLetters: []event.DeadLetter{storetest.FullLetter(key, 1)}}

		ctx, cancel := context.WithCancel(t.Context())
		done := 0
		cutter := func() {
			if done++; done == steps {
				cancel()
			}
		}
		cut.Store(&cutter)
		outcomes, err := m.Ledger.Commit(ctx, []event.Change{change})
		cut.Store(nil)
		cancel()
		if steps < 4 && event.CodeOf(err) != event.Interrupted || steps == 4 && (err != nil || outcomes[0] != nil) {
			t.Fatalf("cut after step %d: %v, %v", steps, outcomes, err)
		}

		r, _ := storetest.GetRecord(t, m.Ledger, event.Identity{Courier: "demo", Key: key})
		if steps < 4 && (r.Status != event.Processing || !r.EndedAt.IsZero() || r.BodyHash == "" || r.Attempts[2].Outcome != "") {
			t.Errorf("cut after step %d: the record is %+v", steps, r)
		}
		storetest.AppendCheckpoint(t, m.Ledger, p.Ref, key)
		storetest.CommitAll(t, m.Ledger, storetest.DeadLetters(change.DeadLetters...))

		r, _ = storetest.GetRecord(t, m.Ledger, event.Identity{Courier: "demo", Key: key})
		stored, _ := storetest.GetShipment(t, m.Ledger, p.Ref)
		if r.Status != event.Processed || len(stored.History) != 1 {
			t.Errorf("cut after step %d, applied again: %s, history %+v", steps, r.Status, stored.History)
		}
	}
}

// TestInterruptedAgain ends the commit of a row that exists after it is reserved.
func TestInterruptedAgain(t *testing.T) {
	t.Parallel()
	c := testConfig(ferret().uri)
	ctx, cancel := context.WithCancel(t.Context())
	c.monitor = &drivers.CommandMonitor{Succeeded: func(_ context.Context, e *drivers.CommandSucceededEvent) {
		if e.CommandName == "update" {
			cancel()
		}
	}}
	m := openTest(t, c)
	before := storetest.FullRecord("demo", "k")
	storetest.CommitAll(t, m.Ledger, storetest.Records(before))
	after := before
	after.Version, after.Conflicts = 1, 99
	p := storetest.FullShipment("demo", "i")
	if _, err := m.Ledger.Commit(ctx, []event.Change{{Shipment: &p, Records: []event.Record{after}}}); event.CodeOf(err) != event.Interrupted {
		t.Fatal(err)
	}
	// Reserved, so at a higher version; but an event that had ended has still ended.
	before.Version = 2
	got, _ := storetest.GetRecord(t, m.Ledger, before.Identity)
	storetest.Same(t, got, before)
}

func TestIndexes(t *testing.T) {
	t.Parallel()
	c := testConfig(ferret().uri)
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
	if before != 3+2+1+5+4 {
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
	storetest.WaitFor(t, "a call that gives up to hear of it", func() bool { // and not only of a store that is getting ready
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		return strings.Contains(m.Ping(ctx).Error(), "being made")
	})
	reports("a call with all the time in the world", m.Ping(t.Context()))
	_, err := m.Ledger.Commit(t.Context(), []event.Change{storetest.Records(storetest.FullRecord("demo", "k"))})
	reports("a commit", err)
	finish()
	storetest.WaitFor(t, "the store to get ready", func() bool { return m.Ping(t.Context()) == nil })
}

// TestIndexBeside finds another index under the name of one of ours: it stays, and
// ours is made beside it.
func TestIndexBeside(t *testing.T) {
	t.Parallel()
	c := testConfig(ferret().uri)
	in := openTest(t, testConfig(c.URI)).server.db.Client().Database(c.Database).Collection("dead_letter_events")
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

// TestAway takes the network away at the start, by refusing connections,
// and by letting them hang.
func TestAway(t *testing.T) {
	t.Parallel()
	uri := ferret().uri
	p := storetest.NewProxy(t, strings.TrimSuffix(strings.TrimPrefix(uri, "mongodb://"), "/"))
	p.Down()
	c := testConfig("mongodb://" + p.Addr)
	c.MaxConns, c.SelectTimeout, c.OperationTimeout = 4, 100*time.Millisecond, 300*time.Millisecond
	m := openTest(t, c)
	isDown := func(when string) {
		t.Helper()
		began := time.Now()
		_, commitErr := m.Ledger.Commit(t.Context(), []event.Change{storetest.Records(storetest.FullRecord("demo", "k"))})
		_, lookErr := m.Ledger.Records(t.Context(), []event.Identity{{Courier: "demo", Key: "k"}})
		for _, err := range []error{commitErr, lookErr, m.Ping(t.Context())} {
			if event.CodeOf(err) != event.DependencyDown {
				t.Errorf("%s: %v", when, err)
			}
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s: three calls took %s", when, took)
		}
	}
	isDown("down at the start")
	p.Up()
	storetest.WaitFor(t, "the store to get ready", func() bool { return m.Ping(t.Context()) == nil })
	storetest.CommitAll(t, m.Ledger, storetest.Records(storetest.FullRecord("demo", "before")))

	p.Hang()
	isDown("hanging")
	p.Resume()
	storetest.WaitFor(t, "the store to come back", func() bool { return m.Ping(t.Context()) == nil })
	p.Down()
	isDown("down")
	p.Up()
	storetest.WaitFor(t, "the store to come back", func() bool { return m.Ping(t.Context()) == nil })
	if _, ok := storetest.GetRecord(t, m.Ledger, event.Identity{Courier: "demo", Key: "before"}); !ok {
		t.Error("a committed record is gone")
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
			storetest.WaitFor(t, "the store to get ready", func() bool { return m.Ping(t.Context()) == nil })
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

// TestUnreadable has other programs write to the documents: who asks for those
// hears which they are, and the store does not count as down.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	for name, foreign := range map[string]bson.M{
		"another type": {"_id": "demo:1", "updatedAt": time.Now()},
		"another time": {"_id": "demo:1", "updatedAt": "yesterday"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &scriptedMongo{answer: func(name string, _ bson.M) bson.M {
				if name == "find" {
					return cursorAnswer(bson.M{"_id": "demo:0"}, foreign)
				}
				return nil
			}}
			m := openTest(t, testConfig(s.start(t)))
			_, shipmentErr := m.Ledger.Shipments(t.Context(), []shipment.Ref{{Courier: "demo", ID: "0"}, {Courier: "demo", ID: "1"}})
			_, recordErr := m.Ledger.Records(t.Context(), []event.Identity{{Courier: "demo", Key: "0"}, {Courier: "demo", Key: "1"}})
			for _, err := range []error{shipmentErr, recordErr} {
				if event.CodeOf(err) != event.Internal || !strings.Contains(err.Error(), `"demo:1"`) {
					t.Errorf("read: %v", err)
				}
			}
		})
	}
	s := &scriptedMongo{answer: func(name string, _ bson.M) bson.M {
		if name == "find" {
			return cursorAnswer(bson.M{"_id": "1", "deadAt": time.Now(), "at": time.Now()})
		}
		return nil
	}}
	m := openTest(t, testConfig(s.start(t)))
	_, letterErr := m.DeadLetters.DeadLetter(t.Context(), "1")
	_, ingestionErr := m.Ingestions.Ingestion(t.Context(), "1")
	for _, err := range []error{letterErr, ingestionErr} {
		if event.CodeOf(err) != event.Internal || !strings.Contains(err.Error(), `"1"`) {
			t.Errorf("read one: %v", err)
		}
	}
}

// TestReadsWhatLasts looks at what the server is asked for: what only a primary
// has that is being replaced may be rolled back, and an event that was seen there as
// processed would be acknowledged and then lost. The address can't change that.
func TestReadsWhatLasts(t *testing.T) {
	t.Parallel()
	s := &scriptedMongo{}
	m := openTest(t, testConfig(s.start(t)+"/?readConcernLevel=local&w=1"))
	storetest.Must(m.Ledger.Records(t.Context(), []event.Identity{{Courier: "demo", Key: "k"}}))
	storetest.Must(m.Ledger.Shipments(t.Context(), []shipment.Ref{{Courier: "demo", ID: "1"}}))
	storetest.Must(m.DeadLetters.DeadSequences(t.Context(), []uint64{1}))
	storetest.CommitAll(t, m.Ledger, storetest.Records(storetest.FullRecord("demo", "k")))
	for _, c := range append(s.named("find"), s.named("insert")...) {
		concern, _ := bson.Marshal(bson.M{"read": c["readConcern"], "write": c["writeConcern"]})
		if text := bson.Raw(concern).String(); !strings.Contains(text, `"majority"`) {
			t.Errorf("%v is asked for with %s", c, text)
		}
	}
	if n := len(s.named("find")); n != 3 {
		t.Errorf("%d reads, want 3", n)
	}
}

// TestLost has an update find one row less than it was sent for: the one
// that does not carry the commit's mark is the lost one.
func TestLost(t *testing.T) {
	t.Parallel()
	s := &scriptedMongo{}
	s.answer = func(name string, c bson.M) bson.M {
		switch {
		case name == "update" && c["update"] == "active_shipments":
			return bson.M{"ok": 1, "n": 1, "nModified": 1}
		case name == "find" && c["find"] == "active_shipments":
			return cursorAnswer(bson.M{"_id": "demo:2"})
		}
		return nil
	}
	m := openTest(t, testConfig(s.start(t)))
	var changes []event.Change
	for _, id := range []string{"1", "2"} {
		p := storetest.FullShipment("demo", id)
		p.Version = 5
		changes = append(changes, event.Change{Shipment: &p, Records: []event.Record{storetest.FullRecord("demo", id)}, DeadLetters: []event.DeadLetter{storetest.FullLetter(id, 1)}})
	}
	storetest.Same(t, storetest.Codes(t, storetest.CommitSome(t, m.Ledger, changes...)), []event.Code{event.VersionConflict, ""})
	// The rest of the commit goes on without it.
	inserts, updates := s.named("insert"), s.named("update")
	if len(inserts) != 2 || len(inserts[1]["documents"].([]bson.M)) != 1 || inserts[1]["documents"].([]bson.M)[0]["_id"] != "2" {
		t.Errorf("inserted %v", inserts)
	}
	if len(updates) != 2 || len(updates[1]["updates"].([]bson.M)) != 1 {
		t.Errorf("updated %v", updates)
	}
	if filter := fmt.Sprint(s.named("find")[0]["filter"]); !strings.Contains(filter, "commit") {
		t.Errorf("looked for %s", filter)
	}
}

// TestExpiry checks the commands that set the retention.
func TestExpiry(t *testing.T) {
	t.Parallel()
	ttl := func(seconds int) bson.M {
		return bson.M{"v": 2, "name": "old_name", "key": bson.D{{Key: "expiresFrom", Value: 1}}, "expireAfterSeconds": seconds}
	}
	other := bson.M{"v": 2, "name": "by_key", "key": bson.D{{Key: "idempotencyKey", Value: 1}}}
	untouched := func(s *scriptedMongo) string {
		if strings.Contains(fmt.Sprint(s.named("createIndexes")), "expireAfterSeconds") || len(s.named("collMod"))+len(s.named("dropIndexes")) > 0 {
			return "something was changed"
		}
		return ""
	}
	changed := func(s *scriptedMongo) string {
		if got := s.named("collMod"); len(got) != 1 || !strings.Contains(fmt.Sprint(got), "old_name") || !strings.Contains(fmt.Sprint(got), "3600") {
			return fmt.Sprint(got)
		}
		return ""
	}
	made := func(s *scriptedMongo) string {
		for _, c := range s.named("createIndexes") {
			if text := fmt.Sprint(c["indexes"]); c["createIndexes"] == "processed_events" && strings.Contains(text, "3600") && strings.Contains(text, "expiresFrom") {
				return ""
			}
		}
		return fmt.Sprint(s.named("createIndexes"))
	}
	for _, test := range []struct {
		name     string
		keep     time.Duration
		shorten  bool
		existing []bson.M
		want     func(s *scriptedMongo) string // what is wrong
		warned   string
	}{
		{"new", time.Hour, false, nil, made, ""},
		{"as it is", time.Hour, false, []bson.M{ttl(3600)}, untouched, ""},
		{"longer", time.Hour, false, []bson.M{ttl(60)}, changed, "retention changes"},
		{"shorter", time.Hour, false, []bson.M{ttl(7200)}, untouched, "continues to"},
		{"shorter and meant", time.Hour, true, []bson.M{ttl(7200)}, changed, "retention changes"},
		{"shorter than forever", time.Hour, false, []bson.M{other}, untouched, "continues to"},
		{"shorter than forever and meant", time.Hour, true, []bson.M{other}, made, ""},
		{"off", 0, false, []bson.M{ttl(60)}, func(s *scriptedMongo) string {
			if got := s.named("dropIndexes"); len(got) != 1 || got[0]["index"] != "old_name" {
				return fmt.Sprint(got)
			}
			return ""
		}, "retention changes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := &scriptedMongo{answer: func(name string, c bson.M) bson.M {
				if name == "listIndexes" && c["listIndexes"] == "processed_events" {
					return cursorAnswer(test.existing...)
				}
				return nil
			}}
			c := testConfig(s.start(t))
			var said storetest.Buffer
			c.Log = slog.New(slog.NewTextHandler(&said, nil))
			c.Retention.LedgerTTL, c.ShortenTTL = test.keep, test.shorten
			if err := openTest(t, c).Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
			if wrong := test.want(s); wrong != "" {
				t.Error(wrong)
			}
			if warned := strings.Contains(said.String(), "level=WARN"); warned != (test.warned != "") || !strings.Contains(said.String(), test.warned) {
				t.Errorf("the log says %q", said.String())
			}
		})
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

func TestIndexAmong(t *testing.T) {
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

func BenchmarkBatch(b *testing.B) {
	storetest.BenchmarkStore(b, func(t testing.TB) persistence.Store {
		c := realMongo(t)
		c.OperationTimeout = time.Minute
		return openTest(t, c).Parts()
	}, 300_000)
}
