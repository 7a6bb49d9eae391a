package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"

	"github.com/fincart/courier-gateway/ingest"
	"github.com/fincart/courier-gateway/ingest/signature"
	"github.com/fincart/courier-gateway/jetstream"
	"github.com/fincart/courier-gateway/process"
)

// envelopeBytes is room for an envelope's headers on top of the largest body.
const envelopeBytes = 64 << 10

// waitingBytes bounds the memory of refused requests that wait to be recorded, however
// much is kept of each.
const waitingBytes = 32 << 20

// Broker returns the queue's settings for package jetstream. It fails when the
// certificates that they name can't be read.
func (c Config) Broker() (jetstream.Config, error) {
	q, b := c.JetStream, jetstream.Defaults()
	b.Mode, b.Sync, b.StoreDir = q.Mode, q.Sync, filepath.Join(c.DataDir, "jetstream")
	b.StateDir = filepath.Join(c.DataDir, "queue-"+c.Role)
	b.Consume = c.Role != RoleIngest
	b.MaxBytes, b.MaxMemoryBytes, b.DiskReserveBytes = q.MaxBytes, q.MaxMemoryBytes, q.DiskReserveBytes
	b.MaxMessageBytes = int32(c.Ingest.MaxBodyBytes) + envelopeBytes // both are validated bounds
	b.DuplicateWindow, b.AckWait, b.MaxAckPending = q.DuplicateWindow, q.AckWait, q.MaxAckPending
	b.MaxDeliver, b.Delays = c.Process.MaxAttempts, c.RetryPolicy().Delays()
	b.HistoryHighBytes, b.HistoryLowBytes, b.HistoryMaxAge = q.HighWaterBytes, q.LowWaterBytes, q.HistoryMaxAge
	b.PublishTimeout, b.MaxInFlight = q.PublishTimeout, q.MaxInFlight
	b.PullBuffer = 2 * c.Process.BatchSize
	b.Name = "courier-gateway-" + c.Role
	b.URLs, b.CredentialsFile, b.Replicas = q.URLs, q.CredentialsFile, q.Replicas
	var err error
	b.TLS, err = q.tls()
	return b, err
}

// tls returns the settings of the connection to an external broker, nil when the
// configuration has none.
func (c JetStreamConfig) tls() (*tls.Config, error) {
	if c.TLSCAFile == "" && c.TLSCertFile == "" {
		return nil, nil
	}
	settings := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.TLSCAFile != "" {
		pem, err := os.ReadFile(c.TLSCAFile)
		if err != nil {
			return nil, fmt.Errorf("jetstream.tls_ca_file: %w", err)
		}
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("jetstream.tls_ca_file: there is no certificate in %s", c.TLSCAFile)
		}
	}
	if c.TLSCertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.TLSCertFile, c.TLSKeyFile)
		if err != nil {
			return nil, fmt.Errorf("jetstream.tls_cert_file: %w", err)
		}
		settings.Certificates = []tls.Certificate{pair}
	}
	return settings, nil
}

// RetryPolicy returns the retry policy.
func (c Config) RetryPolicy() process.Policy {
	p := c.Process
	return process.Policy{
		MaxAttempts: p.MaxAttempts, Base: p.RetryBase, Multiplier: p.RetryMultiplier, Jitter: p.RetryJitter,
	}
}

// Intake returns the couriers' listener's settings for package ingest.
func (c Config) Intake() ingest.Config {
	i := c.Ingest
	records := ingest.DefaultConfig().Records
	records.BodyBytes, records.PerSecond = i.RecordBodyBytes, i.RecordPerSecond
	records.Queue = min(records.Queue, waitingBytes/(i.RecordBodyBytes+i.MaxHeaderBytes))
	var f faults // was checked
	return ingest.Config{
		Records: records, TrustedProxies: parseNetworks(&f, "ingest.trusted_proxies", i.TrustedProxies),
		Listen: i.Listen, MaxBodyBytes: i.MaxBodyBytes, MaxHeaderBytes: i.MaxHeaderBytes,
		ReadTimeout: i.ReadTimeout, MinBodyBytesPerSecond: i.MinBodyRate, WriteTimeout: i.WriteTimeout, IdleTimeout: i.IdleTimeout,
		MaxConns: i.MaxConns, MaxConnsPerIP: i.MaxConnsPerIP, RetryAfter: i.RetryAfter,
		TLSCertFile: i.TLSCertFile, TLSKeyFile: i.TLSKeyFile,
	}
}

// IntakeCouriers returns the couriers for package ingest.
func (c Config) IntakeCouriers(schemes map[string]*signature.Scheme) (ingest.Couriers, error) {
	var f faults
	all := ingest.Couriers{Default: c.DefaultCourier()}
	for _, name := range c.CourierNames() {
		all.All = append(all.All, c.Couriers[name].intake(&f, name, schemes[name]))
	}
	return all, f.err()
}

// IntakeCourier returns one courier for package ingest.
func (c Config) IntakeCourier(name string, scheme *signature.Scheme) (ingest.Courier, error) {
	var f faults
	one := c.Couriers[name].intake(&f, name, scheme)
	return one, f.err()
}

// intake returns one courier for package ingest.
func (c Courier) intake(f *faults, name string, scheme *signature.Scheme) ingest.Courier {
	key := "couriers." + name
	one := ingest.Courier{
		Name: name, Scheme: scheme, Decoder: c.decoder(f, key), Observe: c.Mode == ModeObserve,
		Success:      ingest.Success{Status: c.SuccessStatus, ContentType: c.SuccessContentType, Headers: c.answerHeaders(f, key)},
		Handshake:    c.Handshake,
		ContentTypes: c.ContentTypes, Encodings: c.ContentEncodings,
		Networks: c.prefixes(f, key), MaxBodyBytes: c.MaxBodyBytes,
		RatePerSecond: c.RatePerSecond, RateBurst: c.RateBurst, MaxConcurrent: c.MaxConcurrent,
	}
	if c.SuccessBody != "" {
		one.Success.Body = []byte(c.SuccessBody)
	}
	if one.RatePerSecond > 0 && one.RateBurst == 0 {
		one.RateBurst = max(1, int(one.RatePerSecond))
	}
	return one
}
