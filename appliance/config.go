package main

import (
	"fmt"
	"math"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ops/admin"
)

// Config is everything that can be set, by value. The file appliance.toml
// explains every key; a test keeps it and [defaults] the same.
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
	Listen string `koanf:"listen"`
	Token  Secret `koanf:"token"`
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
	modeEmbedded = "embedded"
	modeExternal = "external"
)

// The roles of a process.
const (
	roleAll     = "all"
	roleIngest  = "ingest"
	roleProcess = "process"
)

const (
	mebi = int64(1) << 20
	gibi = int64(1) << 30
	day  = 24 * time.Hour
)

// defaults returns the configuration of an appliance of which nothing was said.
func defaults() Config {
	return Config{
		Role:            roleAll,
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
			Mode: modeEmbedded, Sync: "group", MaxBytes: 8 * gibi, MaxMemoryBytes: 64 * mebi,
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
		Persistence: PersistenceConfig{
			CacheEntries: 100_000, LedgerTTL: 30 * day, DeadLetterTTL: 90 * day, IngestionTTL: 7 * day, IngestionsPerCourier: 1000, SweepEvery: 10 * time.Minute,
			MongoDatabase: "courier_gateway", MongoPool: 32, MongoTimeout: 5 * time.Second,
			RedisPrefix: "courier-gateway:", RedisPool: 16, RedisTimeout: 10 * time.Millisecond, RedisTTL: day,
		},
		Couriers: map[string]Courier{},
	}
}

// faults collects everything wrong with a configuration, by its keys.
type faults event.Faults

// add adds a fault about a key, unless one is known: the first is the cause.
func (f *faults) add(key, format string, args ...any) {
	known := slices.ContainsFunc(*f, func(one event.Fault) bool { return one.Path == key })
	(*event.Faults)(f).Check(known, key, format, args...)
}

// check adds a fault unless ok.
func (f *faults) check(ok bool, key, format string, args ...any) {
	if !ok {
		f.add(key, format, args...)
	}
}

func (f *faults) oneOf(key, value string, allowed ...string) {
	for _, a := range allowed {
		if value == a {
			return
		}
	}
	f.add(key, "%q is not one of %s", value, strings.Join(allowed, ", "))
}

func (f *faults) positive(key string, d time.Duration) {
	f.check(d > 0, key, "%s is not more than 0", d)
}

// validate adds everything about the values that makes no sense.
func (c Config) validate(f *faults) {
	f.oneOf("role", c.Role, roleAll, roleIngest, roleProcess)
	f.check(c.DataDir != "", "data_dir", "is empty")
	f.positive("shutdown_timeout", c.ShutdownTimeout)
	f.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	f.oneOf("log.format", c.Log.Format, "text", "json")
	c.Ingest.validate(f, c.Couriers)
	c.Admin.validate(f)
	c.JetStream.validate(f, c.Role)
	c.Process.validate(f, c.JetStream)
	c.Persistence.validate(f)
	for _, name := range c.courierNames() {
		courier := courierDefaults(c.Couriers[name])
		courier.validate(f, "couriers."+name, name, c.Role != roleProcess)
	}
	c.checkSizes(f, "ingest.max_body_bytes")
}

// checkSizes adds the couriers that may send more than the listener takes; limit is
// what it is called.
func (c Config) checkSizes(f *faults, limit string) {
	for _, name := range c.courierNames() {
		most := c.Couriers[name].MaxBodyBytes
		f.check(most <= c.Ingest.MaxBodyBytes, "couriers."+name+".max_body_bytes", "%d is more than %s", most, limit)
	}
}

