// Package app runs an appliance: it wires the parts together (app.go), starts them,
// watches their health and stops them.
//
// In comes a [config.Config] that has been checked; out come two listeners, the
// couriers' and the operators'. Commands call it, and tests: several appliances may run
// in one process. It changes nothing that belongs to the process: no signals, no
// settings of the Go runtime.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
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
	log      *slog.Logger
	ingest   *ingest.Server // nil in the role process
	readers  readers
	keys     *keyring
	current  atomic.Pointer[inForce]
	public   net.Addr // nil in the role process
	admin    net.Addr
	tls      bool
	reread   func() (config.Config, []string, error)
	reloads  sync.Mutex // one at a time
	started  atomic.Bool
	draining atomic.Bool
	failed   chan error // a part that ended by itself
	// unreloaded is why the configuration that was read last is not in force.
	unreloaded atomic.Pointer[string]
}

// Deps is what an appliance needs from its process.
type Deps struct {
	Log     *slog.Logger
	Version string
	// WrapStore, when set, stands between the workers and the store; for tests
	// and for load tests with injected faults.
	WrapStore func(process.Store) process.Store
	// Reread returns the configuration as it is now, and which of its keys differ
	// from those in force and need a restart. Nil where there is nothing to read.
	Reread func() (config.Config, []string, error)
}

// Start builds and starts an appliance: every part in the order of the data path,
// from the end to the front, so that nothing is accepted before all that comes
// after it is ready. What was started is stopped again when a later part fails.
func Start(ctx context.Context, cfg config.Config, deps Deps) (_ *App, err error) {
	cfg = cfg.WithDemo()
	app := &App{
		life: &lifecycle{log: deps.Log}, log: deps.Log, keys: newKeyring(deps.Log.With("package", "appliance")), reread: deps.Reread,
		failed: make(chan error, 4),
	}
	defer func() {
		if err != nil {
			bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.ShutdownTimeout)
			defer cancel()
			err = errors.Join(err, app.life.stop(bound))
		}
	}()
	about := admin.About{Version: deps.Version, Role: cfg.Role, StartedAt: time.Now(), DataDir: cfg.DataDir}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory (data_dir): %w", err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo(deps.Version))

	// Couriers.
	app.life.onStop("public keys", app.keys.close)
	if err := app.readers.set(cfg); err != nil {
		return nil, err
	}
	app.current.Store(&inForce{Config: cfg})

	// Queue.
	settings, err := cfg.Broker()
	if err != nil {
		return nil, err
	}
	broker, err := jetstream.Open(ctx, settings, jetstream.Deps{
		Logger: deps.Log.With("package", "jetstream"), Metrics: registry,
	})
	if err != nil {
		return nil, fmt.Errorf("start the queue: %w", err)
	}
	app.life.onStop("queue", broker.Close)
	if err := refuseNewStampKey(ctx, cfg, broker); err != nil {
		return nil, err
	}
	stamper, err := cfg.Stamper()
	if err != nil {
		return nil, err
	}

	// Stores and workers. A process that only receives keeps what it refuses there.
	store, err := openStore(ctx, cfg, app.life, deps.Log.With("package", "persistence"), registry)
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	health := &health{
		queue: broker, store: store.Database, couriers: app.courierProblems, draining: &app.draining,
		limits: limitsOf(cfg), slow: app.slowProblems(registry),
	}
	operators := admin.Deps{
		Queue: broker, Ingestions: store.Ingestions, Counts: store.Database, About: about, Listeners: app.listeners, Ready: app.readiness, Reload: app.reloadFor,
		Health:   func() (int, []byte) { return health.answer(true) },
		Gatherer: registry, Metrics: registry, Log: deps.Log.With("package", "ops"),
	}
	var crew *workforce
	if cfg.Role != config.RoleIngest {
		cache, err := openCache(ctx, cfg.Persistence, app.life, deps.Log.With("package", "persistence"), registry)
		if err != nil {
			return nil, fmt.Errorf("open the cache: %w", err)
		}
		crew = newWorkforce(cfg, broker, store, cache, stamper, app.readers.read, registry, deps)
		health.cache, health.worker, health.held, health.letters = cache, crew.oldestBeat, crew.held, store.Database
		health.outcomes = crew.outcomeProblems
		operators.Events, operators.Shipments, operators.DeadLetters = store.Ledger, store.Ledger, store.DeadLetters
		operators.Worker, operators.Reconciler = crew.workerStatus, crew.reconcilerStatus
		operators.Replayer = &process.Replayer{
			DeadLetters: store.DeadLetters, Publisher: broker, Stamper: stamper, Log: deps.Log.With("package", "process"), Now: time.Now,
		}
	}
	health.probe(ctx) // so that nobody who asks is told of a start that is over
	app.life.run("health probe", health.run)

	// Intake, which does not listen yet.
	if cfg.Role != config.RoleProcess {
		if cfg.IsDemo() {
			if err := cfg.MakeDemoSecret(); err != nil {
				return nil, fmt.Errorf("make the demo courier's secret: %w", err)
			}
		}
		schemes, err := cfg.Schemes(app.keys.source)
		if err != nil {
			return nil, err
		}
		couriers, err := cfg.IntakeCouriers(schemes)
		if err != nil {
			return nil, err
		}
		app.current.Store(&inForce{Config: cfg, schemes: schemes})
		app.ingest, err = ingest.New(cfg.Intake(), ingest.Deps{
			Publisher: broker, Couriers: couriers, Stamper: stamper,
			Recorder: store.Ingestions, Health: func() (int, []byte) { return health.answer(false) },
			Logger: deps.Log.With("package", "ingest"), Registerer: registry, Now: time.Now,
		})
		if err != nil {
			return nil, err
		}
		operators.Intake, operators.Couriers = app.ingest, app.courierInfos
	}

	// Operators.
	operatorsServer, err := newAdmin(cfg.Admin, operators)
	if err != nil {
		return nil, err
	}
	adminListener, err := listen(ctx, cfg.Admin.Listen)
	if err != nil {
		return nil, fmt.Errorf("open the operators' listener (admin.listen): %w", err)
	}
	app.admin = adminListener.Addr()
	app.serve("operators' listener", func() error { return operatorsServer.Serve(adminListener) }, operatorsServer.Shutdown)
	if crew != nil {
		crew.run(app.life)
		app.life.onStop("pulling", broker.StopPulling)
	}

	// Doors.
	if app.ingest != nil {
		publicListener, err := app.ingest.Listen()
		if err != nil {
			return nil, fmt.Errorf("open the couriers' listener (ingest.listen): %w", err)
		}
		app.public, app.tls = publicListener.Addr(), cfg.Ingest.TLSCertFile != ""
		app.serve("couriers' listener", func() error { return app.ingest.Serve(publicListener) }, app.ingest.Shutdown)
	}
	app.life.run("watchdog", func(ctx context.Context) error { return watchdog(ctx, deps.Log, health.alive) })
	app.warnObserved()
	app.started.Store(true)
	return app, nil
}

