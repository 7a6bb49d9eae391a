// Package app runs an appliance: it wires the parts together (app.go), starts them,
// watches their health and stops them.
//
// In comes a [config.Config] that has been checked; out come two listeners, the
// couriers' and the operators'. Commands call it, and tests: several appliances may run
// in one process. What belongs to the process is left to its main: signals, the service
// manager, the Go runtime.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ingest"
	"github.com/fincart/courier-gateway/jetstream"
	"github.com/fincart/courier-gateway/ops"
	"github.com/fincart/courier-gateway/ops/admin"
	"github.com/fincart/courier-gateway/process"
)

// App is a running appliance. Several may run in one process, on directories and
// addresses of their own.
type App struct {
	life     *lifecycle
	couriers *couriers
	public   net.Addr // nil in the role process
	admin    net.Addr
	tls      bool // of the public listener
	adminTLS bool
	started  atomic.Bool
	draining atomic.Bool
	alive    func() bool   // see Alive
	refusing func() string // why the intake accepts nothing, "" when it does or there is none
	failed   chan error    // a part that ended by itself
}

// Deps is what an appliance needs from its process.
type Deps struct {
	Log     *slog.Logger
	Version string
	// WrapStore, when set, stands between the workers and the store; for tests
	// and for load tests with injected faults.
	WrapStore func(process.Store) process.Store
	// Reread returns the configuration as it is now, and which of its keys differ
	// from the active ones and need a restart. Nil where there is nothing to read.
	Reread func() (config.Config, []string, error)
}

// Start builds and starts an appliance: every part in the order of the data path,
// from the end to the front, so that nothing is accepted before all that comes
// after it is ready. What was started is stopped again when a later part fails.
func Start(ctx context.Context, cfg config.Config, deps Deps) (_ *App, err error) {
	cfg = cfg.WithDemo()
	app := &App{life: &lifecycle{log: deps.Log}, failed: make(chan error, 4)}
	defer func() {
		if err != nil {
			bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.ShutdownTimeout)
			defer cancel()
			err = errors.Join(err, app.life.Stop(bound))
		}
	}()

	// Addresses, before anything is made.
	first, err := openListeners(ctx, cfg, deps.Log.With("package", "ops"))
	if err != nil {
		return nil, err
	}
	app.life.OnStop("addresses", first.close)
	app.admin, app.adminTLS = first.listener.Addr(), first.secure != nil
	about := admin.About{Version: deps.Version, Role: cfg.Role, StartedAt: time.Now(), DataDir: cfg.DataDir}
	if err := cfg.MakeDataDir(); err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo(deps.Version))

	// Couriers.
	couriers, err := newCouriers(cfg, deps.Log, deps.Reread)
	if err != nil {
		return nil, err
	}
	app.couriers = couriers
	app.life.OnStop("public keys", couriers.keys.close)

	// Queue.
	settings, err := cfg.Broker()
	if err != nil {
		return nil, err
	}
	broker, err := jetstream.Open(ctx, settings, jetstream.Deps{
		Logger: deps.Log.With("package", "jetstream"), Metrics: registry, Lifecycle: app.life,
		Waiting: first.waitFor,
	})
	if err != nil {
		return nil, fmt.Errorf("start the queue: %w", err)
	}
	if err := refuseNewStampKey(ctx, cfg, broker); err != nil {
		return nil, err
	}
	stamper, err := cfg.Stamper()
	if err != nil {
		return nil, err
	}

	// Store, and what consumes the queue. A process that only receives keeps its
	// records of refused requests in the store.
	store, err := openStore(ctx, cfg, app.life, deps.Log.With("package", "persistence"), registry)
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	health := &health{
		queue: broker, store: store.Database, couriers: couriers.problems, draining: &app.draining,
		limits: limitsOf(cfg), slow: slowProblems(couriers, registry),
	}
	operators := admin.Deps{
		Queue: broker, Ingestions: store.Ingestions, Counts: store.Database, About: about, Listeners: app.listeners, Ready: app.readiness, Reload: couriers.reloadRequest,
		Health:   func() (int, []byte) { return health.answer(true) },
		Gatherer: registry, Metrics: registry, Log: deps.Log.With("package", "ops"),
	}
	var consumers *consumers
	if cfg.Role != config.RoleIngest {
		cache, err := openCache(ctx, cfg.Persistence, app.life, deps.Log.With("package", "persistence"), registry)
		if err != nil {
			return nil, fmt.Errorf("open the cache: %w", err)
		}
		consumers = newConsumers(cfg, consumerDeps{
			broker: broker, store: store, wrap: deps.WrapStore, cache: cache, stamper: stamper, decode: couriers.decoders.decode, maxAhead: couriers.maxAhead, mapped: couriers.decoders.mapped,
			metrics: registry, log: deps.Log.With("package", "process"),
		})
		health.cache, health.worker, health.held, health.letters = cache, consumers.oldestHeartbeat, consumers.longestHold, store.Database
		health.outcomes = consumers.outcomeProblems
		operators.Events, operators.Shipments, operators.DeadLetters = store.Ledger, store.Ledger, store.DeadLetters
		operators.Waiting = waitingEvents(broker, health.storeDown)
		operators.Reprocess = consumers.reprocessor.Page
		operators.Unmapped = func(ctx context.Context) (ops.UnmappedList, error) {
			return unmapped(ctx, store.Statuses, couriers.decoders.mapped)
		}
		operators.Worker, operators.Reconciler = consumers.workerStatus, consumers.reconcilerStatus
		operators.Replayer = &process.Replayer{
			DeadLetters: store.DeadLetters, Publisher: broker, Stamper: stamper, Log: deps.Log.With("package", "process"), Now: time.Now,
		}
	}
	app.alive, app.refusing = health.alive, health.refusing(broker.Healthy)
	health.probe(ctx) // so that the first answer is not "starting"
	app.life.Run("health probe", health.run)

	// Intake, which does not listen yet.
	if cfg.Role != config.RoleProcess {
		if cfg.IsDemo() {
			if err := cfg.MakeDemoSecret(); err != nil {
				return nil, fmt.Errorf("make the demo courier's secret: %w", err)
			}
		}
		first := &activeConfig{Config: cfg}
		if err := couriers.compile(first); err != nil {
			return nil, err
		}
		couriers.active.Store(first)
		couriers.intake, err = ingest.New(cfg.Intake(), ingest.Deps{
			Publisher: broker, Couriers: first.intake, Stamper: stamper,
			Store: store.Ingestions, Health: func() (int, []byte) { return health.answer(false) },
			Logger: deps.Log.With("package", "ingest"), Registerer: registry, Now: time.Now,
		})
		if err != nil {
			return nil, err
		}
		operators.Intake, operators.Couriers = couriers.intake, couriers.infos
	}

	// Operators' listener.
	if err := app.serveOperators(cfg, first, operators); err != nil {
		return nil, err
	}

	// Consumers start.
	if consumers != nil {
		consumers.run(app.life)
		app.life.OnStop("pulling", broker.StopPulling)
	}

	// Couriers' listener, last.
	if intake := couriers.intake; intake != nil {
		publicListener, err := intake.Listen()
		if err != nil {
			return nil, fmt.Errorf("open the couriers' listener (ingest.listen): %w", err)
		}
		app.public, app.tls = publicListener.Addr(), cfg.Ingest.TLSCertFile != ""
		app.serve("couriers' listener", func() error { return intake.Serve(publicListener) }, intake.Shutdown)
	}
	couriers.warnObserved()
	app.started.Store(true)
	return app, nil
}

