package config

import (
	"path/filepath"
	"slices"

	"github.com/fincart/courier-gateway/ingest/payload"
	"github.com/fincart/courier-gateway/ingest/signature"
)

// WithDemo returns the configuration with the courier "demo" in it when there is
// no other, so that a first start has something to receive from.
func (c Config) WithDemo() Config {
	if len(c.Couriers) > 0 || c.Role == RoleProcess {
		return c
	}
	c.Couriers = map[string]Courier{DemoCourier: Courier{Secrets: []CourierSecret{c.demoSecret()}}.WithDefaults()}
	return c
}

// IsDemo reports whether the couriers are those of a first start.
func (c Config) IsDemo() bool {
	demo, ok := c.Couriers[DemoCourier]
	return ok && len(c.Couriers) == 1 && len(demo.Secrets) == 1 && demo.Secrets[0] == c.demoSecret()
}

// MakeDemoSecret makes the secret of the courier "demo" unless it is there.
func (c Config) MakeDemoSecret() error {
	_, err := randomFile(filepath.Join(c.DataDir, DemoSecretFile))
	return err
}

func (c Config) demoSecret() CourierSecret {
	return CourierSecret{Secret: Secret("file:" + filepath.Join(c.DataDir, DemoSecretFile))}
}

// CourierNames returns the configured names in order.
func (c Config) CourierNames() []string {
	var names []string
	for name := range c.Couriers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// DefaultCourier returns the courier of the path without a name, "" for none.
func (c Config) DefaultCourier() string {
	if c.Ingest.DefaultCourier == "" && len(c.Couriers) == 1 {
		return c.CourierNames()[0]
	}
	return c.Ingest.DefaultCourier
}

// Observing returns the couriers in observe mode, in order.
func (c Config) Observing() []string {
	return slices.DeleteFunc(c.CourierNames(), func(name string) bool { return c.Couriers[name].Mode != ModeObserve })
}

// Schemes compiles every courier's scheme. All faults are reported at once, with
// their keys.
func (c Config) Schemes(keys KeyMaker) (map[string]*signature.Scheme, error) {
	var f faults
	namer := c.namer()
	schemes := map[string]*signature.Scheme{}
	for _, name := range c.CourierNames() {
		courier := c.Couriers[name]
		courier.namer = namer
		schemes[name] = courier.scheme(&f, "couriers."+name, keys)
	}
	return schemes, f.err()
}

// Scheme compiles the scheme of one courier, with its secrets read.
func (c Config) Scheme(name string, keys KeyMaker) (*signature.Scheme, error) {
	var f faults
	courier := c.Couriers[name]
	courier.namer = c.namer()
	scheme := courier.scheme(&f, "couriers."+name, keys)
	return scheme, f.err()
}

// Signing returns the settings by which one courier signs, with its secrets and its
// private key read.
func (c Config) Signing(name string, keys KeyMaker) (signature.Config, error) {
	var f faults
	settings := c.Couriers[name].signing(&f, "couriers."+name, keys)
	return settings, f.err()
}

// Decoder compiles what reads the payload of one courier.
func (c Config) Decoder(name string) (*payload.Decoder, error) {
	var f faults
	decoder := c.Couriers[name].decoder(&f, "couriers."+name)
	return decoder, f.err()
}

// Decoders compiles what reads each courier's payload.
func (c Config) Decoders() (map[string]*payload.Decoder, error) {
	var f faults
	decoders := map[string]*payload.Decoder{}
	for _, name := range c.CourierNames() {
		decoders[name] = c.Couriers[name].decoder(&f, "couriers."+name)
	}
	return decoders, f.err()
}
