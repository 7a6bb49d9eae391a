package app

import (
	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ops/admin"
)

// serveOperators takes the operators' listener over, and keeps it open until the stop. Its
// tokens are read, or made, now that its address is known, and read again by each reload.
func (a *App) serveOperators(cfg config.Config, first *starting, deps admin.Deps) (err error) {
	limits := admin.DefaultConfig()
	limits.OpenMetrics = cfg.Admin.OpenMetrics
	if limits.Tokens, err = cfg.OpenAccess(a.admin, false, deps.Log.Warn); err != nil {
		return err
	}
	own := config.OwnSecrets(cfg)
	if err := a.couriers.hideTokens(own, limits.Tokens); err != nil {
		return err
	}
	server, err := admin.New(limits, deps)
	if err != nil {
		return err
	}
	a.couriers.setTokens = func(now config.Config) error {
		cfg.Admin.Token, cfg.Admin.Tokens = now.Admin.Token, now.Admin.Tokens // the rest needs a restart
		tokens, err := cfg.OpenAccess(a.admin, true, deps.Log.Warn)
		if err != nil {
			return err
		}
		server.SetTokens(tokens)
		return a.couriers.hideTokens(own, tokens)
	}
	listener, err := first.handOver()
	if err != nil {
		return err
	}
	a.serve("operators' listener", func() error { return server.Serve(listener) }, server.Shutdown)
	return nil
}
