package app

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/persistence"
	"github.com/fincart/courier-gateway/persistence/mongo"
	"github.com/fincart/courier-gateway/persistence/redis"
	"github.com/fincart/courier-gateway/persistence/sqlite"
)

// sqliteFile is the embedded store's, in the data directory.
const sqliteFile = "store.db"

// openStore opens the store that the configuration asks for, keeps its retention,
// and registers the stops of both.
func openStore(
	ctx context.Context, cfg config.Config, life *lifecycle, log *slog.Logger, registry prometheus.Registerer,
) (persistence.Store, error) {
	store, err := makeStore(ctx, cfg, log, registry)
	if err != nil {
		return persistence.Store{}, err
	}
	life.OnStop("store", func(context.Context) error { return store.Database.Close() })
	life.Run("retention of the store", func(ctx context.Context) error {
		return sweep(ctx, store.Database, cfg.Persistence.SweepEvery, log)
	})
	return store, nil
}

// sweep removes from a store what has expired, every so often, until ctx ends.
func sweep(ctx context.Context, store persistence.Database, every time.Duration, log *slog.Logger) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		swept, err := store.Sweep(ctx, time.Now())
		switch {
		case err != nil && ctx.Err() == nil:
			log.Warn("can't remove what has expired, trying again", "error", err)
		case swept != persistence.Swept{}:
			log.Info("removed what has expired", "events", swept.Records, "dead_letters", swept.DeadLetters, "ingestions", swept.Ingestions)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func makeStore(ctx context.Context, cfg config.Config, log *slog.Logger, registry prometheus.Registerer) (persistence.Store, error) {
	p := cfg.Persistence
	retention := persistence.Retention{
		LedgerTTL: p.LedgerTTL, DeadLetterTTL: p.DeadLetterTTL, ShipmentTTL: p.ShipmentTTL,
		IngestionTTL: p.IngestionTTL, IngestionsPerCourier: p.IngestionsPerCourier,
	}
	if p.MongoURI.IsSet() {
		uri, err := p.MongoURI.Resolve()
		if err != nil {
			return persistence.Store{}, fmt.Errorf("persistence.mongo_uri: %w", err)
		}
		c := mongo.DefaultConfig().WithTimeout(p.MongoTimeout)
		c.URI, c.Database, c.MaxConns = string(uri), p.MongoDatabase, p.MongoPool
		c.Writes, c.ShortenTTL, c.Retention = rowsWritten(cfg.Role), p.MongoShortenTTL, retention
		c.Log, c.Registerer = log, registry
		store, err := mongo.Open(ctx, c)
		if err != nil {
			return persistence.Store{}, err
		}
		return store.Parts(), nil
	}
	c := sqlite.DefaultConfig()
	c.Path, c.Retention, c.Log, c.Registerer = filepath.Join(cfg.DataDir, sqliteFile), retention, log, registry
	store, err := sqlite.Open(ctx, c)
	if err != nil {
		return persistence.Store{}, err
	}
	return store.Parts(), nil
}

// rowsWritten returns which rows a process of that role writes.
func rowsWritten(role string) mongo.Rows {
	switch role {
	case config.RoleIngest:
		return mongo.IngestionRecords
	case config.RoleProcess:
		return mongo.Events
	default:
		return mongo.Events | mongo.IngestionRecords
	}
}

// openCache opens the cache that the configuration asks for and registers its stop.
func openCache(
	ctx context.Context, p config.PersistenceConfig, life *lifecycle, log *slog.Logger, registry prometheus.Registerer,
) (persistence.Cache, error) {
	cache, err := makeCache(ctx, p, log, registry)
	if err == nil {
		life.OnStop("cache", func(context.Context) error { return cache.Close() })
	}
	return cache, err
}

func makeCache(ctx context.Context, p config.PersistenceConfig, log *slog.Logger, registry prometheus.Registerer) (persistence.Cache, error) {
	if !p.RedisURL.IsSet() {
		return persistence.NewMemoryCache(p.CacheEntries)
	}
	address, err := p.RedisURL.Resolve()
	if err != nil {
		return nil, fmt.Errorf("persistence.redis_url: %w", err)
	}
	c := redis.DefaultConfig()
	c.URL, c.Prefix, c.TTL, c.MaxConns, c.OperationTimeout = string(address), p.RedisPrefix, p.RedisTTL, p.RedisPool, p.RedisTimeout
	c.Log, c.Registerer = log, registry
	return redis.New(ctx, c)
}
