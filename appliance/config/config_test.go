package config

import (
	"errors"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"

	"github.com/fincart/courier-gateway/ingest/signature"
)

func TestDefaultsAreValid(t *testing.T) {
	if err := faultsOf(Defaults()); err != nil {
		t.Error(err)
	}
}

// faultsOf validates a configuration.
func faultsOf(c Config) error {
	var f faults
	c.validate(&f)
	return f.err()
}

// TestFileExplainsEveryKey keeps appliance.toml and the defaults the same: every
// key is there, with its default, and no other.
func TestFileExplainsEveryKey(t *testing.T) {
	l, err := Load("../../appliance.toml", nil)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(l.Config, Defaults()) {
		t.Errorf("the file says\n%+v, the defaults are\n%+v", l.Config, Defaults())
	}
	settings, err := l.Settings()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range settings {
		if s.Key != "couriers" && s.Key != "admin.tokens" && s.Origin == "default" {
			t.Errorf("the file does not explain %s", s.Key)
		}
	}
}

// TestFileExplainsCouriers reads the examples that the file has in comments: they
// are valid, and between them show every key.
func TestFileExplainsCouriers(t *testing.T) {
	raw, err := os.ReadFile("../../appliance.toml")
	if err != nil {
		t.Fatal(err)
	}
	_, example, found := strings.Cut(string(raw), "#\n# [couriers.acme]\n")
	if !found {
		t.Fatal("there is no example of a courier")
	}
	example = "[couriers.acme]\n" + strings.NewReplacer("\n# ", "\n", "\n#\n", "\n\n").Replace("\n"+example)
	l, err := Load(configFile(t, example), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.faults.err(), faultsOf(l.Config)); err != nil {
		t.Error(err)
	}
	values, err := toml.Parser().Unmarshal([]byte(example))
	if err != nil {
		t.Fatal(err)
	}
	k := koanf.New(".")
	if err := k.Load(confmap.Provider(values, "."), nil); err != nil {
		t.Fatal(err)
	}
	for _, key := range configKeys(reflect.TypeFor[Courier](), "") {
		if !slices.ContainsFunc(k.MapKeys("couriers"), func(name string) bool { return k.Exists("couriers." + name + key) }) {
			t.Errorf("no example explains couriers.NAME%s", key)
		}
	}
}

// configKeys returns the keys of a part of the configuration, each with a dot before it.
func configKeys(of reflect.Type, prefix string) (keys []string) {
	for _, f := range reflect.VisibleFields(of) {
		key := keyOf(f)
		switch {
		case key == "":
		case f.Type.Kind() == reflect.Struct:
			keys = append(keys, configKeys(f.Type, prefix+"."+key)...)
		default:
			keys = append(keys, prefix+"."+key)
		}
	}
	return keys
}

func TestPrecedence(t *testing.T) {
	path := configFile(t, "[jetstream]\nsync = \"interval\"\nmax_in_flight = 7\n[log]\nlevel = \"warn\"\n")
	t.Setenv("APPLIANCE_JETSTREAM__SYNC", "always")
	t.Setenv("APPLIANCE_DATA_DIR", "from-env")
	l, err := Load(path, map[string]any{"data_dir": "from-flag"})
	if err != nil {
		t.Fatal(err)
	}
	if l.JetStream.Sync != "always" || l.JetStream.MaxInFlight != 7 || l.DataDir != "from-flag" || l.Log.Format != "text" {
		t.Errorf("configuration is %+v", l.Config)
	}
	want := map[string]string{
		"jetstream.sync": "environment", "jetstream.max_in_flight": "file " + path, "data_dir": "flag", "log.format": "default",
	}
	for key, origin := range want {
		if got := l.Origin(key); got != origin {
			t.Errorf("%s comes from %q, want %q", key, got, origin)
		}
	}
}

