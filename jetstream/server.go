package jetstream

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// embedded is the broker inside this process. Connections reach it through
// InProcessConn, which always leads to the current server: after a restart the
// clients' own reconnecting does the rest.
type embedded struct {
	opts server.Options
	log  *serverLog

	mu  sync.Mutex
	srv *server.Server // nil while stopped
}

// storeLimit is the server's limit on what all streams may reserve. Each of ours has
// its own, and these bound the store; a limit here as tight as their sum would keep
// the events' from being lowered later.
const storeLimit = 1 << 50

// newEmbedded prepares a server on cfg.StoreDir without starting it.
func newEmbedded(cfg Config, log *slog.Logger) *embedded {
	return &embedded{
		log: &serverLog{log: log},
		opts: server.Options{
			ServerName: cfg.Name,
			DontListen: true, NoSigs: true,
			DisableJetStreamBanner: true,
			MaxPayload:             cfg.MaxMessageBytes,
			JetStream:              true,
			StoreDir:               cfg.StoreDir,
			SyncAlways:             cfg.Sync == SyncAlways,
			JetStreamMaxMemory:     cfg.MaxMemoryBytes,
			JetStreamMaxStore:      storeLimit,
		},
	}
}

// storeDir is where the server keeps its files.
func (e *embedded) storeDir() string {
	return filepath.Join(e.opts.StoreDir, server.JetStreamStoreDir)
}

// start starts a stopped server and returns when it is ready.
func (e *embedded) start() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.log.fatal.Store(nil)
	opts := e.opts // the server changes its options
	srv, err := server.NewServer(&opts)
	if err != nil {
		return fmt.Errorf("make embedded broker: %w", err)
	}
	srv.SetLoggerV2(e.log, false, false, false)
	srv.Start()
	if fatal := e.log.fatal.Load(); fatal != nil || !srv.JetStreamEnabled() {
		srv.Shutdown()
		srv.WaitForShutdown()
		return fmt.Errorf("start embedded broker on %s: %s", opts.StoreDir, deref(fatal, "it is not enabled"))
	}
	if problem := lastingProblem(srv); problem != "" {
		srv.Shutdown()
		srv.WaitForShutdown()
		return fmt.Errorf("embedded broker on %s can't be used: %s", opts.StoreDir, problem)
	}
	e.srv = srv
	return nil
}

// stop stops the server and returns when its files are closed. It does nothing
// to a stopped one.
func (e *embedded) stop() {
	e.mu.Lock()
	srv := e.srv
	e.srv = nil
	e.mu.Unlock()
	if srv != nil {
		srv.Shutdown()
		srv.WaitForShutdown()
	}
}

// InProcessConn connects to the current server, as [nats.InProcessServer] wants.
func (e *embedded) InProcessConn() (net.Conn, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.srv == nil {
		return nil, errors.New("the embedded broker is stopped")
	}
	return e.srv.InProcessConn()
}

// problem returns what the server says is wrong with it, such as a write error,
// after which it never answers a publish again; "" when it is well or stopped.
func (e *embedded) problem() string {
	e.mu.Lock()
	srv := e.srv
	e.mu.Unlock()
	if srv == nil {
		return ""
	}
	return problemOf(srv)
}

// lastingProblem gives a server that has just started some time to get well.
func lastingProblem(srv *server.Server) (problem string) {
	for range 50 {
		if problem = problemOf(srv); problem == "" {
			return ""
		}
		time.Sleep(50 * time.Millisecond)
	}
	return problem
}

func problemOf(srv *server.Server) string {
	if h := srv.Healthz(&server.HealthzOptions{}); h.Status != "ok" {
		return h.Error
	}
	return ""
}

func deref(s *string, otherwise string) string {
	if s == nil {
		return otherwise
	}
	return *s
}

// serverLog is the server's log, led to ours. The server's notices are debug
// lines here: what an operator needs to know, the Broker says itself.
type serverLog struct {
	log   *slog.Logger
	fatal atomic.Pointer[string] // the last fatal message, which the server survives
}

func (l *serverLog) Noticef(format string, v ...any) { l.line(l.log.Debug, format, v) }
func (l *serverLog) Debugf(format string, v ...any)  { l.line(l.log.Debug, format, v) }
func (l *serverLog) Tracef(format string, v ...any)  { l.line(l.log.Debug, format, v) }
func (l *serverLog) Warnf(format string, v ...any)   { l.line(l.log.Warn, format, v) }
func (l *serverLog) Errorf(format string, v ...any)  { l.line(l.log.Error, format, v) }

func (l *serverLog) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.fatal.Store(&text)
	l.log.Error("embedded broker", "text", text)
}

func (l *serverLog) line(log func(string, ...any), format string, v []any) {
	log("embedded broker", "text", fmt.Sprintf(format, v...))
}
