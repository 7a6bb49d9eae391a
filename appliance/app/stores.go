package app

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/persistence"
	"github.com/fincart/courier-gateway/persistence/mongo"
	"github.com/fincart/courier-gateway/persistence/redis"
	"github.com/fincart/courier-gateway/persistence/sqlite"
)

// Settings of the stores that nobody has needed to change.
const (
	redisConnectTimeout = time.Second
	redisMaxFailures    = 3
	redisProbeEvery     = 500 * time.Millisecond

	sqliteFile        = "store.db"
	sqliteReaders     = 4
	sqliteCacheBytes  = 16 << 20
	sqliteBusyTimeout = 5 * time.Second
)

// openStore opens the store that the configuration asks for, keeps its retention,
// and registers the stops of both.
func openStore(
	ctx context.Context, cfg config.Config, life *lifecycle, log *slog.Logger, registry prometheus.Registerer,
) (persistence.Store, error) {
	store, err := makeStore(ctx, cfg, log, registry)
	if err != nil {
		return nil, err
	}
	life.onStop("store", func(context.Context) error { return store.Close() })
	life.run("retention of the store", func(ctx context.Context) error {
		return sweep(ctx, store, cfg.Persistence.SweepEvery, log)
	})
	return store, nil
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
			return nil, fmt.Errorf("persistence.mongo_uri: %w", err)
		}
		return mongo.Open(ctx, mongo.Config{
			URI: string(uri), Database: p.MongoDatabase, MaxConns: p.MongoPool, MinConns: 1,
			ConnectTimeout: p.MongoTimeout, SelectTimeout: p.MongoTimeout / 2, OperationTimeout: p.MongoTimeout,
			Writes: rowsWritten(cfg.Role), ShortenTTL: p.MongoShortenTTL, Retention: retention, Log: log, Registerer: registry,
		})
	}
	return sqlite.Open(ctx, sqlite.Config{
		Path: filepath.Join(cfg.DataDir, sqliteFile), Readers: sqliteReaders, CacheBytes: sqliteCacheBytes,
		BusyTimeout: sqliteBusyTimeout, Reopen: true, Retention: retention, Log: log, Registerer: registry,
	})
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
		life.onStop("cache", func(context.Context) error { return cache.Close() })
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
	return redis.New(ctx, redis.Config{
		URL: string(address), Prefix: p.RedisPrefix, TTL: p.RedisTTL, MaxConns: p.RedisPool,
		ConnectTimeout: redisConnectTimeout, OperationTimeout: p.RedisTimeout,
		MaxFailures: redisMaxFailures, ProbeEvery: redisProbeEvery, Log: log, Registerer: registry,
	})
}

// buildInfo is a metric that is always 1 and tells the version.
func buildInfo(version string) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "courier_gateway_build_info", Help: "Always 1; the labels tell what is running.",
		ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()},
	})
	g.Set(1)
	return g
}
