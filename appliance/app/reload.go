package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ingest"
	"github.com/fincart/courier-gateway/ops"
)

// Reload takes over the couriers of the configuration as it is now. A wrong one
// changes nothing.
func (a *App) Reload() (ops.ReloadReport, error) {
	if a.reread == nil {
		return ops.ReloadReport{}, errors.New("there is no configuration to read again")
	}
	a.reloads.Lock()
	defer a.reloads.Unlock()
	cfg, changed, err := a.reread()
	if now := a.current.Load(); err == nil && len(cfg.Couriers) == 0 && len(now.Couriers) > 0 && !now.IsDemo() {
		err = errors.New("couriers: there are none, and an appliance without any receives nothing")
	}
	if err == nil {
		err = a.takeOver(cfg.WithDemo())
	}
	a.unreloaded.Store(nil)
	if err != nil {
		fault := fmt.Sprintf("the configuration that was read at %s is not in force, the couriers from before are, and a restart would fail: correct it and run `appliance couriers reload`: %v",
			time.Now().UTC().Format(time.RFC3339), err)
		a.unreloaded.Store(&fault)
	}
	return ops.ReloadReport{Couriers: len(a.current.Load().Couriers), Changed: changed}, err
}

// reloadFor is Reload, for an operator who waits for it.
func (a *App) reloadFor(context.Context) (ops.ReloadReport, error) { return a.Reload() }

// takeOver puts the couriers of cfg in force, with their secrets read. The workers
// learn of them before the intake does, so that nothing is accepted that they would
// take for something else.
func (a *App) takeOver(cfg config.Config) error {
	before := a.current.Load()
	next := &inForce{Config: before.Config}
	next.Couriers, next.Ingest.DefaultCourier = cfg.Couriers, cfg.Ingest.DefaultCourier
	defer func() { a.keys.retain(a.current.Load().Couriers) }() // and none that only a wrong configuration has asked for
	couriers, err := a.prepare(next)
	if err != nil {
		return err
	}
	if err := a.readers.set(next.Config); err != nil {
		return err
	}
	if a.ingest != nil {
		if err := a.ingest.SetCouriers(couriers); err != nil {
			return errors.Join(err, a.readers.set(before.Config))
		}
	}
	a.current.Store(next)
	a.warnObserved()
	return nil
}

// prepare compiles the couriers that are to be in force next, for an intake if there
// is one.
func (a *App) prepare(next *inForce) (couriers ingest.Couriers, err error) {
	limit := fmt.Sprintf("the %d of ingest.max_body_bytes in force, which a restart would change", next.Ingest.MaxBodyBytes)
	if err = next.SizesFit(limit); err != nil || a.ingest == nil {
		return couriers, err
	}
	if next.schemes, err = next.Config.Schemes(a.keys.source); err != nil {
		return couriers, err
	}
	return next.IntakeCouriers(next.schemes)
}
