package app

import (
	"crypto/tls"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fincart/courier-gateway/appliance/config"
)

// slowProblems returns a function that looks for problems that come slowly: couriers of
// which every event is refused, and certificates that expire. One caller at a time.
func slowProblems(c *couriers, figures prometheus.Gatherer) func() []string {
	refused := &refusedCouriers{
		figures: figures, now: time.Now, of: map[string]*refusedCourier{},
		couriers: func() []string { return c.active.Load().CourierNames() },
	}
	return func() (problems []string) {
		cfg := c.active.Load()
		if cfg.Role != config.RoleProcess {
			refused.update()
			problems = append(refused.problems(), certificateProblems("ingest.tls_cert_file", cfg.Ingest.TLSCertFile, cfg.Ingest.TLSKeyFile, "by itself", time.Now())...)
		}
		problems = append(problems, certificateProblems("admin.tls_cert_file", cfg.Admin.TLSCertFile, cfg.Admin.TLSKeyFile, "by itself", time.Now())...)
		if cfg.JetStream.Mode == config.ModeExternal {
			problems = append(problems, certificateProblems("jetstream.tls_cert_file", cfg.JetStream.TLSCertFile, cfg.JetStream.TLSKeyFile, "by a restart", time.Now())...)
		}
		return problems
	}
}

// nearExpiry is how long before its end a certificate is a problem, or a tenth of its
// lifetime where that is less: those that live for days are renewed late.
const nearExpiry = 7 * 24 * time.Hour

// certificateProblems returns what is wrong with a certificate in files, or soon will
// be. key is the setting that names it, taken says when a new one is taken over.
func certificateProblems(key, certFile, keyFile, taken string, now time.Time) []string {
	if certFile == "" {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return []string{fmt.Sprintf("%s: the certificate %s can't be loaded, what runs keeps the one before and a restart fails: %v", key, certFile, err)}
	}
	left, lifetime := pair.Leaf.NotAfter.Sub(now), pair.Leaf.NotAfter.Sub(pair.Leaf.NotBefore)
	switch {
	case left <= 0:
		return []string{fmt.Sprintf("%s: the certificate %s expired at %s: replace the file, which is taken over %s", key, certFile, pair.Leaf.NotAfter.UTC().Format(time.RFC3339), taken)}
	case left < min(nearExpiry, lifetime/10):
		return []string{fmt.Sprintf("%s: the certificate %s expires at %s: renew it, the file is taken over %s", key, certFile, pair.Leaf.NotAfter.UTC().Format(time.RFC3339), taken)}
	default:
		return nil
	}
}
