package mongo

import (
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/persistence"
	"github.com/fincart/courier-gateway/persistence/storetest"
)

func TestContractOnFerretDB(t *testing.T) {
	t.Parallel()
	uri := ferret().uri
	storetest.Store(t, func(t *testing.T, keep persistence.Retention) persistence.Store {
		c := testConfig(uri)
		c.Retention.IngestionsPerCourier = keep.IngestionsPerCourier
		return openTest(t, c).Parts()
	})
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
	storetest.Eventually(t, "the store to get ready", func() bool { return m.Ping(t.Context()) == nil })
	storetest.CommitAll(t, m.Ledger, storetest.Records(storetest.FullRecord("demo", "before")))

	p.Hang()
	isDown("hanging")
	p.Resume()
	storetest.Eventually(t, "the store to come back", func() bool { return m.Ping(t.Context()) == nil })
	p.Down()
	isDown("down")
	p.Up()
	storetest.Eventually(t, "the store to come back", func() bool { return m.Ping(t.Context()) == nil })
	if _, ok := storetest.GetRecord(t, m.Ledger, event.Identity{Courier: "demo", Key: "before"}); !ok {
		t.Error("a committed record is gone")
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
