package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/appliance/app"
	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ops/terminal"
)

// errSecondSignal ends a stop that a second signal cut short.
var errSecondSignal = errors.New("stopped at once by a second signal; what was not finished comes again after the next start")

func (c *cli) serve() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Receive, queue and process events",
		Long: "Receive couriers' events, queue them on disk and apply them to shipments.\n\n" +
			"Without any configuration it keeps everything in ./data, makes a courier\n" +
			"called demo, and prints a curl line to try it with.\n\n" +
			"SIGTERM stops it cleanly, a second one at once (during ingest.drain_delay, the second\n" +
			"one ends that and a third one stops at once); SIGHUP reads the couriers again.",
		Example: "  appliance serve\n  appliance serve --config /etc/courier-gateway/appliance.toml --data-dir /var/lib/courier-gateway\n" +
			"  appliance serve --role ingest",
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

// runServe starts an appliance and returns after a signal or a failure has ended it.
func (c *cli) runServe(cmd *cobra.Command, signals <-chan os.Signal) error {
	l, err := read(cmd, "")
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
	warn(log, l)
	defer tuneRuntime(l.JetStream)()
	running, err := startUnlessSignalled(cmd.Context(), l.Config, app.Deps{Log: log, Version: c.version, Reread: rereader(cmd, l, log), WrapStore: c.wrapStore}, signals)
	if err != nil {
		return err
	}
	c.welcome(running, &l)
	notify(log, daemon.SdNotifyReady)
	stopWatchdog := startWatchdog(log, running.Alive)
	failure := wait(cmd.Context(), running, log, signals)
	if failure == nil && running.Public() != nil {
		failure = drain(cmd.Context(), running, l.Ingest.DrainDelay, log, signals)
	}
	stopWatchdog()
	notify(log, daemon.SdNotifyStopping)
	return errors.Join(failure, stopWithin(running, l.ShutdownTimeout, signals))
}

// warn logs what in a configuration is likely a mistake.
func warn(log *slog.Logger, l config.Loaded) {
	for _, warning := range l.Warnings() {
		log.Warn("the configuration may have a mistake", "key", warning.Path, "problem", warning.Message)
	}
	for _, warning := range app.MachineWarnings(l.Config) {
		log.Warn("events will be refused", "key", warning.Path, "problem", warning.Message)
	}
}

// startUnlessSignalled starts an appliance; a signal before that is done cancels it.
func startUnlessSignalled(ctx context.Context, cfg config.Config, deps app.Deps, signals <-chan os.Signal) (*app.App, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	started, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		for {
			select {
			case s := <-signals:
				if s != syscall.SIGHUP {
					cancel(fmt.Errorf("given up by signal %s", s))
				}
			case <-started:
				return
			}
		}
	}()
	running, err := app.Start(ctx, cfg, deps)
	close(started)
	<-watched
	if err != nil && ctx.Err() != nil {
		err = errors.Join(context.Cause(ctx), err)
	}
	return running, err
}

// wait returns after a signal to stop, the end of ctx, or the failure of a part.
func wait(ctx context.Context, running *app.App, log *slog.Logger, signals <-chan os.Signal) error {
	for {
		select {
		case s := <-signals:
			if s != syscall.SIGHUP {
				log.Info("stopping", "signal", s.String())
				return nil
			}
			reload(running, log)
		case err := <-running.Failed():
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// drain keeps everything open for a while after the readiness has turned 503, so that a
// load balancer has time to notice. Another signal ends it; so does the failure of a part,
// which it returns.
func drain(ctx context.Context, running *app.App, delay time.Duration, log *slog.Logger, signals <-chan os.Signal) error {
	if delay <= 0 {
		return nil
	}
	running.Drain()
	log.Info("not ready any more, the couriers' listener stays open for a while (ingest.drain_delay)", "delay", delay)
	over := time.NewTimer(delay)
	defer over.Stop()
	for {
		select {
		case s := <-signals:
			if s != syscall.SIGHUP {
				log.Info("the couriers' listener closes now", "signal", s.String())
				return nil
			}
		case err := <-running.Failed():
			return err
		case <-over.C:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// rereader returns a function that reads the configuration again, from the file that
// was found at the start, even if that file is gone.
func rereader(cmd *cobra.Command, before config.Loaded, log *slog.Logger) func() (config.Config, []string, error) {
	return func() (config.Config, []string, error) {
		l, err := read(cmd, before.File)
		if err == nil {
			err = l.Check()
		}
		if err != nil {
			return config.Config{}, nil, err
		}
		warn(log, l)
		changed, err := before.RestartNeeded(l)
		return l.Config, changed, err
	}
}

// reload replaces the couriers; a wrong configuration changes nothing.
func reload(running *app.App, log *slog.Logger) {
	report, err := running.Reload()
	if err != nil {
		log.Error("the new configuration is wrong, the old couriers stay active", "error", err)
		return
	}
	log.Info("couriers reloaded", "couriers", report.Couriers)
	if len(report.Changed) > 0 {
		log.Warn("other settings have changed and need a restart", "keys", strings.Join(report.Changed, " "))
	}
}

// stopWithin stops the appliance within the bound, or at once on another signal.
func stopWithin(running *app.App, bound time.Duration, signals <-chan os.Signal) error {
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- running.Stop(ctx) }()
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

// newLogger returns a logger with the configured level and format, both of which
// have been validated.
func newLogger(w io.Writer, cfg config.LogConfig) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(escapedJSON{w}, options))
	}
	return slog.New(slog.NewTextHandler(w, options)) // which quotes what can't be printed
}

// escapedJSON escapes in JSON lines what acts on a terminal that shows them, such as a
// change of the direction of writing.
type escapedJSON struct{ io.Writer }

func (e escapedJSON) Write(line []byte) (int, error) {
	if _, err := io.WriteString(e.Writer, terminal.EscapeJSON(string(line))); err != nil {
		return 0, err
	}
	return len(line), nil
}
