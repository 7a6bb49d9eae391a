package config

import (
	"crypto/tls"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/stamp"
	"github.com/fincart/courier-gateway/ingest/signature/jwks"
)

// Check reports everything that is wrong with a configuration, in one error: keys
// that do not exist, values that do not fit or make no sense, secrets and
// certificates that can't be read. It makes and starts nothing.
func (l Loaded) Check() error {
	f := faults(l.Invalid())
	l.checkSecrets(&f)
	l.checkFiles(&f)
	if len(f) == 0 {
		settings, err := l.Broker()
		if err == nil {
			err = settings.Validate()
		}
		if err != nil {
			f.add("jetstream", "%v", err)
		}
	}
	return l.err(f)
}

// Invalid returns everything that is wrong with the values, unread secrets and files
// apart.
func (l Loaded) Invalid() event.Faults {
	f := append(faults{}, l.faults...)
	l.validate(&f)
	return event.Faults(f)
}

// Err returns what could not be read of these keys and of those below them, as one
// error; without keys, of all.
func (l Loaded) Err(keys ...string) error {
	if len(keys) == 0 {
		return l.err(l.faults)
	}
	return l.err(l.faults.of(keys...))
}

// checkSecrets reads every secret, but for those that the first start makes.
func (l Loaded) checkSecrets(f *faults) {
	for _, s := range []struct {
		key    string
		secret Secret
	}{
		{"persistence.mongo_uri", l.Persistence.MongoURI},
		{"persistence.redis_url", l.Persistence.RedisURL},
	} {
		if !s.secret.IsSet() {
			continue
		}
		if _, err := s.secret.Resolve(); err != nil {
			f.add(s.key, "%v", err)
		}
	}
	l.Admin.tokens(f)
	keys := resolveAll(f, "jetstream.stamp_keys", l.JetStream.StampKeys)
	if len(keys) > 0 && len(keys) == len(l.JetStream.StampKeys) {
		if _, err := stamp.New(keys...); err != nil {
			f.add("jetstream.stamp_keys", "%v", err)
		}
	}
	if l.Role == RoleProcess {
		return // it verifies no signatures
	}
	for _, name := range l.CourierNames() {
		l.Couriers[name].scheme(f, "couriers."+name, jwks.At)
	}
}

// checkFiles reads the certificates.
func (l Loaded) checkFiles(f *faults) {
	for _, pair := range []struct{ key, cert, private string }{
		{"ingest.tls_cert_file", l.Ingest.TLSCertFile, l.Ingest.TLSKeyFile},
		{"admin.tls_cert_file", l.Admin.TLSCertFile, l.Admin.TLSKeyFile},
	} {
		if pair.cert == "" || pair.private == "" {
			continue
		}
		if _, err := tls.LoadX509KeyPair(pair.cert, pair.private); err != nil {
			f.add(pair.key, "%v", err)
		}
	}
	if _, err := l.JetStream.tls(); err != nil {
		f.add("jetstream", "%v", err)
	}
}
