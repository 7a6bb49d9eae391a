package config

import (
	"time"

	"github.com/fincart/courier-gateway/ingest"
	"github.com/fincart/courier-gateway/jetstream"
	"github.com/fincart/courier-gateway/persistence"
	"github.com/fincart/courier-gateway/persistence/mongo"
	"github.com/fincart/courier-gateway/persistence/redis"
	"github.com/fincart/courier-gateway/process"
)

const (
	mebi = int64(1) << 20
	day  = 24 * time.Hour
)

// Defaults returns the configuration of an appliance for which nothing is set. What a part
// of the appliance has a default for, is read from there.
func Defaults() Config {
	return Config{
		Role:            RoleAll,
		DataDir:         "data",
		ShutdownTimeout: 20 * time.Second,
		Log:             LogConfig{Level: "info", Format: "text"},
		Ingest:          ingestDefaults(),
		Admin:           AdminConfig{Listen: "127.0.0.1:8081"},
		JetStream:       jetStreamDefaults(),
		Process:         processDefaults(),
		Persistence:     persistenceDefaults(),
		Couriers:        map[string]Courier{},
	}
}

// ingestDefaults returns those that the intake has.
func ingestDefaults() IngestConfig {
	c := ingest.DefaultConfig()
	return IngestConfig{
		Listen: c.Listen, MaxBodyBytes: c.MaxBodyBytes, MaxHeaderBytes: c.MaxHeaderBytes,
		ReadTimeout: c.ReadTimeout, MinBodyRate: c.MinBodyBytesPerSecond, WriteTimeout: c.WriteTimeout, IdleTimeout: c.IdleTimeout,
		MaxConns: c.MaxConns, MaxConnsPerIP: c.MaxConnsPerIP, RetryAfter: c.RetryAfter,
		TrustedProxies: []string{}, RecordBodyBytes: c.Records.BodyBytes, RecordPerSecond: c.Records.PerSecond,
	}
}

// jetStreamDefaults returns those that the queue has.
func jetStreamDefaults() JetStreamConfig {
	c := jetstream.Defaults()
	return JetStreamConfig{
		Mode: c.Mode, Sync: c.Sync, MaxBytes: c.MaxBytes, MaxMemoryBytes: c.MaxMemoryBytes, DiskReserveBytes: c.DiskReserveBytes,
		HighWaterBytes: c.HistoryHighBytes, LowWaterBytes: c.HistoryLowBytes, HistoryMaxAge: c.HistoryMaxAge,
		DuplicateWindow: c.DuplicateWindow, PublishTimeout: c.PublishTimeout, MaxInFlight: c.MaxInFlight,
		AckWait: c.AckWait, MaxAckPending: c.MaxAckPending, StampKeys: []Secret{},
		URLs: []string{}, Replicas: c.Replicas,
	}
}

// processDefaults returns those of the workers; waits between attempts are those that
// package process has.
func processDefaults() ProcessConfig {
	p := process.DefaultPolicy()
	return ProcessConfig{
		Workers: 2, BatchSize: 256, MaxAttempts: p.MaxAttempts,
		RetryBase: p.Base, RetryMultiplier: p.Multiplier, RetryJitter: p.Jitter,
		ReconcileEvery: time.Second, ReconcileGrace: time.Minute, DeadLetterAlarm: 100,
	}
}

// persistenceDefaults returns those that the stores and caches have.
func persistenceDefaults() PersistenceConfig {
	keep, m, r := persistence.DefaultRetention(), mongo.DefaultConfig(), redis.DefaultConfig()
	return PersistenceConfig{
		CacheEntries: persistence.DefaultCacheEntries, SweepEvery: persistence.DefaultSweepEvery,
		LedgerTTL: keep.LedgerTTL, DeadLetterTTL: keep.DeadLetterTTL, ShipmentTTL: keep.ShipmentTTL,
		IngestionTTL: keep.IngestionTTL, IngestionsPerCourier: keep.IngestionsPerCourier,
		MongoDatabase: m.Database, MongoPool: m.MaxConns, MongoTimeout: m.OperationTimeout,
		RedisPrefix: r.Prefix, RedisPool: r.MaxConns, RedisTimeout: r.OperationTimeout, RedisTTL: r.TTL,
	}
}
