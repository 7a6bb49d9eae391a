package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ingest"
	"github.com/fincart/courier-gateway/ingest/signature"
	"github.com/fincart/courier-gateway/ops"
	"github.com/fincart/courier-gateway/ops/admin"
)

// couriers are the senders of a running appliance: their settings, their public keys
// and the decoders of their payloads. A reload replaces all of it at once.
type couriers struct {
	log      *slog.Logger
	reread   func() (config.Config, []string, error) // see Deps
	intake   *ingest.Server                          // nil in the role process
	keys     *publicKeys
	decoders decoders
	active   atomic.Pointer[activeConfig]
	// setTokens reads the operators' tokens again. Nil until their listener is open.
	setTokens func(config.Config) error

	own [][]byte // secrets of ours, which no record may have; written by hideTokens only

	reloads      sync.Mutex             // held during a reload
	failedReload atomic.Pointer[string] // why the configuration that was read last is not active
}

// activeConfig is the configuration that the appliance works with: that of the start,
// with the couriers of the last reload.
type activeConfig struct {
	config.Config
	schemes map[string]*signature.Scheme // by courier; none in the role process
	intake  ingest.Couriers              // of the intake; none in the role process
}

func newCouriers(cfg config.Config, log *slog.Logger, reread func() (config.Config, []string, error)) (*couriers, error) {
	c := &couriers{log: log, reread: reread, keys: newPublicKeys(log.With("package", "appliance"))}
	c.active.Store(&activeConfig{Config: cfg})
	return c, c.decoders.set(cfg)
}

// compile makes the couriers of next ready for the intake, with their secrets read.
func (c *couriers) compile(next *activeConfig) (err error) {
	if next.schemes, err = next.Schemes(c.keys.source); err != nil {
		return err
	}
	next.intake, err = next.IntakeCouriers(next.schemes)
	next.intake.Secrets = c.own
	return err
}

// hideTokens keeps the operators' tokens, and other secrets of ours, out of the intake's
// logs and records. fixed are those that only a restart changes.
func (c *couriers) hideTokens(fixed [][]byte, tokens []admin.Token) error {
	c.own = slices.Clone(fixed)
	for _, token := range tokens {
		c.own = append(c.own, token.Secret)
	}
	if c.intake == nil {
		return nil
	}
	all := c.active.Load().intake
	all.Secrets = c.own
	return c.intake.SetCouriers(all)
}

// reload replaces the couriers by those of the configuration as it is now. A wrong one
// changes nothing.
func (c *couriers) reload() (ops.ReloadReport, error) {
	if c.reread == nil {
		return ops.ReloadReport{}, errors.New("there is no configuration to read again")
	}
	c.reloads.Lock()
	defer c.reloads.Unlock()
	cfg, changed, err := c.reread()
	if now := c.active.Load(); err == nil && len(cfg.Couriers) == 0 && len(now.Couriers) > 0 && !now.IsDemo() {
		err = errors.New("couriers: there are none, and an appliance without any receives nothing")
	}
	if err == nil {
		err = c.replace(cfg.WithDemo())
	}
	if err == nil && c.setTokens != nil {
		err = c.setTokens(cfg)
	}
	c.failedReload.Store(nil)
	if err != nil {
		problem := fmt.Sprintf("the configuration that was read at %s is not active, the couriers from before are, and a restart would fail: correct it and run `appliance couriers reload`: %v",
			time.Now().UTC().Format(time.RFC3339), err)
		c.failedReload.Store(&problem)
	}
	return ops.ReloadReport{Couriers: len(c.active.Load().Couriers), Changed: changed}, err
}

// replace activates the couriers of cfg. The decoders are replaced before the intake's
// couriers are, so that no event is accepted that the workers would decode wrongly.
func (c *couriers) replace(cfg config.Config) error {
	before := c.active.Load()
	next := &activeConfig{Config: before.Config}
	next.Couriers, next.Ingest.DefaultCourier = cfg.Couriers, cfg.Ingest.DefaultCourier
	defer func() { c.keys.retain(c.active.Load().Couriers) }() // and none that only a wrong configuration has asked for
	limit := fmt.Sprintf("the active ingest.max_body_bytes, %d, which a restart would change", next.Ingest.MaxBodyBytes)
	if err := next.SizesFit(limit); err != nil {
		return err
	}
	if c.intake != nil {
		if err := c.compile(next); err != nil {
			return err
		}
	}
	if err := c.decoders.set(next.Config); err != nil {
		return err
	}
	if c.intake != nil {
		if err := c.intake.SetCouriers(next.intake); err != nil {
			return errors.Join(err, c.decoders.set(before.Config))
		}
	}
	c.active.Store(next)
	c.warnObserved()
	return nil
}

// maxAhead implements [process.Handler.MaxAhead]. A courier that is not configured any more
// has the default.
func (c *couriers) maxAhead(name string) time.Duration {
	return c.active.Load().Couriers[name].WithDefaults().MaxAhead
}

// reloadRequest is reload for the admin API.
func (c *couriers) reloadRequest(context.Context) (ops.ReloadReport, error) { return c.reload() }

// observed returns the couriers whose requests are accepted without a valid signature.
func (c *couriers) observed() []string {
	cfg := c.active.Load()
	if cfg.Role == config.RoleProcess {
		return nil
	}
	return cfg.Observing()
}

// warnObserved logs them.
func (c *couriers) warnObserved() {
	for _, courier := range c.observed() {
		c.log.Warn("courier is in observe mode: its requests are accepted without a valid signature", "courier", courier)
	}
}

// problems returns what an operator should know of the active couriers.
func (c *couriers) problems() (problems []string) {
	for _, courier := range c.observed() {
		problems = append(problems, "courier "+courier+" is in observe mode: its requests are accepted without a valid signature")
	}
	now := c.active.Load()
	for _, courier := range now.CourierNames() {
		jwks := now.Couriers[courier].JWKS
		if now.Role == config.RoleProcess || jwks == "" {
			continue
		}
		if count, _, problem := c.keys.state(jwks); problem != "" {
			problems = append(problems, fmt.Sprintf("courier %s has %d public keys, which can't be loaded again: %s", courier, count, problem))
		}
	}
	if problem := c.failedReload.Load(); problem != nil {
		problems = append(problems, *problem)
	}
	return problems
}