// buildInfo is a metric that is always 1; its labels are the versions.
func buildInfo(version string) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "courier_gateway_build_info", Help: "Always 1; the labels say what is running.",
		ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()},
	})
	g.Set(1)
	return g
}

// serve runs a server in the background. When it ends by itself the appliance
// has failed.
func (a *App) serve(name string, serve func() error, shutdown func(context.Context) error) {
	go func() {
		if err := serve(); err != nil {
			a.failed <- fmt.Errorf("the %s ended: %w", name, err)
		}
	}()
	a.life.OnStop(name, shutdown)
}

// Drain turns the readiness 503; everything goes on as before.
func (a *App) Drain() { a.draining.Store(true) }

// Stop drains and stops every part, within the bound that ctx sets.
func (a *App) Stop(ctx context.Context) error {
	a.Drain()
	return a.life.Stop(ctx)
}

// Public returns the address of the couriers' listener, nil in the role process.
func (a *App) Public() net.Addr { return a.public }

// Admin returns the address of the operators' listener.
func (a *App) Admin() net.Addr { return a.admin }

// Observed returns the couriers whose requests are accepted without a valid signature.
func (a *App) Observed() []string { return a.couriers.observed() }

// Reload replaces the couriers by those of the configuration as [Deps.Reread] returns it
// now. A wrong one changes nothing.
func (a *App) Reload() (ops.ReloadReport, error) { return a.couriers.reload() }

// Alive reports whether the health goes on to be probed; when it does not, the process
// hangs and has to be started again.
func (a *App) Alive() bool { return a.alive() }

// Failed reports a part that ended by itself: the caller has to stop the appliance.
func (a *App) Failed() <-chan error { return a.failed }

// readiness returns why no work should be sent here, nil when it may be.
func (a *App) readiness() error {
	switch {
	case a.draining.Load():
		return errors.New("draining")
	case !a.started.Load():
		return errors.New("starting")
	}
	if why := a.refusing(); a.public != nil && why != "" {
		return errors.New("no event can be accepted: " + why)
	}
	return nil
}

func (a *App) listeners() []ops.Listener {
	all := []ops.Listener{{Name: "admin", Address: a.admin.String(), TLS: a.adminTLS}}
	if a.started.Load() && a.public != nil {
		all = append(all, ops.Listener{Name: "public", Address: a.public.String(), TLS: a.tls})
	}
	return all
}