// newAdmin returns the operators' server with its token read.
func newAdmin(cfg config.AdminConfig, deps admin.Deps) (*admin.Server, error) {
	limits := admin.DefaultConfig()
	if cfg.Token.IsSet() {
		token, err := cfg.Token.Resolve()
		if err != nil {
			return nil, fmt.Errorf("admin.token: %w", err)
		}
		limits.Token = string(token)
	}
	return admin.New(limits, deps)
}

// serve runs a server in the background. When it ends by itself the appliance
// has failed.
func (a *App) serve(name string, serve func() error, shutdown func(context.Context) error) {
	go func() {
		if err := serve(); err != nil {
			a.failed <- fmt.Errorf("the %s ended: %w", name, err)
		}
	}()
	a.life.onStop(name, shutdown)
}

// Stop drains and stops every part, within the bound that ctx sets.
func (a *App) Stop(ctx context.Context) error {
	a.draining.Store(true)
	return a.life.stop(ctx)
}

// Public returns the address of the couriers' listener, nil in the role process.
func (a *App) Public() net.Addr { return a.public }

// Admin returns the address of the operators' listener.
func (a *App) Admin() net.Addr { return a.admin }

// Failed reports a part that ended by itself: the caller has to stop the appliance.
func (a *App) Failed() <-chan error { return a.failed }

// readiness returns why no work should be sent here, nil when it may be.
func (a *App) readiness() error {
	switch {
	case a.draining.Load():
		return errors.New("draining")
	case !a.started.Load():
		return errors.New("starting")
	default:
		return nil
	}
}

func (a *App) listeners() []ops.Listener {
	all := []ops.Listener{{Name: "admin", Address: a.admin.String()}}
	if a.started.Load() && a.public != nil {
		all = append(all, ops.Listener{Name: "public", Address: a.public.String(), TLS: a.tls})
	}
	return all
}

// Observed returns the couriers whose requests are accepted without proof.
func (a *App) Observed() []string {
	cfg := a.current.Load()
	if cfg.Role == config.RoleProcess {
		return nil
	}
	return cfg.Observing()
}

// courierProblems returns what an operator should know of the couriers in force.
func (a *App) courierProblems() (problems []string) {
	for _, courier := range a.Observed() {
		problems = append(problems, "courier "+courier+" is in observe mode: its requests are accepted without proof")
	}
	now := a.current.Load()
	for _, courier := range now.CourierNames() {
		jwks := now.Couriers[courier].JWKS
		if now.Role == config.RoleProcess || jwks == "" {
			continue
		}
		if count, _, problem := a.keys.state(jwks); problem != "" {
			problems = append(problems, fmt.Sprintf("courier %s has %d public keys, which can't be loaded anew: %s", courier, count, problem))
		}
	}
	if fault := a.unreloaded.Load(); fault != nil {
		problems = append(problems, *fault)
	}
	return problems
}

// slowProblems returns what looks at all that changes slowly; one caller at a time.
func (a *App) slowProblems(figures prometheus.Gatherer) func() []string {
	refused := &refusedCouriers{
		figures: figures, now: time.Now, of: map[string]*refusedCourier{},
		couriers: func() []string { return a.current.Load().CourierNames() },
	}
	return func() (problems []string) {
		cfg := a.current.Load()
		if cfg.Role != config.RoleProcess {
			refused.look()
			problems = append(refused.problems(), certificateProblems("ingest.tls_cert_file", cfg.Ingest.TLSCertFile, cfg.Ingest.TLSKeyFile, "by itself", time.Now())...)
		}
		if cfg.JetStream.Mode == config.ModeExternal {
			problems = append(problems, certificateProblems("jetstream.tls_cert_file", cfg.JetStream.TLSCertFile, cfg.JetStream.TLSKeyFile, "by a restart", time.Now())...)
		}
		return problems
	}
}

// warnObserved tells of them in the log.
func (a *App) warnObserved() {
	for _, courier := range a.Observed() {
		a.log.Warn("courier is in observe mode: its requests are accepted without proof, whoever sends them", "courier", courier)
	}
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", address)
}
