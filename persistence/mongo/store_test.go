package mongo

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/persistence"
	"github.com/fincart/courier-gateway/persistence/storetest"
)

func TestContract(t *testing.T) {
	t.Parallel()
	storetest.Store(t, func(t *testing.T, keep persistence.Retention) persistence.Store {
		c, genuine := anyMongo(t)
		if !genuine { // which knows no TTL indexes
			keep = persistence.Retention{IngestionsPerCourier: keep.IngestionsPerCourier}
		}
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
	c, _ := anyMongo(t)
	u := storetest.Must(url.Parse(c.URI))
	p := storetest.NewProxy(t, u.Host)
	p.Down()
	q := u.Query()
	q.Set("directConnection", "true") // not the address by which the server knows itself
	u.Host, u.RawQuery = p.Addr, q.Encode()
	c.URI = u.String()
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
		"text, as builds before there were dates": {"_id": "demo:1", "updatedAt": "2026-02-26T12:00:01.000000042Z"},
		"a number":     {"_id": "demo:1", "updatedAt": time.Now().UnixMilli()},
		"no such part": {"_id": "demo:1", "updatedAt": time.Now(), "updatedAtNanos": 1_000_000},
		"a part alone": {"_id": "demo:1", "updatedAtNanos": 1},
		"no such year": {"_id": "demo:1", "updatedAt": bson.DateTime(1 << 60)},
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
			return cursorAnswer(bson.M{"_id": "1", "deadAt": "2026-02-26T12:00:01Z", "at": "2026-02-26T12:00:01Z"})
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

// TestTimesAreDates looks at the documents as other programs see them: every time is a
// date, and what it lacks below the millisecond stands beside it.
func TestTimesAreDates(t *testing.T) {
	t.Parallel()
	s := &scriptedMongo{}
	m := openTest(t, testConfig(s.start(t)))
	p := storetest.FullShipment("demo", "1")
	storetest.CommitAll(t, m.Ledger, event.Change{
		Shipment: &p, Records: []event.Record{storetest.FullRecord("demo", "k")}, DeadLetters: []event.DeadLetter{storetest.FullLetter("1", 1)},
	})
	storetest.CommitAll(t, m.Ledger, storetest.Records(storetest.FullRecord("demo", "whole"))) // not in process any more
	storetest.PutIngestions(t, m.Ingestions, storetest.FullIngestion(1))
	var dates []string
	for _, c := range s.named("insert") {
		for _, d := range c["documents"].([]bson.M) {
			findTimes(t, fmt.Sprint(c["insert"]), d, &dates)
		}
	}
	if _, err := m.Ingestions.AcceptIngestion(t.Context(), "1", "k", "id", storetest.Noon); event.CodeOf(err) != event.NotFound {
		t.Errorf("accept on a server that has nothing: %v", err)
	}
	for _, c := range s.named("findAndModify") {
		set := storetest.Must(asMap(c["update"].(bson.D)))["$set"].(bson.D)
		findTimes(t, "ingestion_records", storetest.Must(asMap(set)), &dates)
	}
	for _, name := range []string{
		"active_shipments.createdAt", "active_shipments.eventTime", "active_shipments.history.claimedAt",
		"active_shipments.history.occurredAt", "active_shipments.history.scanAt", "active_shipments.updatedAt",
		"dead_letter_events.attempts.endedAt", "dead_letter_events.attempts.startedAt", "dead_letter_events.deadAt",
		"dead_letter_events.receivedAt", "dead_letter_events.replays.at", "dead_letter_events.reviewedAt",
		"ingestion_records.at", "ingestion_records.acceptedAt", "ingestion_records.until",
		"processed_events.attempts.endedAt", "processed_events.attempts.startedAt", "processed_events.endedAt",
		"processed_events.occurredAt", "processed_events.receivedAt", "processed_events.updatedAt",
	} {
		if !slices.Contains(dates, name) {
			t.Errorf("no date %s among %v", name, dates)
		}
	}
}

// findTimes adds the names of a document's dates, and fails the test for a time in another
// form, and for a date without its nanoseconds.
func findTimes(t *testing.T, path string, document bson.M, dates *[]string) {
	t.Helper()
	for name, value := range document {
		switch v := value.(type) {
		case bson.DateTime:
			*dates = append(*dates, path+"."+name)
			if n, ok := document[name+"Nanos"].(int32); !ok || n/1000 != 456 {
				t.Errorf("%s.%s has %v nanoseconds beside it", path, name, document[name+"Nanos"])
			}
		case string:
			if _, err := time.Parse(time.RFC3339Nano, v); err == nil {
				t.Errorf("%s.%s is text: %q", path, name, v)
			}
		case bson.A:
			for _, element := range v {
				if d, ok := element.(bson.D); ok {
					findTimes(t, path+"."+name, storetest.Must(asMap(d)), dates)
				}
			}
		}
	}
}

func asMap(d bson.D) (m bson.M, err error) {
	raw, err := bson.Marshal(d)
	if err != nil {
		return nil, err
	}
	return m, bson.Unmarshal(raw, &m)
}

// FuzzTimesComeBack compares what comes back with what went in: the same time to the
// nanosecond, and in the same order as the two members are sorted.
func FuzzTimesComeBack(f *testing.F) {
	f.Add(int64(0), int64(0), int64(0), int64(1))
	f.Add(int64(-1), int64(999_999_999), int64(0), int64(-1))
	f.Add(int64(-62135596800), int64(0), int64(1<<40), int64(5))
	f.Fuzz(func(t *testing.T, seconds, nanos, moreSeconds, moreNanos int64) {
		a, b := time.Unix(seconds, nanos), time.Unix(moreSeconds, moreNanos)
		for _, at := range []time.Time{a, b} {
			var read times
			if got := read.at(dateOf(at), nanosOf(at)); read.err != nil || !got.Equal(persistence.InRange(at)) && !at.IsZero() {
				t.Errorf("%s came back as %s, %v", at, got, read.err)
			}
		}
		stored := cmp.Or(cmp.Compare(dateKey(a), dateKey(b)), cmp.Compare(nanosOf(a), nanosOf(b)))
		if want := persistence.InRange(a).Compare(persistence.InRange(b)); stored != want {
			t.Errorf("%s and %s are in order %d, want %d", a, b, stored, want)
		}
	})
}
