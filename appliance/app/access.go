package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ingest/certificate"
	"github.com/fincart/courier-gateway/ops/admin"
)

// serveOperators opens the operators' listener, and keeps it open until the stop. Its
// tokens are read, or made, once its address is known, and read again by each reload.
func (a *App) serveOperators(ctx context.Context, cfg config.Config, deps admin.Deps) (err error) {
	limits := admin.DefaultConfig()
	limits.OpenMetrics = cfg.Admin.OpenMetrics
	var secure *tls.Config
	if cfg.Admin.TLSCertFile != "" {
		files, err := certificate.Open(cfg.Admin.TLSCertFile, cfg.Admin.TLSKeyFile, time.Now, deps.Log.Warn)
		if err != nil {
			return fmt.Errorf("admin.tls_cert_file: %w", err)
		}
		secure, a.adminTLS = files.Config(), true
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", cfg.Admin.Listen)
	if err != nil {
		return fmt.Errorf("open the operators' listener (admin.listen): %w", err)
	}
	a.admin = listener.Addr()
	defer func() {
		if err != nil {
			_ = listener.Close()
		}
	}()
	if limits.Tokens, err = cfg.OpenAccess(a.admin); err != nil {
		return err
	}
	server, err := admin.New(limits, deps)
	if err != nil {
		return err
	}
	a.couriers.setTokens = func(now config.Config) error {
		cfg.Admin.Token, cfg.Admin.Tokens = now.Admin.Token, now.Admin.Tokens // the rest needs a restart
		tokens, err := cfg.OpenAccess(a.admin)
		if err == nil {
			server.SetTokens(tokens)
		}
		return err
	}
	serving := listener
	if secure != nil {
		serving = tls.NewListener(listener, secure)
	}
	a.serve("operators' listener", func() error { return server.Serve(serving) }, server.Shutdown)
	return nil
}
