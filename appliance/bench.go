package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/appliance/app"
	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/bench"
	loadtest "github.com/fincart/courier-gateway/bench/load"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/process"
)

// benchDeps is what the load tests need of this process.
func (c *cli) benchDeps() loadtest.Deps {
	return loadtest.Deps{
		Target: target, Admin: findTarget, Ledger: app.NewLedger, Serve: c.benchServe(), Progress: c.progress("sent", 0),
		In: c.in, Out: c.out, Now: time.Now,
	}
}

// benchServe is what `bench` starts to put under load: an appliance that serves
// as always, but for a store that fails the events which the seed decides on.
func (c *cli) benchServe() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "serve",
		Example: "  appliance bench serve --data-dir /tmp/bench",
		Short:   "Serve with injected faults; bench starts this by itself",
		Long: "Serve as `appliance serve` does, for a load test: one courier, whose secret is in\n" +
			"the environment variable " + loadtest.SecretVariable + ", and a store that fails a share of the\n" +
			"events. Which events, and how often, is decided by a hash of the seed and the\n" +
			"idempotency key: a transient fault fails the first one to three attempts, a\n" +
			"permanent one all.\n\n" +
			"It reads no configuration but --config, and refuses to start while variables of\n" +
			"the environment configure an appliance, so that it never reaches the stores of a\n" +
			"real one. It prints one line of JSON when it serves: url, admin, dataDir, pid.",
		Args: cobra.NoArgs,
	}
	courier := cmd.Flags().String("courier", config.DemoCourier, "name of its courier")
	var faults bench.Faults
	cmd.Flags().Var(&faults.Transient, "transient", "share of events whose first attempts fail")
	cmd.Flags().Var(&faults.Permanent, "permanent", "share of events that can't be applied")
	cmd.Flags().Uint64Var(&faults.Seed, "seed", 0, "number that decides which events those are")
	cmd.Flags().String("listen", "", "address of the couriers' listener")
	cmd.Flags().String("sync", "", "group, always or interval (jetstream.sync)")
	withStdin := cmd.Flags().Bool("until-stdin-ends", false, "stop when standard input ends, too")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		signals := make(chan os.Signal, 4)
		signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
		defer signal.Stop(signals)
		if *withStdin {
			go func() {
				_, _ = io.Copy(io.Discard, c.in) // ends with the process that started this
				signals <- syscall.SIGTERM
			}()
		}
		return c.runBenchServe(cmd, *courier, faults, signals)
	}
	return cmd
}

// runBenchServe starts the appliance, prints its addresses, and returns after a signal
// has ended it.
func (c *cli) runBenchServe(cmd *cobra.Command, courier string, faults bench.Faults, signals <-chan os.Signal) error {
	l, err := benchConfig(cmd, courier)
	if err != nil {
		return err
	}
	log := newLogger(c.err, l.Log)
	defer tuneRuntime(l.JetStream)()
	running, err := app.Start(cmd.Context(), l.Config, app.Deps{
		Log: log, Version: c.version,
		WrapStore: func(s process.Store) process.Store { return &faultyStore{Store: s, faults: faults} },
	})
	if err != nil {
		return err
	}
	ready := loadtest.Ready{
		URL: publicURL(l.Ingest, running.Public()), Admin: adminURL(l.Admin, running.Admin()), DataDir: absolute(l.DataDir), PID: os.Getpid(),
	}
	failure := json.NewEncoder(c.out).Encode(ready)
	if failure == nil {
		failure = wait(cmd.Context(), running, log, signals)
	}
	return errors.Join(failure, stopWithin(running, l.ShutdownTimeout, signals))
}

// benchConfig returns the configuration of an appliance that is there to be
// tested: defaults, the file that was asked for, the flags, and one courier.
func benchConfig(cmd *cobra.Command, courier string) (config.Loaded, error) {
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, config.EnvPrefix) {
			return config.Loaded{}, usage{errors.New(name + " is set: bench serve takes no settings from the environment, so that a load test never reaches a real appliance's stores; unset it")}
		}
	}
	if !cmd.Flags().Changed("config") {
		if err := cmd.Flags().Set("config", os.DevNull); err != nil { // not the file that lies here
			return config.Loaded{}, err
		}
	}
	l, err := load(cmd)
	if err != nil {
		return config.Loaded{}, err
	}
	if sync, err := cmd.Flags().GetString("sync"); err == nil && sync != "" {
		l.JetStream.Sync = sync
	}
	l.Couriers = map[string]config.Courier{courier: config.Courier{Secrets: []config.CourierSecret{{Secret: "env:" + loadtest.SecretVariable}}}.WithDefaults()}
	l.Ingest.DefaultCourier = courier
	l.Ingest.MaxConnsPerIP = l.Ingest.MaxConns // all of them come from here
	return l, l.Check()
}

// faultyStore fails the changes that apply events with a fault. It keeps nothing:
// an event's ledger row says which attempt this is.
type faultyStore struct {
	process.Store
	faults bench.Faults
}

// Commit fails those changes and leaves the others to the store. A change for
// several events fails whole; their handler then tries them one by one.
func (f *faultyStore) Commit(ctx context.Context, changes []event.Change) ([]error, error) {
	errs := make([]error, len(changes))
	passed := make([]event.Change, 0, len(changes))
	for i, c := range changes {
		if errs[i] = f.failureOf(&c); errs[i] == nil {
			passed = append(passed, c)
		}
	}
	inner, err := f.Store.Commit(ctx, passed)
	if err != nil {
		return nil, err
	}
	for i := range errs {
		if errs[i] == nil {
			errs[i], inner = inner[0], inner[1:]
		}
	}
	return errs, nil
}

// failureOf returns the error of the first of a change's events that has a fault
// at this attempt. What merely records an attempt's end never fails.
func (f *faultyStore) failureOf(c *event.Change) error {
	if c.Shipment == nil {
		return nil
	}
	for i := range c.Records {
		r := &c.Records[i]
		if fault := f.faults.Of(r.Key); len(r.Attempts) > 0 {
			if err := fault.Err(r.Attempts[len(r.Attempts)-1].Number); err != nil {
				return err
			}
		}
	}
	return nil
}
