package main

import (
	"path/filepath"
	"slices"

	"github.com/fincart/courier-gateway/ingest/payload"
	"github.com/fincart/courier-gateway/ingest/signature"
)

// withDemo returns the configuration with the courier "demo" in it when there is
// no other, so that a first start has something to receive from.
func (c Config) withDemo() Config {
	if len(c.Couriers) > 0 || c.Role == roleProcess {
		return c
	}
	c.Couriers = map[string]Courier{demoCourier: courierDefaults(Courier{Secrets: []CourierSecret{c.demoSecret()}})}
	return c
}

// isDemo reports whether the couriers are those of a first start.
func (c Config) isDemo() bool {
	demo, ok := c.Couriers[demoCourier]
	return ok && len(c.Couriers) == 1 && len(demo.Secrets) == 1 && demo.Secrets[0] == c.demoSecret()
}

func (c Config) demoSecret() CourierSecret {
	return CourierSecret{Secret: Secret("file:" + filepath.Join(c.DataDir, demoSecretFile))}
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

// observing returns the couriers in observe mode, in order.
func (c Config) observing() []string {
	return slices.DeleteFunc(c.courierNames(), func(name string) bool { return c.Couriers[name].Mode != modeObserve })
}

// schemes compiles every courier's scheme. All faults are reported at once, with
// their keys.
func (c Config) schemes(keys keyMaker) (map[string]*signature.Scheme, error) {
	var f faults
	namer := c.namer()
	schemes := map[string]*signature.Scheme{}
	for _, name := range c.courierNames() {
		courier := c.Couriers[name]
		courier.namer = namer
		schemes[name] = courier.scheme(&f, "couriers."+name, keys)
	}
	return schemes, f.err()
}

// decoders compiles what reads each courier's payload.
func (c Config) decoders() (map[string]*payload.Decoder, error) {
	var f faults
	decoders := map[string]*payload.Decoder{}
	for _, name := range c.courierNames() {
		decoders[name] = c.Couriers[name].decoder(&f, "couriers."+name)
	}
	return decoders, f.err()
}
