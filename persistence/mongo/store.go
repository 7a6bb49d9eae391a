// Package mongo is the store in a MongoDB, version 4.4 or later. [Open] takes its
// settings, rows of package event come in and go out. The main package opens it.
package mongo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	drivers "go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/persistence"
)

// Config says how to reach a MongoDB, version 4.4 or later.
type Config struct {
	// URI names hosts, credentials and TLS. What is set below, the read and write
	// concerns (the majority's) and the read preference can't be changed by it.
	URI      string
	Database string
	// MaxConns bounds the connections to each server, MinConns are kept open.
	MaxConns, MinConns int
	// ConnectTimeout bounds the making of a connection.
	ConnectTimeout time.Duration
	// SelectTimeout is how long to look for a primary before the store counts as
	// down.
	SelectTimeout time.Duration
	// OperationTimeout bounds every round trip, the search for a primary and for a
	// free connection included. A server that does not answer in time is down.
	OperationTimeout time.Duration
	// Writes says which rows this process writes; their indexes and their retention
	// are its business. Those of others it leaves alone, because services that share
	// a database may be configured apart.
	Writes Rows
	// ShortenTTL lets a retention be set that is shorter than the one in the
	// database, which deletes rows at once. Without it the longer one stays, so that
	// a service which was never told of it can't delete what others keep.
	ShortenTTL bool
	Retention  persistence.Retention
	Log        *slog.Logger
	Registerer prometheus.Registerer // may be nil

	monitor *drivers.CommandMonitor // sees every command, for tests
}

// Rows are kinds of rows.
type Rows uint8

// The kinds: what becomes of events (ledger, shipments, dead letters), and what the
// intake tells of requests.
const (
	Events Rows = 1 << iota
	IngestionRecords
)

func (c Config) check() error {
	var faults event.Faults
	faults.Check(c.Database != "", "Database", "is empty")
	faults.Check(c.MaxConns >= 1, "MaxConns", "is %d, must be at least 1", c.MaxConns)
	faults.Check(c.MinConns >= 0 && c.MinConns <= c.MaxConns, "MinConns", "is %d, must be 0 to %d", c.MinConns, c.MaxConns)
	faults.Check(c.ConnectTimeout > 0, "ConnectTimeout", "is %s, must be more than 0", c.ConnectTimeout)
	faults.Check(c.SelectTimeout > 0, "SelectTimeout", "is %s, must be more than 0", c.SelectTimeout)
	faults.Check(c.OperationTimeout > 0, "OperationTimeout", "is %s, must be more than 0", c.OperationTimeout)
	faults.Check(c.Log != nil, "Log", "is not set")
	faults.Check(c.Writes != 0, "Writes", "is empty: no rows are named")
	faults.Check(!slices.ContainsFunc(c.Retention.TTLs(), func(ttl time.Duration) bool { return ttl%time.Second != 0 }),
		"Retention", "%+v is not in whole seconds, as MongoDB has it", c.Retention)
	faults.Check(slices.Max(c.Retention.TTLs()) <= math.MaxInt32*time.Second,
		"Retention", "%+v is more than MongoDB's 68 years", c.Retention)
	c.Retention.Check(&faults)
	return faults.Err()
}

// options returns the driver's settings.
func (c Config) options() *options.ClientOptions {
	durable := writeconcern.Majority()
	journal := true
	durable.Journal = &journal // what a server without replicas does not do by itself
	return options.Client().ApplyURI(c.URI).
		SetAppName("courier-gateway").
		SetMaxPoolSize(uint64(c.MaxConns)).SetMinPoolSize(uint64(c.MinConns)).
		SetConnectTimeout(c.ConnectTimeout).SetServerSelectionTimeout(c.SelectTimeout).SetTimeout(c.OperationTimeout).
		SetWriteConcern(durable).SetReadConcern(readconcern.Majority()).SetReadPreference(readpref.Primary()).
		// With a deadline the driver retries as often as it can until then, without a
		// pause: thousands of requests a second to a server in trouble. The store
		// retries by itself, see [Store.retried], and the workers after it.
		SetRetryReads(false).SetRetryWrites(false).
		SetMonitor(c.monitor)
}

// Mongo is the store in a MongoDB. Rows have their natural key as _id, times are
// text (see [persistence.Store]), and what expires carries a date for the TTL index as well.
//
// The store connects and makes its indexes in the background: a database that is
// down does not keep the appliance from starting, because intake goes on without
// it. Until the store is ready, Ping says why it is not, and every other call
// fails with DependencyDown for the same reason.
type Store struct {
	config     Config
	metrics    *persistence.StoreMetrics
	client     *mongo.Client
	records    *mongo.Collection
	shipments  *mongo.Collection
	letters    *mongo.Collection
	ingestions *mongo.Collection
	bound      *persistence.IngestionLimit

	close func() error
	// waited is closed when the first attempt to get ready has ended or has taken
	// longer than a round trip may, so that calls stop waiting for it.
	waited chan struct{}

	mu      sync.Mutex
	problem error             // why the store is not ready, nil when it is
	server  serverHello       // what the server said of itself when the store got ready
	sweeps  []sweep           // the collections that no TTL index expires
	advice  map[string]string // by collection and key of an index, what an operator should do
	warned  map[string]bool   // what has been warned of, which is as much as there are indexes
}

