// Package config holds the settings of an appliance.
//
//	defaults ▸ file ▸ environment ▸ flags ──Load──▶ Loaded ──Check──▶ Config
//	                                                   │
//	                                    presets below each courier's own settings
//
// Config is plain data, passed by value. Its methods translate it for the packages that
// it configures (adapters.go) and read secrets where they are needed, never before.
// Unknown keys are faults, and all faults are reported at once, by their keys. Packages
// appliance and appliance/app call it, and no other.
package config

import (
	"time"

	"github.com/fincart/courier-gateway/jetstream"
)

// Config is everything that can be set, by value. The file appliance.toml
// explains every key; a test keeps it and [Defaults] the same.
type Config struct {
	Role            string             `koanf:"role"`
	DataDir         string             `koanf:"data_dir"`
	ShutdownTimeout time.Duration      `koanf:"shutdown_timeout"`
	Log             LogConfig          `koanf:"log"`
	Ingest          IngestConfig       `koanf:"ingest"`
	Admin           AdminConfig        `koanf:"admin"`
	JetStream       JetStreamConfig    `koanf:"jetstream"`
	Process         ProcessConfig      `koanf:"process"`
	Persistence     PersistenceConfig  `koanf:"persistence"`
	Couriers        map[string]Courier `koanf:"couriers"`
}

// LogConfig says what is logged and how.
type LogConfig struct {
	Level  string `koanf:"level"`
	Format string `koanf:"format"`
}

// IngestConfig holds the limits of the public listener.
type IngestConfig struct {
	Listen         string        `koanf:"listen"`
	DefaultCourier string        `koanf:"default_courier"`
	MaxBodyBytes   int           `koanf:"max_body_bytes"`
	MaxHeaderBytes int           `koanf:"max_header_bytes"`
	ReadTimeout    time.Duration `koanf:"read_timeout"`
	MinBodyRate    int           `koanf:"min_body_bytes_per_second"`
	WriteTimeout   time.Duration `koanf:"write_timeout"`
	IdleTimeout    time.Duration `koanf:"idle_timeout"`
	MaxConns       int           `koanf:"max_connections"`
	MaxConnsPerIP  int           `koanf:"max_connections_per_address"`
	RetryAfter     time.Duration `koanf:"retry_after"`
	DrainDelay     time.Duration `koanf:"drain_delay"`
	TLSCertFile    string        `koanf:"tls_cert_file"`
	TLSKeyFile     string        `koanf:"tls_key_file"`
	PublicURL      string        `koanf:"public_url"`
	TrustedProxies []string      `koanf:"trusted_proxies"`

	// What is kept of refused requests.
	RecordBodyBytes int     `koanf:"record_body_bytes"`
	RecordPerSecond float64 `koanf:"record_per_second"`
}

// AdminConfig holds the operators' listener.
type AdminConfig struct {
	Listen      string                `koanf:"listen"`
	Token       Secret                `koanf:"token"`
	Tokens      map[string]AdminToken `koanf:"tokens"`
	OpenMetrics bool                  `koanf:"open_metrics"`
	TLSCertFile string                `koanf:"tls_cert_file"`
	TLSKeyFile  string                `koanf:"tls_key_file"`
}

// JetStreamConfig holds the queue's settings.
type JetStreamConfig struct {
	Mode             string        `koanf:"mode"`
	Sync             string        `koanf:"sync"`
	MaxBytes         int64         `koanf:"max_bytes"`
	MaxMemoryBytes   int64         `koanf:"max_memory_bytes"`
	DiskReserveBytes int64         `koanf:"disk_reserve_bytes"`
	HighWaterBytes   int64         `koanf:"history_high_water_bytes"`
	LowWaterBytes    int64         `koanf:"history_low_water_bytes"`
	HistoryMaxAge    time.Duration `koanf:"history_max_age"`
	DuplicateWindow  time.Duration `koanf:"duplicate_window"`
	PublishTimeout   time.Duration `koanf:"publish_timeout"`
	MaxInFlight      int           `koanf:"max_in_flight"`
	AckWait          time.Duration `koanf:"ack_wait"`
	MaxAckPending    int           `koanf:"max_ack_pending"`
	StampKeys        []Secret      `koanf:"stamp_keys"`

	// For an external broker.
	URLs            []string `koanf:"urls"`
	CredentialsFile string   `koanf:"credentials_file"`
	TLSCAFile       string   `koanf:"tls_ca_file"`
	TLSCertFile     string   `koanf:"tls_cert_file"`
	TLSKeyFile      string   `koanf:"tls_key_file"`
	Replicas        int      `koanf:"replicas"`
}

// ProcessConfig holds the workers' settings.
type ProcessConfig struct {
	Workers         int           `koanf:"workers"`
	BatchSize       int           `koanf:"batch_size"`
	MaxAttempts     int           `koanf:"max_attempts"`
	RetryBase       time.Duration `koanf:"retry_base"`
	RetryMultiplier float64       `koanf:"retry_multiplier"`
	RetryJitter     float64       `koanf:"retry_jitter"`
	ReconcileEvery  time.Duration `koanf:"reconcile_every"`
	ReconcileGrace  time.Duration `koanf:"reconcile_grace"`
	DeadLetterAlarm int           `koanf:"dead_letter_alarm"`
}

// PersistenceConfig holds the stores' settings.
type PersistenceConfig struct {
	CacheEntries  int           `koanf:"cache_entries"`
	LedgerTTL     time.Duration `koanf:"ledger_ttl"`
	DeadLetterTTL time.Duration `koanf:"dead_letter_ttl"`
	ShipmentTTL   time.Duration `koanf:"shipment_ttl"`
	IngestionTTL  time.Duration `koanf:"ingestion_ttl"`
	SweepEvery    time.Duration `koanf:"sweep_every"`

	IngestionsPerCourier int `koanf:"ingestions_per_courier"`

	MongoURI      Secret        `koanf:"mongo_uri"`
	MongoDatabase string        `koanf:"mongo_database"`
	MongoPool     int           `koanf:"mongo_max_pool"`
	MongoTimeout  time.Duration `koanf:"mongo_timeout"`

	AcceptOlderStore bool `koanf:"accept_older_store"`

	MongoShortenTTL bool `koanf:"mongo_shorten_ttl"`

	RedisURL     Secret        `koanf:"redis_url"`
	RedisPrefix  string        `koanf:"redis_prefix"`
	RedisPool    int           `koanf:"redis_max_pool"`
	RedisTimeout time.Duration `koanf:"redis_timeout"`
	RedisTTL     time.Duration `koanf:"redis_ttl"`
}

// The broker's modes.
const (
	ModeEmbedded = jetstream.ModeEmbedded
	ModeExternal = jetstream.ModeExternal
)

// What an acknowledgement waits for.
const (
	SyncGroup    = jetstream.SyncGroup
	SyncAlways   = jetstream.SyncAlways
	SyncInterval = jetstream.SyncInterval
)

// The roles of a process.
const (
	RoleAll     = "all"
	RoleIngest  = "ingest"
	RoleProcess = "process"
)
