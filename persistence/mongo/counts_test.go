package mongo

import (
	"fmt"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/persistence/storetest"
)

// TestCountsSayWhatTheyEstimate has a server with many rows, and one with few.
func TestCountsSayWhatTheyEstimate(t *testing.T) {
	t.Parallel()
	rows := map[string]int{
		`{"status":"processed"}`: 5_000_000, `{"status":"failed"}`: 2_000_000, `{"status":"dead_lettered"}`: 999_999,
		`{"_id":{"$gte":""}}`: 3_000_000, `{"reviewStatus":"pending"}`: 1_000_000, `{"outcome":"refused"}`: 7,
	}
	estimates := map[string]int{"processed_events": 8_100_000, "active_shipments": 3_000_001}
	s := &scriptedMongo{answer: func(name string, c bson.M) bson.M {
		if name != "count" {
			return nil
		}
		query, asked := c["query"].(bson.D)
		if !asked || len(query) == 0 {
			return bson.M{"ok": 1, "n": estimates[fmt.Sprint(c["count"])]}
		}
		return bson.M{"ok": 1, "n": min(rows[query.String()], int(c["limit"].(int32)))}
	}}
	m := openTest(t, testConfig(s.start(t)))
	got := storetest.Must(m.Counts(t.Context()))
	storetest.Same(t, got.Approximate, map[string]string{"processed": "about", "failed": "at least", "pending": "at least", "shipments": "about"})
	if n := got.Records[event.Processed]; n != 8_100_000-1_999_999 {
		t.Errorf("about %d processed", n)
	}
	if got.Records[event.DeadLettered] != 999_999 || got.Records[event.Failed] != 1_000_000 || got.Shipments != 3_000_001 {
		t.Errorf("counted %+v", got)
	}

	if counted := fmt.Sprint(s.named("count")); strings.Contains(counted, "processed\"}") || strings.Contains(counted, "$gte") {
		t.Errorf("what is estimated is counted, too: %s", counted)
	}

	rows = map[string]int{`{"status":"processed"}`: 99_999, `{"_id":{"$gte":""}}`: 2}
	estimates["processed_events"], estimates["active_shipments"] = 50, 50 // after a crash
	got = storetest.Must(m.Counts(t.Context()))
	if got.Approximate != nil || got.Records[event.Processed] != 99_999 || got.Shipments != 2 {
		t.Errorf("counted %+v", got)
	}
}
