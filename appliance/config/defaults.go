package config

import (
	"time"

	"github.com/fincart/courier-gateway/persistence"
	"github.com/fincart/courier-gateway/persistence/mongo"
	"github.com/fincart/courier-gateway/persistence/redis"
)

const (
	mebi = int64(1) << 20
	gibi = int64(1) << 30
)

// Defaults returns the configuration of an appliance of which nothing was said.
func Defaults() Config {
	return Config{
		Role:            RoleAll,
		DataDir:         "data",
		ShutdownTimeout: 20 * time.Second,
		Log:             LogConfig{Level: "info", Format: "text"},
		Ingest: IngestConfig{
			Listen: ":8080", MaxBodyBytes: int(mebi), MaxHeaderBytes: 16 << 10,
			ReadTimeout: 10 * time.Second, MinBodyRate: 8 << 10, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute,
			MaxConns: 10_000, MaxConnsPerIP: 1_000, RetryAfter: 2 * time.Second,
			TrustedProxies: []string{}, RecordBodyBytes: 32 << 10, RecordPerSecond: 10,
		},
		Admin: AdminConfig{Listen: "127.0.0.1:8081"},
		JetStream: JetStreamConfig{
			Mode: ModeEmbedded, Sync: "group", MaxBytes: 8 * gibi, MaxMemoryBytes: 64 * mebi,
			DiskReserveBytes: 512 * mebi, HighWaterBytes: 2 * gibi, LowWaterBytes: gibi, HistoryMaxAge: 7 * day,
			DuplicateWindow: 2 * time.Minute, PublishTimeout: 5 * time.Second, MaxInFlight: 4096,
			AckWait: 30 * time.Second, MaxAckPending: 4096, StampKeys: []Secret{},
			URLs: []string{}, Replicas: 1,
		},
		Process: ProcessConfig{
			Workers: 2, BatchSize: 256, MaxAttempts: 5,
			RetryBase: time.Second, RetryMultiplier: 2, RetryJitter: 0.2,
			ReconcileEvery: time.Second, ReconcileGrace: time.Minute, DeadLetterAlarm: 100,
		},
		Persistence: persistenceDefaults(),
		Couriers:    map[string]Courier{},
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

const day = 24 * time.Hour
