package main

import (
	"crypto/tls"
	"fmt"
	"strings"

	"github.com/fincart/courier-gateway/ingest/event/stamp"
)

// check reports everything that is wrong with a configuration, in one error: keys
// that do not exist, values that do not fit or make no sense, secrets and
// certificates that can't be read. It makes and starts nothing.
func (l Loaded) check() error {
	f := append(faults{}, l.faults...)
	l.validate(&f)
	l.checkSecrets(&f)
	l.checkFiles(&f)
	if len(f) == 0 {
		settings, err := l.broker()
		if err == nil {
			err = settings.Validate()
		}
		if err != nil {
			f.add("jetstream", "%v", err)
		}
	}
	return f.err()
}

// checkSecrets reads every secret, but for those that the first start makes.
func (l Loaded) checkSecrets(f *faults) {
	for _, s := range []struct {
		key    string
		secret Secret
	}{
		{"admin.token", l.Admin.Token},
		{"persistence.mongo_uri", l.Persistence.MongoURI},
		{"persistence.redis_url", l.Persistence.RedisURL},
	} {
		if !s.secret.set() {
			continue
		}
		if _, err := s.secret.resolve(); err != nil {
			f.add(s.key, "%v", err)
		}
	}
	keys := resolveAll(f, "jetstream.stamp_keys", l.JetStream.StampKeys)
	if len(keys) > 0 && len(keys) == len(l.JetStream.StampKeys) {
		if _, err := stamp.New(keys...); err != nil {
			f.add("jetstream.stamp_keys", "%v", err)
		}
	}
	if l.Role == roleProcess {
		return // it proves nobody
	}
	for _, name := range l.courierNames() {
		l.Couriers[name].scheme(f, "couriers."+name, newKeySource)
	}
}

// checkFiles reads the certificates.
func (l Loaded) checkFiles(f *faults) {
	if l.Ingest.TLSCertFile != "" && l.Ingest.TLSKeyFile != "" {
		if _, err := tls.LoadX509KeyPair(l.Ingest.TLSCertFile, l.Ingest.TLSKeyFile); err != nil {
			f.add("ingest.tls_cert_file", "%v", err)
		}
	}
	if _, err := l.JetStream.tls(); err != nil {
		f.add("jetstream", "%v", err)
	}
}

// restartNeeded names the settings that differ from those in force and are not
// taken over while running.
func (l Loaded) restartNeeded(now Loaded) ([]string, error) {
	before, err := l.settings()
	if err != nil {
		return nil, err
	}
	after, err := now.settings()
	if err != nil {
		return nil, err
	}
	old := map[string]string{}
	for _, s := range before {
		old[s.Key] = fmt.Sprint(s.Value)
	}
	var changed []string
	for _, s := range after {
		reloaded := strings.HasPrefix(s.Key, "couriers") || s.Key == "ingest.default_courier"
		if !reloaded && old[s.Key] != fmt.Sprint(s.Value) {
			changed = append(changed, s.Key)
		}
	}
	return changed, nil
}
