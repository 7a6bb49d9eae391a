package config

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"time"

	"github.com/fincart/courier-gateway/ops/admin"
)

// validate adds everything about the values that makes no sense.
func (c Config) validate(f *faults) {
	f.oneOf("role", c.Role, RoleAll, RoleIngest, RoleProcess)
	f.check(c.DataDir != "", "data_dir", "is empty")
	f.positive("shutdown_timeout", c.ShutdownTimeout)
	f.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	f.oneOf("log.format", c.Log.Format, "text", "json")
	c.Ingest.validate(f, c.Couriers)
	c.Admin.validate(f)
	f.check(c.Role == RoleProcess || !collide(c.Admin.Listen, c.Ingest.Listen), "admin.listen", "%q is where ingest.listen, which is %q, listens, too: give them different ports", c.Admin.Listen, c.Ingest.Listen)
	c.JetStream.validate(f, c.Role)
	c.Process.validate(f, c.JetStream)
	c.Persistence.validate(f)
	for _, name := range c.CourierNames() {
		courier := c.Couriers[name].WithDefaults()
		courier.validate(f, "couriers."+name, name, c.Role != RoleProcess)
	}
	c.checkSizes(f, "ingest.max_body_bytes")
}

// checkSizes adds the couriers that may send more than the listener takes; limit is
// what it is called.
func (c Config) checkSizes(f *faults, limit string) {
	for _, name := range c.CourierNames() {
		most := c.Couriers[name].MaxBodyBytes
		f.check(most <= c.Ingest.MaxBodyBytes, "couriers."+name+".max_body_bytes", "%d is more than the %d of %s", most, c.Ingest.MaxBodyBytes, limit)
	}
}

// SizesFit is checkSizes for couriers that are to join a running listener.
func (c Config) SizesFit(limit string) error {
	var f faults
	c.checkSizes(&f, limit)
	return f.err()
}

// longestDrainDelay is longer than any load balancer takes to notice.
const longestDrainDelay = 5 * time.Minute

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
	f.check(c.DrainDelay >= 0 && c.DrainDelay <= longestDrainDelay, "ingest.drain_delay", "%s is not between 0s and %s", c.DrainDelay, longestDrainDelay)
	f.check((c.TLSCertFile == "") == (c.TLSKeyFile == ""), "ingest.tls_cert_file", "and ingest.tls_key_file go together: set both or none")
	public, err := url.Parse(c.PublicURL)
	f.check(c.PublicURL == "" || err == nil && public.Host != "" && (public.Scheme == "http" || public.Scheme == "https"), "ingest.public_url", "%q is no URL such as https://HOST", c.PublicURL)
	parseNetworks(f, "ingest.trusted_proxies", c.TrustedProxies)
	f.check(c.RecordBodyBytes >= 1 && int64(c.RecordBodyBytes) <= mebi, "ingest.record_body_bytes", "%d is not between 1 and %d", c.RecordBodyBytes, mebi)
	f.check(c.RecordPerSecond > 0 && c.RecordPerSecond <= 1000, "ingest.record_per_second", "%g is not more than 0 and at most 1000", c.RecordPerSecond)
	if c.DefaultCourier != "" {
		_, known := couriers[c.DefaultCourier]
		f.check(known, "ingest.default_courier", "there is no [couriers.%s]%s", c.DefaultCourier, DidYouMean(c.DefaultCourier, slices.Collect(maps.Keys(couriers))))
	}
}

func (c AdminConfig) validate(f *faults) {
	f.check(listens(c.Listen), "admin.listen", "%q is not HOST:PORT", c.Listen)
	f.check((c.TLSCertFile == "") == (c.TLSKeyFile == ""), "admin.tls_cert_file", "and admin.tls_key_file go together: set both or none")
	for name, t := range c.Tokens {
		f.oneOf("admin.tokens."+name+".role", t.Role, string(admin.Read), string(admin.Operate), string(admin.Admin))
		f.check(t.Token.IsSet(), "admin.tokens."+name+".token", "is missing: give it as env:NAME or file:PATH")
	}
}

func (c JetStreamConfig) validate(f *faults, role string) {
	f.oneOf("jetstream.mode", c.Mode, ModeEmbedded, ModeExternal)
	if c.Mode == ModeExternal {
		c.validateExternal(f)
	}
	f.oneOf("jetstream.sync", c.Sync, SyncGroup, SyncAlways, SyncInterval)
	f.check(role == RoleAll || c.Mode != ModeEmbedded, "role", "%q needs a broker that other processes can reach, and jetstream.mode is embedded", role)
	f.check(c.MaxBytes >= 16*mebi, "jetstream.max_bytes", "%d is less than %d", c.MaxBytes, 16*mebi)
	f.check(c.MaxMemoryBytes >= mebi, "jetstream.max_memory_bytes", "%d is less than %d", c.MaxMemoryBytes, mebi)
	f.check(c.DiskReserveBytes >= 0, "jetstream.disk_reserve_bytes", "%d is negative", c.DiskReserveBytes)
	tooSmall := c.MaxBytes < 16*mebi // which is said already, and the marks are derived from it
	f.check(tooSmall || c.HighWaterBytes > 0 && c.HighWaterBytes <= c.MaxBytes, "jetstream.history_high_water_bytes", "%d is not between 1 and jetstream.max_bytes, which is %d", c.HighWaterBytes, c.MaxBytes)
	f.check(c.LowWaterBytes > 0 && c.LowWaterBytes <= c.HighWaterBytes, "jetstream.history_low_water_bytes", "%d is not between 1 and jetstream.history_high_water_bytes, which is %d", c.LowWaterBytes, c.HighWaterBytes)
	f.check(c.HistoryMaxAge >= c.DuplicateWindow, "jetstream.history_max_age", "%s is less than jetstream.duplicate_window, which is %s", c.HistoryMaxAge, c.DuplicateWindow)
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
	f.check(len(c.StampKeys) > 0, "jetstream.stamp_keys", "is empty: all that share a broker share the keys that sign events on it, so give them here")
}

