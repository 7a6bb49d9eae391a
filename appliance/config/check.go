package config

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/stamp"
	"github.com/fincart/courier-gateway/ingest/signature/jwks"
	"github.com/fincart/courier-gateway/jetstream/durable"
	"github.com/fincart/courier-gateway/persistence/mongo"
	"github.com/fincart/courier-gateway/persistence/redis"
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
		check  func(string) error
	}{
		{"persistence.mongo_uri", l.Persistence.MongoURI, mongo.CheckURI},
		{"persistence.redis_url", l.Persistence.RedisURL, redis.CheckURL},
	} {
		if !s.secret.IsSet() {
			continue
		}
		text, err := s.secret.Resolve()
		if err == nil {
			err = s.check(string(text))
		}
		if err != nil {
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
		l.Couriers[name].answerHeaders(f, "couriers."+name)
	}
}

// leastSecretBytes is how short a secret may be that can't be guessed.
const leastSecretBytes = 16

// placed is a secret, or another private file, with its key.
type placed struct {
	key    string
	secret Secret
	// guarded returns what of its text could be guessed, or be the same as of another one;
	// nil for what is not one word that only two sides know: a URL, or a key in PEM form.
	guarded func(text []byte) []byte
	own     bool // only this user may have chosen it: it is a fault where another may have
}

// whole is placed.guarded of a secret that counts as it is written.
func whole(text []byte) []byte { return text }

// secrets returns every secret that this role reads, and its private files.
func (l Loaded) secrets() []placed {
	all := []placed{
		{"admin.token", l.Admin.Token, whole, true},
		{"persistence.mongo_uri", l.Persistence.MongoURI, nil, false},
		{"persistence.redis_url", l.Persistence.RedisURL, nil, false},
	}
	for _, file := range []struct{ key, path string }{
		{"admin.tls_key_file", l.Admin.TLSKeyFile}, {"ingest.tls_key_file", l.Ingest.TLSKeyFile},
		{"jetstream.tls_key_file", l.JetStream.TLSKeyFile}, {"jetstream.credentials_file", l.JetStream.CredentialsFile},
		{"data_dir", filepath.Join(l.DataDir, StampKeyFile)}, {"data_dir", filepath.Join(l.DataDir, AccessFile)},
		{"data_dir", filepath.Join(l.DataDir, DemoSecretFile)},
	} {
		if file.path != "" {
			all = append(all, placed{file.key, Secret("file:" + file.path), nil, file.key == "data_dir"})
		}
	}
	for i, s := range l.JetStream.StampKeys {
		all = append(all, placed{fmt.Sprintf("jetstream.stamp_keys[%d]", i), s, whole, true})
	}
	for _, name := range slices.Sorted(maps.Keys(l.Admin.Tokens)) {
		all = append(all, placed{"admin.tokens." + name + ".token", l.Admin.Tokens[name].Token, whole, true})
	}
	if l.Role == RoleProcess {
		return all
	}
	for _, name := range l.CourierNames() {
		for i, s := range l.Couriers[name].Secrets {
			all = append(all, placed{fmt.Sprintf("couriers.%s.secrets[%d]", name, i), s.Secret, l.Couriers[name].SignatureSettings().Guarded, false})
		}
		all = append(all, placed{"couriers." + name + ".private_key", l.Couriers[name].PrivateKey, nil, false})
	}
	return all
}

// Warnings returns what may be as it is, but is likely a mistake or a risk.
func (l Loaded) Warnings() Faults {
	var warnings event.Faults
	warn := func(key, format string, args ...any) { warnings.Check(false, key, format, args...) }
	l.warnSecrets(warn)
	if l.Role != RoleProcess {
		for _, name := range l.CourierNames() {
			l.Couriers[name].warnUnsignedID(warn, "couriers."+name)
		}
	}
	located, _ := errors.AsType[Faults](l.err(faults(warnings))) // none: no warnings
	return located
}

// warnSecrets warns of secrets that others can read, that two sides share, or that are
// short or not what they look like.
func (l Loaded) warnSecrets(warn func(key, format string, args ...any)) {
	owners := map[string]string{} // of each secret, the key of the first that has it
	for _, s := range l.secrets() {
		if path := s.secret.File(); path != "" {
			if err := durable.OwnedTarget(path); err != nil && !s.own {
				warn(s.key, "%v", err)
			}
			if info, err := os.Stat(path); err == nil && durable.Readable(info) != "" {
				warn(s.key, "%s can be read by %s: chmod go-rwx %s", path, durable.Readable(info), path)
			}
		}
		text, err := s.secret.Resolve()
		if err != nil || s.guarded == nil {
			continue // a secret that can't be read is a fault
		}
		for _, flaw := range s.secret.Flaws() {
			warn(s.key, "%s %s", s.secret, flaw)
		}
		key := s.guarded(text)
		if key == nil {
			continue // it is public
		}
		if len(key) < leastSecretBytes {
			warn(s.key, "what is secret of %s has only %d bytes, and could be guessed: use at least %d", s.secret, len(key), leastSecretBytes)
		}
		first := cmp.Or(owners[string(key)], owners[string(text)])
		if first != "" {
			warn(s.key, "is the same secret as %s: a holder of one can use it as the other", first)
		}
		owners[string(key)], owners[string(text)] = cmp.Or(first, s.key), cmp.Or(first, s.key)
	}
}

// checkFiles reads the certificates, and looks at whose the data directory is.
func (l Loaded) checkFiles(f *faults) {
	if err := durable.OwnedDir(l.DataDir); err != nil {
		f.add("data_dir", "%v", err)
	}
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
