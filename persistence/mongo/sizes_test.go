package mongo

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/fincart/courier-gateway/persistence"
	"github.com/fincart/courier-gateway/persistence/storetest"
)

// TestSizes prints what a row of each collection takes, with -v: of the documents and index
// keys as they are sent and, where MONGO_URI names a server, of what it stores of 50,000
// events. docs/runbook.md has the figures.
func TestSizes(t *testing.T) {
	t.Parallel()
	s := &scriptedMongo{}
	c := testConfig(s.start(t))
	c.Retention = persistence.DefaultRetention()
	m := openTest(t, c)
	if err := m.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	indexes := madeIndexes(s)
	new(storetest.Batcher).Batch(t, m.Ledger, 256)
	storetest.CommitAll(t, m.Ledger, storetest.DeadLetters(storetest.FullLetter("1760000000000000000-0123456789abcdef", 1)))
	storetest.PutIngestions(t, m.Ingestions, storetest.FullIngestion(1))
	rows := map[string][]bson.Raw{}
	for _, c := range s.named("insert") {
		if in := fmt.Sprint(c["insert"]); in != "processed_events" { // which are replaced by what they end as
			for _, d := range c["documents"].([]bson.M) {
				rows[in] = append(rows[in], storetest.Must(bson.Marshal(d)))
			}
		}
	}
	for _, c := range s.named("update") {
		for _, u := range c["updates"].([]bson.M) {
			rows[fmt.Sprint(c["update"])] = append(rows[fmt.Sprint(c["update"])], storetest.Must(bson.Marshal(u["u"])))
		}
	}
	for in, most := range map[string]int{"processed_events": 900, "active_shipments": 700, "dead_letter_events": 1200, "ingestion_records": 1500} {
		document, keys := sizes(rows[in], indexes[in])
		t.Logf("%s: a document takes %d bytes, its keys in %d indexes %d", in, document, len(indexes[in])+1, keys)
		if document == 0 || document > most {
			t.Errorf("a document of %s takes %d bytes, more than the %d that a row may take", in, document, most)
		}
	}
	checkpoint := storetest.Must(bson.Marshal(newCheckpointDocument(storetest.FullShipment("c", "i").History[0])))
	t.Logf("active_shipments: a checkpoint of a history takes %d bytes", len(checkpoint))
	if os.Getenv("MONGO_URI") != "" {
		printStored(t)
	}
}

// sizes returns the mean size of documents, and of the values that their indexes hold.
func sizes(documents []bson.Raw, indexes []index) (document, keys int) {
	for _, d := range documents {
		document += len(d)
		for _, x := range append(slices.Clone(indexes), index{key: ascending("_id")}) {
			for _, e := range x.key {
				keys += len(d.Lookup(e.Key).Value)
			}
		}
	}
	return document / max(len(documents), 1), keys / max(len(documents), 1)
}

// printStored commits 50,000 events to the server and prints what a row takes there, after
// compression.
func printStored(t *testing.T) {
	c := realMongo(t)
	c.Retention = persistence.DefaultRetention()
	m := openTest(t, c)
	work := new(storetest.Batcher)
	for range 50 {
		work.Batch(t, m.Ledger, 1000)
	}
	db := connectTo(t, c)
	if err := db.Client().Database("admin").RunCommand(t.Context(), bson.D{{Key: "fsync", Value: 1}}).Err(); err != nil {
		t.Fatal(err) // sizes are those of the last checkpoint
	}
	for _, in := range []*table{m.indexes.records, m.indexes.shipments} {
		cursor := storetest.Must(in.rows.Aggregate(t.Context(), mongo.Pipeline{{{Key: "$collStats", Value: bson.D{{Key: "storageStats", Value: bson.D{}}}}}}))
		var stats []struct {
			Storage struct {
				Count       float64            `bson:"count"`
				StorageSize float64            `bson:"storageSize"`
				Indexes     map[string]float64 `bson:"indexSizes"`
			} `bson:"storageStats"`
		}
		if err := cursor.All(t.Context(), &stats); err != nil || len(stats) != 1 || stats[0].Storage.Count == 0 {
			t.Fatalf("%s: %v: %+v", in.name(), err, stats)
		}
		of := stats[0].Storage
		var parts []string
		for name, size := range of.Indexes {
			parts = append(parts, fmt.Sprintf("%s %.0f", name, size/of.Count))
		}
		slices.Sort(parts)
		t.Logf("%s: %.0f rows, stored in %.0f bytes each; indexes: %s", in.name(), of.Count, of.StorageSize/of.Count, strings.Join(parts, ", "))
	}
}