func (c IngestConfig) validate(f *faults, couriers map[string]Courier) {
	f.check(listens(c.Listen), "ingest.listen", "%q is not HOST:PORT", c.Listen)
	f.check(c.MaxBodyBytes >= 1024 && int64(c.MaxBodyBytes) <= 14*mebi, "ingest.max_body_bytes", "%d is not between 1024 and %d, which every store can keep as a dead letter", c.MaxBodyBytes, 14*mebi)
	f.check(c.MaxHeaderBytes >= 1024 && int64(c.MaxHeaderBytes) <= mebi, "ingest.max_header_bytes", "%d is not between 1024 and %d", c.MaxHeaderBytes, mebi)
	f.positive("ingest.read_timeout", c.ReadTimeout)
	f.check(c.MinBodyRate >= 0 && int64(c.MinBodyRate) <= mebi, "ingest.min_body_bytes_per_second", "%d is not between 0 (no least rate) and %d", c.MinBodyRate, mebi)
	f.positive("ingest.write_timeout", c.WriteTimeout)
	f.positive("ingest.idle_timeout", c.IdleTimeout)
	f.check(c.MaxConns > 0, "ingest.max_connections", "%d is not more than 0", c.MaxConns)
	f.check(c.MaxConnsPerIP > 0, "ingest.max_connections_per_address", "%d is not more than 0", c.MaxConnsPerIP)
	f.check(c.RetryAfter >= time.Second, "ingest.retry_after", "%s is less than 1s", c.RetryAfter)
	f.check((c.TLSCertFile == "") == (c.TLSKeyFile == ""), "ingest.tls_cert_file", "and ingest.tls_key_file go together: set both or none")
	parseNetworks(f, "ingest.trusted_proxies", c.TrustedProxies)
	f.check(c.RecordBodyBytes >= 1 && int64(c.RecordBodyBytes) <= mebi, "ingest.record_body_bytes", "%d is not between 1 and %d", c.RecordBodyBytes, mebi)
	f.check(c.RecordPerSecond > 0 && c.RecordPerSecond <= 1000, "ingest.record_per_second", "%g is not more than 0 and at most 1000", c.RecordPerSecond)
	if c.DefaultCourier != "" {
		_, known := couriers[c.DefaultCourier]
		f.check(known, "ingest.default_courier", "there is no [couriers.%s]", c.DefaultCourier)
	}
}

func (c AdminConfig) validate(f *faults) {
	f.check(listens(c.Listen), "admin.listen", "%q is not HOST:PORT", c.Listen)
	f.check(c.Token.set() || admin.Loopback(c.Listen), "admin.token", "is needed because admin.listen %q is not on loopback", c.Listen)
}

func (c JetStreamConfig) validate(f *faults, role string) {
	f.oneOf("jetstream.mode", c.Mode, modeEmbedded, modeExternal)
	if c.Mode == modeExternal {
		c.validateExternal(f)
	}
	f.oneOf("jetstream.sync", c.Sync, "group", "always", "interval")
	f.check(role == roleAll || c.Mode != modeEmbedded, "role", "%q needs a broker that other processes can reach, and jetstream.mode is embedded", role)
	f.check(c.MaxBytes >= 16*mebi, "jetstream.max_bytes", "%d is less than %d", c.MaxBytes, 16*mebi)
	f.check(c.MaxMemoryBytes >= mebi, "jetstream.max_memory_bytes", "%d is less than %d", c.MaxMemoryBytes, mebi)
	f.check(c.DiskReserveBytes >= 0, "jetstream.disk_reserve_bytes", "%d is negative", c.DiskReserveBytes)
	f.check(c.HighWaterBytes > 0 && c.HighWaterBytes <= c.MaxBytes, "jetstream.history_high_water_bytes", "%d is not between 1 and jetstream.max_bytes", c.HighWaterBytes)
	f.check(c.LowWaterBytes > 0 && c.LowWaterBytes <= c.HighWaterBytes, "jetstream.history_low_water_bytes", "%d is not between 1 and jetstream.history_high_water_bytes", c.LowWaterBytes)
	f.check(c.HistoryMaxAge >= c.DuplicateWindow, "jetstream.history_max_age", "%s is less than jetstream.duplicate_window", c.HistoryMaxAge)
	f.check(c.DuplicateWindow >= 100*time.Millisecond, "jetstream.duplicate_window", "%s is less than 100ms", c.DuplicateWindow)
	f.positive("jetstream.publish_timeout", c.PublishTimeout)
	f.check(c.MaxInFlight > 0, "jetstream.max_in_flight", "%d is not more than 0", c.MaxInFlight)
	f.check(c.AckWait >= 100*time.Millisecond, "jetstream.ack_wait", "%s is less than 100ms", c.AckWait)
	f.check(c.MaxAckPending > 0, "jetstream.max_ack_pending", "%d is not more than 0", c.MaxAckPending)
}

func (c JetStreamConfig) validateExternal(f *faults) {
	f.check(len(c.URLs) > 0, "jetstream.urls", "is empty: give at least one nats://HOST:PORT")
	for i, u := range c.URLs {
		parsed, err := url.Parse(u)
		f.check(err == nil && parsed.Host != "", fmt.Sprintf("jetstream.urls[%d]", i), "is not nats://HOST:PORT")
	}
	f.check(c.Replicas >= 1 && c.Replicas <= 5, "jetstream.replicas", "%d is not between 1 and 5", c.Replicas)
	f.check((c.TLSCertFile == "") == (c.TLSKeyFile == ""), "jetstream.tls_cert_file", "and jetstream.tls_key_file go together: set both or none")
	f.check(len(c.StampKeys) > 0, "jetstream.stamp_keys", "is empty: whoever shares a broker shares the keys that sign events on it, so give them here")
}

