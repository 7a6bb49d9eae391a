package mongo

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/FerretDB/FerretDB/ferretdb"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/fincart/courier-gateway/persistence/storetest"
)

// ferret starts, where MONGO_URI names no server, an embedded one that speaks MongoDB's protocol, one for all
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

// anyMongo returns the settings of a database of its own on the server that MONGO_URI names,
// which is dropped when the test ends, or, without one, on FerretDB.
func anyMongo(t testing.TB) (c Config, genuine bool) {
	t.Helper()
	c = testConfig(os.Getenv("MONGO_URI"))
	if c.URI == "" {
		c.URI = ferret().uri
		return c, false
	}
	c.MaxConns = 16
	db := connectTo(t, c) // registered before the test's stores are closed, so it ends after them
	t.Cleanup(func() {
		if err := db.Drop(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("drop %s: %v", c.Database, err)
		}
	})
	return c, true
}

// realMongo skips the test where there is no MongoDB.
func realMongo(t testing.TB) Config {
	t.Helper()
	if os.Getenv("MONGO_URI") == "" {
		t.Skip("MONGO_URI names no server to test against")
	}
	c, _ := anyMongo(t)
	return c
}

// connectTo returns a database as another program sees it.
func connectTo(t testing.TB, c Config) *mongo.Database {
	t.Helper()
	client := storetest.Must(mongo.Connect(c.options()))
	t.Cleanup(func() { _ = client.Disconnect(context.WithoutCancel(t.Context())) })
	return client.Database(c.Database)
}
