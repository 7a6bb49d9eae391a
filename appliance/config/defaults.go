package config

import (
	"math"
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
		Admin:           AdminConfig{Listen: "127.0.0.1:8081", Tokens: map[string]AdminToken{}},
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

// maxWait is the most that an event may wait for its next attempt.
const maxWait = 24 * time.Hour

// follow changes defaults that do not fit a key which is set, so that setting one key does
// not require setting another.
func (l *Loaded) follow() {
	q, p := &l.JetStream, &l.Process
	followed(l, "jetstream.history_high_water_bytes", &q.HighWaterBytes, min(q.HighWaterBytes, max(1, q.MaxBytes/4)), "jetstream.max_bytes")
	followed(l, "jetstream.history_low_water_bytes", &q.LowWaterBytes, min(q.LowWaterBytes, max(1, q.HighWaterBytes/2)), "jetstream.history_high_water_bytes")
	followed(l, "jetstream.history_max_age", &q.HistoryMaxAge, max(q.HistoryMaxAge, q.DuplicateWindow), "jetstream.duplicate_window")
	followed(l, "jetstream.max_ack_pending", &q.MaxAckPending, max(q.MaxAckPending, p.Workers*p.BatchSize), "process.workers and process.batch_size")
	followed(l, "process.batch_size", &p.BatchSize, min(p.BatchSize, max(1, q.MaxAckPending/max(1, p.Workers))), "jetstream.max_ack_pending")
	followed(l, "process.retry_multiplier", &p.RetryMultiplier, min(p.RetryMultiplier, p.steepest()), "process.max_attempts")
	most := l.Ingest.MaxBodyBytes
	for _, courier := range l.Couriers {
		most = max(most, courier.MaxBodyBytes)
	}
	followed(l, "ingest.max_body_bytes", &l.Ingest.MaxBodyBytes, most, "max_body_bytes of a courier")
}

// followed gives a setting that was not made a value, and says of which other one it is.
func followed[T comparable](l *Loaded, key string, setting *T, value T, other string) {
	if _, made := l.Origins[key]; !made && value != *setting {
		*setting, l.Origins[key] = value, "follows "+other
	}
}

// lastWait is how long an event waits for its last attempt.
func (c ProcessConfig) lastWait() float64 {
	return c.RetryBase.Seconds() * math.Pow(c.RetryMultiplier, float64(c.MaxAttempts-2))
}

// steepest returns the largest multiplier, in hundredths, that keeps waits within
// [maxWait]; 1 when none does.
func (c ProcessConfig) steepest() float64 {
	most := math.Pow(maxWait.Seconds()/c.RetryBase.Seconds(), 1/float64(c.MaxAttempts-2))
	if c.MaxAttempts <= 2 || c.RetryBase <= 0 {
		return c.RetryMultiplier
	}
	return max(1, math.Floor(100*most)/100)
}
