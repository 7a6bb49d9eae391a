package mongo

import (
	"errors"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	drivers "go.mongodb.org/mongo-driver/v2/event"

	"github.com/prometheus/client_golang/prometheus"
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
	// Writes says which rows this process writes. It makes their indexes and sets their
	// retention, and no others: services that share a database may be configured
	// differently.
	Writes Rows
	// ShortenTTL allows a retention that is shorter than the one in the database, which
	// deletes rows at once. Without it the longer one is kept, so that a service with
	// other settings can't delete what others keep.
	ShortenTTL bool
	Retention  persistence.Retention
	Log        *slog.Logger
	Registerer prometheus.Registerer // may be nil

	monitor *drivers.CommandMonitor // sees every command, for tests
}

// Rows are kinds of rows.
type Rows uint8

// The kinds: what becomes of events (ledger, shipments, dead letters), and what the
// intake records of requests.
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

// CheckURI returns what is wrong with a connection string, without a part of it: it may hold
// a password. It asks nobody, so of the servers that stand in the DNS it looks at none.
func CheckURI(uri string) error {
	host, inDNS := strings.CutPrefix(uri, "mongodb+srv://")
	if inDNS && host != "" || !inDNS && options.Client().ApplyURI(uri).Validate() == nil {
		return nil
	}
	return errors.New("is not mongodb://USER:PASSWORD@HOST:PORT/?OPTIONS or mongodb+srv:// with the same, with options and files that the driver takes: " +
		"characters of a password that mean something in a URL are written as %40 for @")
}

// options returns the driver's settings.
func (c Config) options() *options.ClientOptions {
	durable := writeconcern.Majority()
	journal := true
	durable.Journal = &journal // a server without replicas does not do that by default
	return options.Client().ApplyURI(c.URI).
		SetAppName("courier-gateway").
		SetMaxPoolSize(uint64(c.MaxConns)).SetMinPoolSize(uint64(c.MinConns)).
		SetConnectTimeout(c.ConnectTimeout).SetServerSelectionTimeout(c.SelectTimeout).SetTimeout(c.OperationTimeout).
		SetWriteConcern(durable).SetReadConcern(readconcern.Majority()).SetReadPreference(readpref.Primary()).
		// With a deadline the driver retries as often as it can until then, without a
		// pause: thousands of requests a second to a failing server. The store retries
		// itself, see [server.retry], and the workers after it.
		SetRetryReads(false).SetRetryWrites(false).
		SetMonitor(c.monitor)
}

// DefaultConfig returns the settings of a store that the appliance needs, but for its URI,
// its Retention and what it Writes.
func DefaultConfig() Config {
	return Config{
		Database: "courier_gateway", MaxConns: 32, MinConns: 1,
		ConnectTimeout: 5 * time.Second, SelectTimeout: 2500 * time.Millisecond, OperationTimeout: 5 * time.Second,
	}
}

// WithTimeout returns c with a round trip bounded by d, and what leads to it within that.
func (c Config) WithTimeout(d time.Duration) Config {
	c.ConnectTimeout, c.SelectTimeout, c.OperationTimeout = d, d/2, d
	return c
}
