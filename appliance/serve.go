package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
)

// errSecondSignal ends a stop that somebody did not want to wait for.
var errSecondSignal = errors.New("stopped at once by a second signal; what was not finished comes again after the next start")

func (c *cli) serve() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Receive, queue and process events",
		Long: "Receive couriers' events, queue them on disk and apply them to shipments.\n\n" +
			"Without any configuration it keeps everything in ./data, makes a courier\n" +
			"called demo, and prints a curl line to try it with.\n\n" +
			"SIGTERM stops it cleanly, a second one at once; SIGHUP reads the couriers anew.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			signals := make(chan os.Signal, 4)
			signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
			defer signal.Stop(signals)
			return c.runServe(cmd, signals)
		},
	}
	cmd.Flags().String("listen", "", "address of the couriers' listener (ingest.listen)")
	cmd.Flags().String("role", "", "all, ingest or process (role)")
	return cmd
}

// runServe starts an appliance and stays until a signal or a failure ends it.
func (c *cli) runServe(cmd *cobra.Command, signals <-chan os.Signal) error {
	l, err := c.read(cmd, "")
	if err != nil {
		return err
	}
	if err := l.check(); err != nil {
		return err
	}
	log := newLogger(c.err, l.Log)
	if l.File != "" {
		log.Info("configuration read", "file", l.File)
	}
	app, err := c.start(cmd.Context(), l.Config, Deps{Log: log, Version: c.version, Reread: c.rereader(cmd, l), WrapStore: c.wrapStore}, signals)
	if err != nil {
		return err
	}
	c.welcome(app, &l)
	notify(log, daemon.SdNotifyReady)
	failure := c.stay(cmd.Context(), app, signals)
	notify(log, daemon.SdNotifyStopping)
	return errors.Join(failure, c.leave(app, l.ShutdownTimeout, signals))
}

// start starts an appliance; a signal before that is done gives it up.
func (c *cli) start(ctx context.Context, cfg Config, deps Deps, signals <-chan os.Signal) (*App, error) {
	ctx, giveUp := context.WithCancelCause(ctx)
	started, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		for {
			select {
			case s := <-signals:
				if s != syscall.SIGHUP {
					giveUp(fmt.Errorf("given up by signal %s", s))
				}
			case <-started:
				return
			}
		}
	}()
	app, err := start(ctx, cfg, deps)
	close(started)
	<-watched
	if err != nil && ctx.Err() != nil {
		err = errors.Join(context.Cause(ctx), err)
	}
	return app, err
}

// stay serves until it is told to stop, or a part fails.
func (c *cli) stay(ctx context.Context, app *App, signals <-chan os.Signal) error {
	for {
		select {
		case s := <-signals:
			if s != syscall.SIGHUP {
				app.log.Info("stopping", "signal", s.String())
				return nil
			}
			app.reloadBySignal()
		case err := <-app.failed:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// rereader returns what reads the configuration anew: from the file that was
// found at the start, also when it is gone now.
func (c *cli) rereader(cmd *cobra.Command, before Loaded) func() (Config, []string, error) {
	return func() (Config, []string, error) {
		l, err := c.read(cmd, before.File)
		if err == nil {
			err = l.check()
		}
		if err != nil {
			return Config{}, nil, err
		}
		changed, err := before.restartNeeded(l)
		return l.Config, changed, err
	}
}

// reloadBySignal takes over the couriers; a wrong configuration changes nothing.
func (a *App) reloadBySignal() {
	report, err := a.reload()
	if err != nil {
		a.log.Error("the new configuration is wrong, the old couriers stay in force", "error", err)
		return
	}
	a.log.Info("couriers reloaded", "couriers", report.Couriers)
	if len(report.Changed) > 0 {
		a.log.Warn("other settings have changed and need a restart", "keys", strings.Join(report.Changed, " "))
	}
}

// leave stops the appliance within the bound, or at once on another signal.
func (c *cli) leave(app *App, bound time.Duration, signals <-chan os.Signal) error {
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- app.stop(ctx) }()
	for {
		select {
		case err := <-stopped:
			return err
		case s := <-signals:
			if s != syscall.SIGHUP {
				return errSecondSignal
			}
		}
	}
}

// welcome tells where everything is and, on a first start, how to try it.
func (c *cli) welcome(app *App, l *Loaded) {
	cfg := l.Config
	base := publicURL(cfg.Ingest, app.public)
	fmt.Fprintf(c.out, "\nThe Courier Gateway appliance %s is running.\n\n", c.version)
	if app.public != nil {
		path := "/v1/events/courier"
		if cfg.withDemo().defaultCourier() == "" {
			path += "/{courier}"
		}
		fmt.Fprintf(c.out, "  couriers post to  %s%s\n", base, path)
		fmt.Fprintf(c.out, "  health            %s/health\n", base)
	}
	fmt.Fprintf(c.out, "  operators         http://%s (metrics, status, API)\n", app.admin)
	fmt.Fprintf(c.out, "  data              %s\n\n", absolute(cfg.DataDir))
	for _, courier := range app.observed() {
		fmt.Fprintf(c.out, "  WARNING           courier %s is in observe mode: its requests are accepted without proof\n\n", courier)
	}
	if demo := cfg.withDemo(); app.public != nil && demo.isDemo() {
		executable, _ := os.Executable() // unknown: then as installed
		c.demonstrate(base, l.invocation(executable, app.admin), demo)
	}
}

// demonstrate prints a signed request that works when pasted, and the commands
// that show what becomes of it.
func (c *cli) demonstrate(base, invocation string, cfg Config) {
	line, key, shipment, err := demoLine(base, cfg)
	if err != nil {
		fmt.Fprintf(c.err, "can't print a request to try: %v\n", err)
		return
	}
	fmt.Fprintf(c.out, "No couriers are configured, so there is one called %q; its secret is in\n%s. Try it within %s:\n\n%s\n\n",
		demoCourier, filepath.Join(cfg.DataDir, demoSecretFile), cfg.Couriers[demoCourier].Tolerance, line)
	fmt.Fprintf(c.out, "Then look at what became of it:\n\n  %s events show %s\n  %s shipments show %s\n\n",
		invocation, key, invocation, shipment)
}

// publicURL is where couriers reach the listener, as far as this machine knows.
func publicURL(cfg IngestConfig, bound net.Addr) string {
	if cfg.PublicURL != "" {
		return strings.TrimSuffix(cfg.PublicURL, "/")
	}
	scheme := "http"
	if cfg.TLSCertFile != "" {
		scheme = "https"
	}
	address := cfg.Listen
	if bound != nil {
		address = bound.String()
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return scheme + "://" + address
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// newLogger returns a logger with the configured level and format, both of which
// have been validated.
func newLogger(w io.Writer, cfg LogConfig) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
