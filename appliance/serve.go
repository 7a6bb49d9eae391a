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

	"github.com/fincart/courier-gateway/appliance/app"
	"github.com/fincart/courier-gateway/appliance/config"
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
	if err := l.Check(); err != nil {
		return err
	}
	log := newLogger(c.err, l.Log)
	if l.File != "" {
		log.Info("configuration read", "file", l.File)
	}
	addProcessor(l.JetStream)
	running, err := c.start(cmd.Context(), l.Config, app.Deps{Log: log, Version: c.version, Reread: c.rereader(cmd, l), WrapStore: c.wrapStore}, signals)
	if err != nil {
		return err
	}
	defer tune()()
	c.welcome(running, &l)
	app.Notify(log, daemon.SdNotifyReady)
	failure := c.stay(cmd.Context(), running, log, signals)
	app.Notify(log, daemon.SdNotifyStopping)
	return errors.Join(failure, c.leave(running, l.ShutdownTimeout, signals))
}

// start starts an appliance; a signal before that is done gives it up.
func (c *cli) start(ctx context.Context, cfg config.Config, deps app.Deps, signals <-chan os.Signal) (*app.App, error) {
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
	app, err := app.Start(ctx, cfg, deps)
	close(started)
	<-watched
	if err != nil && ctx.Err() != nil {
		err = errors.Join(context.Cause(ctx), err)
	}
	return app, err
}

// stay serves until it is told to stop, or a part fails.
func (c *cli) stay(ctx context.Context, app *app.App, log *slog.Logger, signals <-chan os.Signal) error {
	for {
		select {
		case s := <-signals:
			if s != syscall.SIGHUP {
				log.Info("stopping", "signal", s.String())
				return nil
			}
			reloadBySignal(app, log)
		case err := <-app.Failed():
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// rereader returns what reads the configuration anew: from the file that was
// found at the start, also when it is gone now.
func (c *cli) rereader(cmd *cobra.Command, before config.Loaded) func() (config.Config, []string, error) {
	return func() (config.Config, []string, error) {
		l, err := c.read(cmd, before.File)
		if err == nil {
			err = l.Check()
		}
		if err != nil {
			return config.Config{}, nil, err
		}
		changed, err := before.RestartNeeded(l)
		return l.Config, changed, err
	}
}

// reloadBySignal takes over the couriers; a wrong configuration changes nothing.
func reloadBySignal(app *app.App, log *slog.Logger) {
	report, err := app.Reload()
	if err != nil {
		log.Error("the new configuration is wrong, the old couriers stay in force", "error", err)
		return
	}
	log.Info("couriers reloaded", "couriers", report.Couriers)
	if len(report.Changed) > 0 {
		log.Warn("other settings have changed and need a restart", "keys", strings.Join(report.Changed, " "))
	}
}

// leave stops the appliance within the bound, or at once on another signal.
func (c *cli) leave(app *app.App, bound time.Duration, signals <-chan os.Signal) error {
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- app.Stop(ctx) }()
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
func (c *cli) welcome(app *app.App, l *config.Loaded) {
	cfg := l.Config
	base := publicURL(cfg.Ingest, app.Public())
	fmt.Fprintf(c.out, "\nThe Courier Gateway appliance %s is running.\n\n", c.version)
	if app.Public() != nil {
		path := "/v1/events/courier"
		if cfg.WithDemo().DefaultCourier() == "" {
			path += "/{courier}"
		}
		fmt.Fprintf(c.out, "  couriers post to  %s%s\n", base, path)
		fmt.Fprintf(c.out, "  health            %s/health\n", base)
	}
	fmt.Fprintf(c.out, "  operators         http://%s (metrics, status, API)\n", app.Admin())
	fmt.Fprintf(c.out, "  data              %s\n\n", absolute(cfg.DataDir))
	for _, courier := range app.Observed() {
		fmt.Fprintf(c.out, "  WARNING           courier %s is in observe mode: its requests are accepted without proof\n\n", courier)
	}
	if demo := cfg.WithDemo(); app.Public() != nil && demo.IsDemo() {
		executable, _ := os.Executable() // unknown: then as installed
		c.demonstrate(base, invocation(l, executable, app.Admin()), demo)
	}
}

// demonstrate prints a signed request that works when pasted, and the commands
// that show what becomes of it.
func (c *cli) demonstrate(base, invocation string, cfg config.Config) {
	line, key, shipment, err := demoLine(base, cfg)
	if err != nil {
		fmt.Fprintf(c.err, "can't print a request to try: %v\n", err)
		return
	}
	fmt.Fprintf(c.out, "No couriers are configured, so there is one called %q; its secret is in\n%s. Try it within %s:\n\n%s\n\n",
		config.DemoCourier, filepath.Join(cfg.DataDir, config.DemoSecretFile), cfg.Couriers[config.DemoCourier].Tolerance, line)
	fmt.Fprintf(c.out, "Then look at what became of it:\n\n  %s events show %s\n  %s shipments show %s\n\n",
		invocation, key, invocation, shipment)
}

// publicURL is where couriers reach the listener, as far as this machine knows.
func publicURL(cfg config.IngestConfig, bound net.Addr) string {
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
func newLogger(w io.Writer, cfg config.LogConfig) *slog.Logger {
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