func (c ProcessConfig) validate(f *faults, queue JetStreamConfig) {
	f.check(c.Workers > 0 && c.Workers <= 64, "process.workers", "%d is not between 1 and 64", c.Workers)
	f.check(c.BatchSize > 0 && c.BatchSize <= 1000, "process.batch_size", "%d is not between 1 and 1000", c.BatchSize)
	f.check(c.Workers*c.BatchSize <= queue.MaxAckPending, "process.batch_size", "%d times process.workers, which is %d, is more than jetstream.max_ack_pending, which is %d: workers would wait for each other", c.BatchSize, c.Workers, queue.MaxAckPending)
	f.check(c.MaxAttempts >= 2 && c.MaxAttempts <= 20, "process.max_attempts", "%d is not between 2 and 20", c.MaxAttempts)
	f.positive("process.retry_base", c.RetryBase)
	f.check(c.RetryMultiplier >= 1 && c.RetryMultiplier <= 10, "process.retry_multiplier", "%g is not between 1 and 10", c.RetryMultiplier)
	f.check(c.lastWait() <= maxWait.Seconds(), "process.retry_multiplier", "%g, with process.max_attempts %d and process.retry_base %s, makes the last wait longer than %s", c.RetryMultiplier, c.MaxAttempts, c.RetryBase, maxWait)
	f.check(c.RetryJitter >= 0 && c.RetryJitter <= 1, "process.retry_jitter", "%g is not between 0 and 1", c.RetryJitter)
	f.positive("process.reconcile_every", c.ReconcileEvery)
	f.check(c.ReconcileGrace >= 0, "process.reconcile_grace", "%s is negative", c.ReconcileGrace)
	f.check(c.DeadLetterAlarm >= 0, "process.dead_letter_alarm", "%d is negative", c.DeadLetterAlarm)
}

func (c PersistenceConfig) validate(f *faults) {
	f.check(c.CacheEntries >= 1, "persistence.cache_entries", "%d is less than 1", c.CacheEntries)
	f.check(c.LedgerTTL == 0 || c.LedgerTTL >= time.Hour, "persistence.ledger_ttl", "%s is less than 1h, and not 0 (forever)", c.LedgerTTL)
	f.check(c.DeadLetterTTL == 0 || c.DeadLetterTTL >= time.Hour, "persistence.dead_letter_ttl", "%s is less than 1h, and not 0 (forever)", c.DeadLetterTTL)
	f.check(c.ShipmentTTL == 0 || c.ShipmentTTL >= time.Hour, "persistence.shipment_ttl", "%s is less than 1h, and not 0 (forever)", c.ShipmentTTL)
	f.check(c.IngestionTTL == 0 || c.IngestionTTL >= time.Hour, "persistence.ingestion_ttl", "%s is less than 1h, and not 0 (forever)", c.IngestionTTL)
	f.check(c.IngestionsPerCourier >= 10, "persistence.ingestions_per_courier", "%d is less than 10", c.IngestionsPerCourier)
	f.positive("persistence.sweep_every", c.SweepEvery)
	f.check(c.MongoDatabase != "", "persistence.mongo_database", "is empty")
	f.check(c.MongoPool >= 1, "persistence.mongo_max_pool", "%d is less than 1", c.MongoPool)
	f.check(c.MongoTimeout >= 100*time.Millisecond, "persistence.mongo_timeout", "%s is less than 100ms", c.MongoTimeout)
	f.check(c.RedisPool > 0, "persistence.redis_max_pool", "%d is not more than 0", c.RedisPool)
	f.check(c.RedisTimeout > 0 && c.RedisTimeout <= time.Second, "persistence.redis_timeout", "%s is not between 1ms and 1s", c.RedisTimeout)
	f.check(c.RedisTTL >= time.Minute, "persistence.redis_ttl", "%s is less than 1m", c.RedisTTL)
}

// collide reports whether two listeners can't be open at the same time.
func collide(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	everywhere := func(host string) bool { return host == "" || net.ParseIP(host).IsUnspecified() }
	return errA == nil && errB == nil && portA == portB && portA != "0" &&
		(everywhere(hostA) || everywhere(hostB) || listener(a) == listener(b))
}

func listens(addr string) bool {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	_, err = net.LookupPort("tcp", port)
	return err == nil
}
