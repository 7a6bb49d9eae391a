// Package mongo is the store in a MongoDB, version 4.4 or later. [Open] takes its
// settings; rows of package event come in and go out as documents. Package
// appliance/app opens it, the other packages use it as [persistence.Store].
//
//	collection            _id                      written by
//	processed_events      courier:idempotencyKey   Ledger
//	active_shipments      courier:shipmentId       Ledger
//	dead_letter_events    id of the dead letter    Ledger, DeadLetters
//	ingestion_records     id of the record         Ingestions
//	unmapped_statuses     courier                  Statuses
//
//	Ledger, DeadLetters, Ingestions, Statuses ──▶ table (one collection) ──▶ server (retries,
//	readiness, time-outs) ──▶ the driver
package mongo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/fincart/courier-gateway/persistence"
)

// Store is the store in a MongoDB. Rows have their natural key as _id, times are
// dates (see dates.go), by some of which rows expire.
//
// The store connects and makes its indexes in the background: a database that is down
// does not keep the appliance from starting, because the intake does not need it. Until
// the store is ready every call, Ping too, fails with DependencyDown and says why.
type Store struct {
	Ledger      *Ledger
	DeadLetters *DeadLetters
	Ingestions  *Ingestions
	Statuses    *Statuses

	server  *server
	indexes *indexes
	log     *slog.Logger
	close   func() error
}

var _ persistence.Database = (*Store)(nil)

// Open returns a store that gets ready in the background. It uses the values of ctx, not
// its deadline. It fails for a configuration that can't work whatever the server
// does.
func Open(ctx context.Context, c Config) (*Store, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("mongodb store: %w", err)
	}
	pool, err := newPoolMetrics(c.Registerer)
	if err != nil {
		return nil, fmt.Errorf("mongodb store: %w", err)
	}
	client, err := mongo.Connect(c.options().SetPoolMonitor(pool.monitor()))
	if err != nil {
		return nil, fmt.Errorf("mongodb store: %w", err)
	}
	metrics, err := persistence.NewStoreMetrics(c.Registerer, "mongodb")
	if err != nil {
		return nil, fmt.Errorf("mongodb store: %w", errors.Join(err, client.Disconnect(ctx)))
	}
	s := newStore(c, client, metrics)
	base := context.WithoutCancel(ctx)
	background, stop := context.WithCancel(base)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.getReady(background)
	}()
	s.close = sync.OnceValue(func() error {
		stop()
		<-stopped
		ctx, cancel := context.WithTimeout(base, c.OperationTimeout)
		defer cancel()
		return client.Disconnect(ctx)
	})
	return s, nil
}

func newStore(c Config, client *mongo.Client, metrics *persistence.StoreMetrics) *Store {
	srv := &server{
		db: client.Database(c.Database), timeout: c.OperationTimeout, metrics: metrics,
		waited: make(chan struct{}), problem: errors.New("the store is getting ready"),
	}
	collection := func(name string) *table { return &table{srv.db.Collection(name), srv} }
	x := &indexes{
		server:  srv,
		records: collection("processed_events"), shipments: collection("active_shipments"),
		letters: collection("dead_letter_events"), ingestions: collection("ingestion_records"),
		retention: c.Retention, writes: c.Writes, shortenTTL: c.ShortenTTL, log: c.Log,
		problems: &problems{log: c.Log, open: map[string]string{}, warned: map[string]bool{}},
	}
	return &Store{
		Ledger:      &Ledger{server: srv, records: x.records, shipments: x.shipments, letters: x.letters},
		DeadLetters: &DeadLetters{x.letters},
		Ingestions:  &Ingestions{x.ingestions, persistence.NewIngestionLimit(c.Retention.IngestionsPerCourier)},
		Statuses:    &Statuses{collection("unmapped_statuses")},
		server:      srv, indexes: x, log: c.Log,
	}
}

// Parts returns the store as the other packages see it.
func (s *Store) Parts() persistence.Store {
	return persistence.Store{Ledger: s.Ledger, DeadLetters: s.DeadLetters, Ingestions: s.Ingestions, Statuses: s.Statuses, Database: s}
}

// The pause between attempts to get ready grows from first to last.
const (
	firstPause = 250 * time.Millisecond
	lastPause  = 5 * time.Second
)

// getReady makes the indexes, again and again until that works or ctx ends.
func (s *Store) getReady(ctx context.Context) {
	stopWaiting := sync.OnceFunc(func() { close(s.server.waited) })
	timer := time.AfterFunc(s.server.timeout, stopWaiting)
	defer timer.Stop()
	logged := ""
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := s.prepare(ctx)
		s.server.setProblem(err)
		switch {
		case err == nil:
			s.log.Info("database is ready", "store", s.Name(), "database", s.server.db.Name())
		case err.Error() != logged && ctx.Err() == nil:
			logged = err.Error()
			s.log.Error("database is not ready, nothing is processed until it is", "store", s.Name(), "error", err)
		}
		stopWaiting()
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

// prepare asks the server what it accepts and makes the indexes.
func (s *Store) prepare(ctx context.Context) error {
	if err := s.server.identify(ctx); err != nil {
		return err
	}
	return s.indexes.ensureIndexes(ctx)
}

// Name implements [persistence.Database].
func (s *Store) Name() string { return "mongodb" }

// Close implements [persistence.Database]. It waits for operations under way no longer
// than one round trip may take.
func (s *Store) Close() error { return s.close() }

// Ping implements [persistence.Database].
func (s *Store) Ping(ctx context.Context) error { return s.server.ping(ctx) }

// Problems implements [persistence.Database].
func (s *Store) Problems() []string { return s.indexes.problems.list() }
