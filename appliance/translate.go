package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"

	"github.com/fincart/courier-gateway/ingest"
	"github.com/fincart/courier-gateway/jetstream"
	"github.com/fincart/courier-gateway/process"
)

// envelopeBytes is room for an envelope's headers on top of the largest body.
const envelopeBytes = 64 << 10

// broker returns the queue's settings for package jetstream. It fails when the
// certificates that they name can't be read.
func (c Config) broker() (jetstream.Config, error) {
	q, b := c.JetStream, jetstream.Defaults()
	b.Mode, b.Sync, b.StoreDir = q.Mode, q.Sync, filepath.Join(c.DataDir, "jetstream")
	b.Consume = c.Role != roleIngest
	b.MaxBytes, b.MaxMemoryBytes, b.DiskReserveBytes = q.MaxBytes, q.MaxMemoryBytes, q.DiskReserveBytes
	b.MaxMessageBytes = int32(c.Ingest.MaxBodyBytes) + envelopeBytes // both are validated bounds
	b.DuplicateWindow, b.AckWait, b.MaxAckPending = q.DuplicateWindow, q.AckWait, q.MaxAckPending
	b.MaxDeliver, b.Delays = c.Process.MaxAttempts, c.policy().Delays()
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

// policy returns the retry policy.
func (c Config) policy() process.Policy {
	p := c.Process
	return process.Policy{
		MaxAttempts: p.MaxAttempts, Base: p.RetryBase, Multiplier: p.RetryMultiplier, Jitter: p.RetryJitter,
	}
}

// intake returns the couriers' listener's settings for package ingest.
func (c Config) intake() ingest.Config {
	i := c.Ingest
	return ingest.Config{
		Listen: i.Listen, MaxBodyBytes: i.MaxBodyBytes, MaxHeaderBytes: i.MaxHeaderBytes,
		ReadTimeout: i.ReadTimeout, WriteTimeout: i.WriteTimeout, IdleTimeout: i.IdleTimeout,
		MaxConns: i.MaxConns, MaxConnsPerIP: i.MaxConnsPerIP, RetryAfter: i.RetryAfter,
		TLSCertFile: i.TLSCertFile, TLSKeyFile: i.TLSKeyFile, Records: ingest.DefaultConfig().Records,
	}
}

// intakeCouriers reads every courier's secrets and compiles its scheme.
func (c Config) intakeCouriers(keys keyMaker) (ingest.Couriers, error) {
	schemes, err := c.schemes(keys)
	if err != nil {
		return ingest.Couriers{}, err
	}
	all := ingest.Couriers{Default: c.defaultCourier()}
	for _, name := range c.courierNames() {
		all.All = append(all.All, ingest.Courier{
			Name: name, Scheme: schemes[name], Success: ingest.Success{Status: c.Couriers[name].SuccessStatus},
		})
	}
	return all, nil
}