func (c ProcessConfig) validate(f *faults, queue JetStreamConfig) {
	f.check(c.Workers > 0 && c.Workers <= 64, "process.workers", "%d is not between 1 and 64", c.Workers)
	f.check(c.BatchSize > 0 && c.BatchSize <= 1000, "process.batch_size", "%d is not between 1 and 1000", c.BatchSize)
	f.check(c.Workers*c.BatchSize <= queue.MaxAckPending, "process.batch_size", "times process.workers is more than jetstream.max_ack_pending, so that workers would wait for each other")
	f.check(c.MaxAttempts >= 2 && c.MaxAttempts <= 20, "process.max_attempts", "%d is not between 2 and 20", c.MaxAttempts)
	f.positive("process.retry_base", c.RetryBase)
	f.check(c.RetryMultiplier >= 1 && c.RetryMultiplier <= 10, "process.retry_multiplier", "%g is not between 1 and 10", c.RetryMultiplier)
	longest := c.RetryBase.Seconds() * math.Pow(c.RetryMultiplier, float64(c.MaxAttempts-2))
	f.check(longest <= (24*time.Hour).Seconds(), "process.retry_multiplier", "%g makes the last wait longer than 24h", c.RetryMultiplier)
	f.check(c.RetryJitter >= 0 && c.RetryJitter <= 1, "process.retry_jitter", "%g is not between 0 and 1", c.RetryJitter)
	f.positive("process.reconcile_every", c.ReconcileEvery)
	f.check(c.ReconcileGrace >= 0, "process.reconcile_grace", "%s is negative", c.ReconcileGrace)
	f.check(c.DeadLetterAlarm >= 0, "process.dead_letter_alarm", "%d is negative", c.DeadLetterAlarm)
}

func (c PersistenceConfig) validate(f *faults) {
	f.check(c.CacheEntries >= 1, "persistence.cache_entries", "%d is less than 1", c.CacheEntries)
	f.check(c.LedgerTTL == 0 || c.LedgerTTL >= time.Hour, "persistence.ledger_ttl", "%s is less than 1h, and not 0 (for ever)", c.LedgerTTL)
	f.check(c.DeadLetterTTL == 0 || c.DeadLetterTTL >= time.Hour, "persistence.dead_letter_ttl", "%s is less than 1h, and not 0 (for ever)", c.DeadLetterTTL)
	f.check(c.ShipmentTTL == 0 || c.ShipmentTTL >= time.Hour, "persistence.shipment_ttl", "%s is less than 1h, and not 0 (for ever)", c.ShipmentTTL)
	f.check(c.IngestionTTL == 0 || c.IngestionTTL >= time.Hour, "persistence.ingestion_ttl", "%s is less than 1h, and not 0 (for ever)", c.IngestionTTL)
	f.check(c.IngestionsPerCourier >= 10, "persistence.ingestions_per_courier", "%d is less than 10", c.IngestionsPerCourier)
	f.positive("persistence.sweep_every", c.SweepEvery)
	f.check(c.MongoDatabase != "", "persistence.mongo_database", "is empty")
	f.check(c.MongoPool >= 1, "persistence.mongo_max_pool", "%d is less than 1", c.MongoPool)
	f.check(c.MongoTimeout >= 100*time.Millisecond, "persistence.mongo_timeout", "%s is less than 100ms", c.MongoTimeout)
	f.check(c.RedisPool > 0, "persistence.redis_max_pool", "%d is not more than 0", c.RedisPool)
	f.check(c.RedisTimeout > 0 && c.RedisTimeout <= time.Second, "persistence.redis_timeout", "%s is not between 1ms and 1s", c.RedisTimeout)
	f.check(c.RedisTTL >= time.Minute, "persistence.redis_ttl", "%s is less than 1m", c.RedisTTL)
}

// of returns the faults of these keys and of those below them.
func (f faults) of(keys ...string) (some faults) {
	for _, fault := range f {
		for _, key := range keys {
			if fault.Path == key || strings.HasPrefix(fault.Path, key+".") || strings.HasPrefix(fault.Path, key+"[") {
				some = append(some, fault)
				break
			}
		}
	}
	return some
}

// err returns all faults as one error, nil when there are none.
func (f faults) err() error {
	if len(f) == 0 {
		return nil
	}
	noun := "fault"
	if len(f) > 1 {
		noun = "faults"
	}
	var lines strings.Builder
	for _, one := range f {
		fmt.Fprintf(&lines, "\n  %s: %s", one.Path, one.Message)
	}
	return fmt.Errorf("%d %s in the configuration:%s", len(f), noun, lines.String())
}

func listens(addr string) bool {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	_, err = net.LookupPort("tcp", port)
	return err == nil
}
