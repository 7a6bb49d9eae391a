package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/reprocess"
	"github.com/fincart/courier-gateway/ops"
)

// Config sets the admin server's limits. Every limit is positive;
// [DefaultConfig] has values that suit.
type Config struct {
	// Tokens are the bearer tokens that callers have to show. Without any, which is for
	// tests, everybody may do everything, and only on a loopback address.
	Tokens []Token
	// OpenMetrics has /metrics need no token on any address, not on loopback alone.
	OpenMetrics bool

	ReadHeaderTimeout time.Duration // for a request's headers
	ReadTimeout       time.Duration // for a whole request
	WriteTimeout      time.Duration // for an answer; a profile has its own length on top
	IdleTimeout       time.Duration // between two requests of a connection
	RequestTimeout    time.Duration // for the stores and the queue to answer one request
	MaxHeaderBytes    int           // of a request
	MaxBodyBytes      int64         // of a request
}

// DefaultConfig returns limits for a handful of operators and probes, and
// no tokens.
func DefaultConfig() Config {
	return Config{
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       60 * time.Second,
		RequestTimeout:    10 * time.Second,
		MaxHeaderBytes:    16 << 10,
		MaxBodyBytes:      64 << 10,
	}
}

func (c Config) validate() error {
	var faults event.Faults
	for _, limit := range []struct {
		name  string
		value int64
	}{
		{"ReadHeaderTimeout", int64(c.ReadHeaderTimeout)},
		{"ReadTimeout", int64(c.ReadTimeout)},
		{"WriteTimeout", int64(c.WriteTimeout)},
		{"IdleTimeout", int64(c.IdleTimeout)},
		{"RequestTimeout", int64(c.RequestTimeout)},
		{"MaxHeaderBytes", int64(c.MaxHeaderBytes)},
		{"MaxBodyBytes", c.MaxBodyBytes},
	} {
		faults.Check(limit.value > 0, limit.name, "is %d, must be positive", limit.value)
	}
	return faults.Err()
}

// About names this process.
type About struct {
	Version   string
	Role      string // all, ingest or process
	StartedAt time.Time
	DataDir   string // empty where nothing is kept on disk
}

// Deps is what the admin server shows and acts on. The stores, the queue,
// the worker, the reconciler, the intake and the couriers are nil where the role
// runs without them; the server then says so instead of answering. All else is
// required.
type Deps struct {
	Events Events
	// Waiting returns the events with this idempotency key that are on the queue and have
	// no row yet, as rows that say why. It can be nil: then none are found.
	Waiting     func(ctx context.Context, key string) []event.Record
	Shipments   Shipments
	DeadLetters DeadLetters
	Counts      Counter
	Queue       Queue
	Replayer    Replayer
	Worker      func() ops.WorkerStatus
	Reconciler  func() ops.ReconcilerStatus
	Ingestions  Ingestions
	Intake      Intake
	// Couriers returns the active couriers, by name.
	Couriers func() []ops.CourierInfo
	// Unmapped lists the statuses that no mapping knew; nil where nothing is processed.
	Unmapped func(ctx context.Context) (ops.UnmappedList, error)
	// Reprocess reads a part of the events of the queue's history again; nil where nothing
	// is processed.
	Reprocess func(ctx context.Context, r reprocess.Request) (reprocess.Page, error)
	// Reload makes the couriers of the configuration, as it is now, the active ones.
	// On error those before it stay active; an error without a code is a list of the
	// configuration's faults, which is shown.
	Reload func(ctx context.Context) (ops.ReloadReport, error)

	About     About
	Listeners func() []ops.Listener
	// Ready returns why no work should be sent here, nil when it may be.
	Ready func() error
	// Health returns the answer of the public listener's /health.
	Health func() (status int, body []byte)

	Gatherer prometheus.Gatherer   // what /metrics shows
	Metrics  prometheus.Registerer // where the server's own metrics go
	Log      *slog.Logger
}

func (d Deps) validate() error {
	if d.Listeners == nil || d.Ready == nil || d.Health == nil || d.Gatherer == nil || d.Metrics == nil || d.Log == nil {
		return errors.New("not all of Listeners, Ready, Health, Gatherer, Metrics and Log are given")
	}
	return nil
}

// Server is the admin HTTP server. It is safe for concurrent use.
type Server struct {
	cfg     Config
	callers atomic.Pointer[callers]
	origin  *http.CrossOriginProtection
	mux     *http.ServeMux
	routes  map[string]route // by pattern
	metrics *metrics
	log     *slog.Logger
	srv     *http.Server
	silent  silent
}

// New checks cfg and deps and returns a server that does not listen yet.
func New(cfg Config, deps Deps) (*Server, error) {
	if err := errors.Join(cfg.validate(), deps.validate()); err != nil {
		return nil, fmt.Errorf("admin server: %w", err)
	}
	m, err := newMetrics(deps.Metrics)
	if err != nil {
		return nil, fmt.Errorf("admin server: register metrics: %w", err)
	}
	s := &Server{
		cfg: cfg, metrics: m, log: deps.Log,
		origin: http.NewCrossOriginProtection(),
		mux:    http.NewServeMux(),
		routes: map[string]route{},
	}
	s.SetTokens(cfg.Tokens)
	handlers := &api{deps: deps, timeout: cfg.RequestTimeout}
	for _, r := range handlers.routes() {
		s.routes[r.pattern] = r
		s.mux.Handle(r.pattern, s.serve(r))
	}
	s.srv = &http.Server{
		Handler:           s,
		ReadHeaderTimeout: cfg.ReadHeaderTimeout,
		ReadTimeout:       cfg.ReadTimeout,
		WriteTimeout:      cfg.WriteTimeout,
		IdleTimeout:       cfg.IdleTimeout,
		MaxHeaderBytes:    cfg.MaxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(deps.Log.Handler(), slog.LevelDebug),
		ConnState:         s.silent.follow,
	}
	s.srv.RegisterOnShutdown(s.silent.close)
	return s, nil
}

// Serve answers requests on ln until [Server.Shutdown], then returns nil. It
// closes ln. Without tokens it refuses a listener that others can reach.
func (s *Server) Serve(ln net.Listener) error {
	if len(s.cfg.Tokens) == 0 && !Loopback(ln.Addr().String()) {
		return errors.Join(fmt.Errorf("admin server: %s can be reached from other machines and no token is set", ln.Addr()), ln.Close())
	}
	if err := s.srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin server: %w", err)
	}
	return nil
}

// silent are the connections on which no request has come yet, or not all of its headers.
type silent struct{ conns sync.Map }

// follow is called at every change of a connection's state, see [http.Server.ConnState].
func (s *silent) follow(c net.Conn, state http.ConnState) {
	if state == http.StateNew {
		s.conns.Store(c, nil)
	} else {
		s.conns.Delete(c)
	}
}

// close closes them.
func (s *silent) close() {
	s.conns.Range(func(c, _ any) bool {
		_ = c.(net.Conn).Close()
		return true
	})
}

// Shutdown stops listening, closes the connections without a request, which net/http would
// wait for, and waits for the requests in flight. When ctx ends first it cuts them off
// and returns why.
func (s *Server) Shutdown(ctx context.Context) error {
	if err := s.srv.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("admin server: cut off the requests in flight: %w", err), s.srv.Close())
	}
	return nil
}
