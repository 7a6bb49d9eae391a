package main

import (
	"path/filepath"
	"slices"

	"github.com/fincart/courier-gateway/ingest/signature"
)

// withDemo returns the configuration with the courier "demo" in it when there is
// no other, so that a first start has something to receive from.
func (c Config) withDemo() Config {
	if len(c.Couriers) > 0 || c.Role == roleProcess {
		return c
	}
	c.Couriers = map[string]Courier{demoCourier: courierDefaults(Courier{
		Secrets: []Secret{Secret("file:" + filepath.Join(c.DataDir, demoSecretFile))},
	})}
	return c
}

// isDemo reports whether the couriers are those of a first start.
func (c Config) isDemo() bool {
	demo, ok := c.Couriers[demoCourier]
	return ok && len(c.Couriers) == 1 && len(demo.Secrets) == 1 &&
		demo.Secrets[0] == Secret("file:"+filepath.Join(c.DataDir, demoSecretFile))
}

// courierNames returns the configured names in order.
func (c Config) courierNames() []string {
	var names []string
	for name := range c.Couriers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// defaultCourier returns the courier of the path without a name, "" for none.
func (c Config) defaultCourier() string {
	if c.Ingest.DefaultCourier == "" && len(c.Couriers) == 1 {
		return c.courierNames()[0]
	}
	return c.Ingest.DefaultCourier
}

// schemes compiles every courier's scheme. All faults are reported at once, with
// their keys.
func (c Config) schemes() (map[string]*signature.Scheme, error) {
	var f faults
	schemes := map[string]*signature.Scheme{}
	for _, name := range c.courierNames() {
		schemes[name] = c.Couriers[name].scheme(&f, "couriers."+name)
	}
	return schemes, f.err()
}

// scheme compiles one courier's scheme; nil when it adds faults.
func (c Courier) scheme(f *faults, key string) *signature.Scheme {
	settings := c.signing(f, key)
	if settings == nil {
		return nil
	}
	scheme, err := signature.New(*settings)
	if err != nil {
		f.add(key, "%v", err)
		return nil
	}
	return scheme
}

// signing returns one courier's settings with its secrets read; nil when it adds
// faults.
func (c Courier) signing(f *faults, key string) *signature.Config {
	values := resolveAll(f, key+".secrets", c.Secrets)
	if len(values) < len(c.Secrets) {
		return nil
	}
	settings := &signature.Config{Scheme: c.Scheme, TolerancePast: c.Tolerance, ToleranceFuture: c.Tolerance}
	for _, a := range c.Algorithms {
		settings.Algorithms = append(settings.Algorithms, signature.Algorithm(a))
	}
	for _, value := range values {
		settings.Secrets = append(settings.Secrets, signature.Secret{ID: keyID(value), Key: value})
	}
	return settings
}