var _ persistence.Store = (*Store)(nil)

// The pause between attempts to get ready grows from first to last.
const (
	firstPause = 250 * time.Millisecond
	lastPause  = 5 * time.Second
)

// Open returns a store that gets ready in the background; ctx lends it its
// values only. It fails for a configuration that can't work whatever the server
// does.
func Open(ctx context.Context, c Config) (*Store, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("mongodb store: %w", err)
	}
	client, err := mongo.Connect(c.options())
	if err != nil {
		return nil, fmt.Errorf("mongodb store: %w", err)
	}
	metrics, err := persistence.NewStoreMetrics(c.Registerer, "mongodb")
	if err != nil {
		return nil, fmt.Errorf("mongodb store: %w", errors.Join(err, client.Disconnect(ctx)))
	}
	db := client.Database(c.Database)
	m := &Store{
		config: c, metrics: metrics, client: client,
		records:    db.Collection("processed_events"),
		shipments:  db.Collection("active_shipments"),
		letters:    db.Collection("dead_letter_events"),
		ingestions: db.Collection("ingestion_records"),
		bound:      persistence.NewIngestionLimit(c.Retention.IngestionsPerCourier),
		waited:     make(chan struct{}),
		problem:    errors.New("the store is getting ready"),
		advice:     map[string]string{},
		warned:     map[string]bool{},
	}
	base := context.WithoutCancel(ctx)
	background, stop := context.WithCancel(base)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		m.getReady(background)
	}()
	m.close = sync.OnceValue(func() error {
		stop()
		<-stopped
		ctx, cancel := context.WithTimeout(base, c.OperationTimeout)
		defer cancel()
		return client.Disconnect(ctx)
	})
	return m, nil
}

// getReady makes the indexes, trying until it has worked or ctx ends.
func (m *Store) getReady(ctx context.Context) {
	enough := sync.OnceFunc(func() { close(m.waited) })
	long := time.AfterFunc(m.config.OperationTimeout, enough)
	defer long.Stop()
	said := ""
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := m.prepare(ctx)
		m.hinder(err)
		switch {
		case err == nil:
			m.config.Log.Info("database is ready", "store", m.Name(), "database", m.config.Database)
		case err.Error() != said && ctx.Err() == nil:
			said = err.Error()
			m.config.Log.Error("database is not ready, nothing is processed until it is", "store", m.Name(), "error", err)
		}
		enough()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// prepare asks the server what it takes and makes the indexes.
func (m *Store) prepare(ctx context.Context) error {
	server, err := m.greet(ctx)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.server = server
	m.mu.Unlock()
	return m.ensureIndexes(ctx)
}

// limits returns what one command to the server may hold.
func (m *Store) limits() bulkLimits {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.server.limits()
}

// hinder sets what stands in the way, nil for nothing.
func (m *Store) hinder(problem error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.problem = problem
}

// explain replaces what stands in the way, if anything does.
func (m *Store) explain(problem error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.problem != nil {
		m.problem = problem
	}
}

// ready waits for the first attempt to get ready, for a while, and returns what
// stands in the way.
func (m *Store) ready(ctx context.Context) error {
	select {
	case <-m.waited:
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.Canceled) {
			return ctx.Err()
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.problem != nil {
		return &event.Error{Code: event.DependencyDown, Op: "mongodb", Err: m.problem}
	}
	return nil
}

// Name implements [persistence.Store].
func (m *Store) Name() string { return "mongodb" }

// Close implements [persistence.Store]. It waits for operations under way no longer than one
// round trip may take.
func (m *Store) Close() error { return m.close() }

// Ping implements [persistence.Store].
func (m *Store) Ping(ctx context.Context) error {
	return m.do(ctx, "ping", func(ctx context.Context) error {
		return m.retried(ctx, func(ctx context.Context) error { return m.client.Ping(ctx, readpref.Primary()) })
	})
}

// do runs an operation once the store is ready.
func (m *Store) do(ctx context.Context, op string, fn func(context.Context) error) error {
	began := time.Now()
	err := m.ready(ctx)
	if err == nil {
		err = fn(ctx)
	}
	err = mapError(ctx, op, err)
	m.metrics.Observe(op, began, err)
	return err
}

// trip bounds one round trip.
func (m *Store) trip(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, m.config.OperationTimeout)
}