func TestEveryFaultIsReportedAtOnce(t *testing.T) {
	t.Setenv("APPLIANCE_JETSTREAM__FOO", "1")
	l, err := Load(configFile(t, "colour = \"red\"\n[ingest]\nmax_body_bytes = \"many\"\nread_timeout = \"soon\"\n[couriers.acme]\nscheem = \"x\"\n[admin]\ntoken = \"env:NO_SUCH_VARIABLE\"\n[process]\nworkers = 0\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	err = l.Check()
	if err == nil {
		t.Fatal("no error")
	}
	for _, key := range []string{"colour: ", "admin.token: ", "process.workers: ", "couriers.acme.secrets: ", "ingest.max_body_bytes: ", "ingest.read_timeout: ", "couriers.acme.scheem: ", "jetstream.foo: "} {
		if !strings.Contains(err.Error(), "\n  "+key) {
			t.Errorf("the error does not name %q:\n%v", key, err)
		}
	}
	c := Defaults()
	c.Role, c.DataDir, c.Admin.Listen, c.Process.Workers = "boss", "", "0.0.0.0:8081", 0
	c.Couriers = map[string]Courier{"Bad Name": {Config: signature.Config{Scheme: "rot13"}}}
	err = faultsOf(c)
	if err == nil {
		t.Fatal("no error")
	}
	for _, key := range []string{"role: ", "data_dir: ", "process.workers: ", "couriers.Bad Name: ", "couriers.Bad Name.scheme: ", "couriers.Bad Name.secrets: "} {
		if !strings.Contains(err.Error(), "\n  "+key) {
			t.Errorf("the error does not name %q:\n%v", key, err)
		}
	}
}

// TestAddressesOfStoresAreChecked: a start with one that can't be read would end at once. What
// is wrong is said without the address, which may hold a password.
func TestAddressesOfStoresAreChecked(t *testing.T) {
	check := func(key, address string) error {
		l, err := Load(configFile(t, "[persistence]\n"+key+" = \""+string(secretOf(t, address))+"\"\n"), nil)
		if err != nil {
			t.Fatal(err)
		}
		l.DataDir = t.TempDir()
		return l.Check()
	}
	for key, addresses := range map[string][]string{
		"redis_url": {"hunter2", "http://hunter2", "redis://:hunter2/x@127.0.0.1", "redis://h/hunter2"},
		"mongo_uri": {"hunter2", "http://hunter2", "mongodb://u:hunter2/x@h", "mongodb://u:%zhunter2@h", "mongodb+srv://"},
	} {
		for _, address := range addresses {
			err := check(key, address)
			if err == nil || !strings.Contains(err.Error(), "appliance.toml:2:") || !strings.Contains(err.Error(), "persistence."+key+": is not ") || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s %q: %v", key, address, err)
			}
		}
	}
	for _, good := range [][2]string{
		{"redis_url", "rediss://u:p@h:6380/1"}, {"redis_url", "redis://localhost"}, {"redis_url", "unix:///run/redis.sock"},
		{"mongo_uri", "mongodb://u:p%40@a:1,b:2/?replicaSet=rs0"}, {"mongo_uri", "mongodb+srv://no.such.host.invalid/?tls=true"},
	} {
		if err := check(good[0], good[1]); err != nil {
			t.Errorf("%s %q: %v", good[0], good[1], err)
		}
	}
}

func TestListenersThatCollide(t *testing.T) {
	for _, test := range []struct {
		public, admin string
		good          bool
	}{
		{"127.0.0.1:8080", "127.0.0.1:8080", false},
		{":8080", "127.0.0.1:8080", false},
		{"192.0.2.1:8080", "[::]:8080", false},
		{"127.0.0.1:8080", "localhost:8080", false},
		{"192.0.2.1:8080", "127.0.0.1:8080", true},
		{":0", ":0", true},
		{":8080", ":8081", true},
	} {
		c := Defaults()
		c.Ingest.Listen, c.Admin.Listen = test.public, test.admin
		if err := faultsOf(c); (err == nil) != test.good || err != nil && !strings.Contains(err.Error(), "\n  admin.listen: ") {
			t.Errorf("%s and %s: %v", test.public, test.admin, err)
		}
		c.Role, c.JetStream.Mode, c.JetStream.URLs, c.JetStream.StampKeys = RoleProcess, ModeExternal, []string{"nats://h:4222"}, []Secret{"env:KEY"}
		if err := faultsOf(c); err != nil {
			t.Errorf("%s and %s, without intake: %v", test.public, test.admin, err)
		}
	}
}

func TestBounds(t *testing.T) {
	bad := map[string]func(*Config){
		"ingest.listen":                      func(c *Config) { c.Ingest.Listen = "8080" },
		"ingest.public_url":                  func(c *Config) { c.Ingest.PublicURL = "gateway.example" },
		"ingest.max_body_bytes":              func(c *Config) { c.Ingest.MaxBodyBytes = 1 },
		"ingest.tls_cert_file":               func(c *Config) { c.Ingest.TLSCertFile = "cert.pem" },
		"admin.tls_cert_file":                func(c *Config) { c.Admin.TLSKeyFile = "key.pem" },
		"admin.tokens.a.role":                func(c *Config) { c.Admin.Tokens = map[string]AdminToken{"a": {Role: "boss", Token: "env:A"}} },
		"admin.tokens.a.token":               func(c *Config) { c.Admin.Tokens = map[string]AdminToken{"a": {Role: "read"}} },
		"ingest.default_courier":             func(c *Config) { c.Ingest.DefaultCourier = "nobody" },
		"jetstream.mode":                     func(c *Config) { c.JetStream.Mode = "telepathy" },
		"jetstream.sync":                     func(c *Config) { c.JetStream.Sync = "never" },
		"jetstream.history_high_water_bytes": func(c *Config) { c.JetStream.HighWaterBytes = c.JetStream.MaxBytes + 1 },
		"process.batch_size":                 func(c *Config) { c.Process.BatchSize, c.Process.Workers = 1000, 64 },
		"process.retry_multiplier":           func(c *Config) { c.Process.RetryMultiplier = 0.5 },
		"persistence.ledger_ttl":             func(c *Config) { c.Persistence.LedgerTTL = 1 },
		"persistence.shipment_ttl":           func(c *Config) { c.Persistence.ShipmentTTL = 1 },
		"shutdown_timeout":                   func(c *Config) { c.ShutdownTimeout = 0 },
		"role":                               func(c *Config) { c.Role = RoleIngest },
	}
	for _, key := range slices.Sorted(maps.Keys(bad)) {
		c := Defaults()
		bad[key](&c)
		if err := faultsOf(c); err == nil || !strings.Contains(err.Error(), "\n  "+key+": ") {
			t.Errorf("%s: error is %v", key, err)
		}
	}
}
