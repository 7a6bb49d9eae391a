package mongo

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/fincart/courier-gateway/persistence"
	"github.com/fincart/courier-gateway/persistence/storetest"
)

// TestOperatorsIndex has an operator's own index on the key of a TTL index. MongoDB
// makes a TTL index of it; a server that can't has its rows deleted by the store, which
// says what to do, and goes over to the TTL index when that can be had.
func TestOperatorsIndex(t *testing.T) {
	t.Parallel()
	own := bson.M{"v": 2, "name": "mine", "key": bson.D{{Key: "deadAt", Value: 1}}}
	partial := bson.M{"v": 2, "name": "mine", "key": bson.D{{Key: "deadAt", Value: 1}}, "partialFilterExpression": bson.M{"courier": "demo"}}
	refuse := func(code int) func(name string, c bson.M) bson.M {
		return func(name string, c bson.M) bson.M {
			if name == "collMod" || name == "createIndexes" && strings.Contains(fmt.Sprint(c["indexes"]), "expireAfterSeconds") {
				return bson.M{"ok": 0, "code": code, "errmsg": "failed"}
			}
			return nil
		}
	}
	for _, test := range []struct {
		name     string
		existing bson.M
		answer   func(name string, c bson.M) bson.M
		swept    bool
	}{
		{"is converted", own, nil, false},
		{"can't be converted", own, refuse(72), true},
		{"may not be converted", own, refuse(13), true},
		{"has another beside it", partial, nil, false},
		{"has none beside it by its options", partial, refuse(85), true},
		{"has none beside it by its name", partial, refuse(86), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var gone atomic.Bool // the operator's index
			s := &scriptedMongo{}
			s.answer = func(name string, c bson.M) bson.M {
				switch {
				case name == "listIndexes" && c[name] == "dead_letter_events" && !gone.Load():
					return cursorAnswer(test.existing)
				case name == "find" && c[name] == "dead_letter_events" && strings.Contains(fmt.Sprint(c["filter"]), "deadAt"):
					return cursorAnswer(bson.M{"_id": "2"}, bson.M{"_id": "1"})
				case test.answer != nil && !gone.Load() && (c[name] == "dead_letter_events"):
					return test.answer(name, c)
				}
				return nil
			}
			c := testConfig(s.start(t))
			c.Retention = persistence.Retention{DeadLetterTTL: time.Hour, LedgerTTL: time.Hour}
			var log storetest.Buffer
			c.Log = slog.New(slog.NewTextHandler(&log, nil))
			m := openTest(t, c)
			if err := m.Ping(t.Context()); err != nil {
				t.Fatalf("the store does not work: %v", err)
			}
			made := map[string]bool{} // collections with all of their other indexes
			for _, c := range s.named("createIndexes") {
				made[c["createIndexes"].(string)] = made[c["createIndexes"].(string)] || strings.Contains(fmt.Sprint(c["indexes"]), "by_key")
			}
			if !made["dead_letter_events"] || !made["processed_events"] {
				t.Errorf("indexes are made of %v only", made)
			}
			s.forget()
			swept := storetest.Must(m.Sweep(t.Context(), storetest.Noon))
			if !test.swept {
				if len(m.Problems()) > 0 || len(s.named("delete")) > 0 || swept != (persistence.Swept{}) {
					t.Errorf("problems are %q, swept was %+v", m.Problems(), swept)
				}
				return
			}
			if p := m.Problems(); len(p) != 1 || !strings.Contains(p[0], "dead_letter_events") || !strings.Contains(p[0], "dropIndex") {
				t.Errorf("problems are %q", p)
			}
			if !strings.Contains(log.String(), "level=WARN") {
				t.Errorf("the log says %q", log.String())
			}
			if swept != (persistence.Swept{DeadLetters: 2}) {
				t.Errorf("swept was %+v", swept)
			}
			deletes := s.named("delete")
			if len(deletes) != 1 || !slices.Equal(bulkIDs(deletes[0]), []string{"1", "2"}) || !strings.Contains(fmt.Sprint(deletes[0]["deletes"]), "deadAt") {
				t.Errorf("deleted %v", deletes)
			}
			gone.Store(true)
			storetest.Must(m.Sweep(t.Context(), storetest.Noon))
			s.forget()
			storetest.Must(m.Sweep(t.Context(), storetest.Noon))
			if len(m.Problems()) > 0 || len(s.named("delete")) > 0 {
				t.Errorf("when the index is gone, problems are %q and deleted is %v", m.Problems(), s.named("delete"))
			}
		})
	}
}

// TestSweepsInPieces has more rows expire than one command deletes.
func TestSweepsInPieces(t *testing.T) {
	t.Parallel()
	left := manyRecords(maxDeletes + 5)
	s := &scriptedMongo{}
	s.answer = func(name string, c bson.M) bson.M {
		switch {
		case name == "find" && strings.Contains(fmt.Sprint(c["filter"]), "$lte"):
			n := min(len(left), int(c["limit"].(int64)))
			piece := left[:n]
			left = left[n:]
			return cursorAnswer(piece...)
		case name == "createIndexes" && strings.Contains(fmt.Sprint(c["indexes"]), "expireAfterSeconds"):
			return bson.M{"ok": 0, "code": 85, "errmsg": "failed"}
		}
		return nil
	}
	c := testConfig(s.start(t))
	c.Retention = persistence.Retention{IngestionTTL: time.Hour}
	m := openTest(t, c)
	if err := m.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if swept := storetest.Must(m.Sweep(t.Context(), storetest.Noon)); swept.Ingestions != maxDeletes+5 || len(s.named("delete")) != 2 {
		t.Errorf("swept was %+v, in %d commands", swept, len(s.named("delete")))
	}
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

// TestExpiry checks the commands that set the retention.
func TestExpiry(t *testing.T) {
	t.Parallel()
	ttl := func(seconds int) bson.M {
		return bson.M{"v": 2, "name": "old_name", "key": bson.D{{Key: "endedAt", Value: 1}}, "expireAfterSeconds": seconds}
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
			if text := fmt.Sprint(c["indexes"]); c["createIndexes"] == "processed_events" && strings.Contains(text, "3600") && strings.Contains(text, "endedAt") {
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
