package jetstream

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// embedded is the broker inside this process. Connections reach it through
// InProcessConn, which always leads to the current server: after a restart the
// clients' own reconnecting does the rest.
type embedded struct {
	opts      server.Options
	log       *serverLog
	undefined []string // streams that the server needn't recover, see inspectStore

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
	if f := lastingFault(srv, e.undefined); f.problem != "" {
		srv.Shutdown()
		srv.WaitForShutdown()
		return fmt.Errorf("embedded broker on %s can't be used: %w", opts.StoreDir, f)
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

// fault is what the server says is wrong with it, such as a write error, after which
// it never answers a publish again. Its zero value says that it is well.
type fault struct {
	problem string   // of the first part that has one
	streams []string // each that has one; none when it is the server itself
}

func (f fault) Error() string { return f.problem }

// only reports whether nothing but the named streams is at fault.
func (f fault) only(names []string) bool {
	return len(f.streams) > 0 && !slices.ContainsFunc(f.streams, func(s string) bool { return !slices.Contains(names, s) })
}

// fault returns what is wrong with the current server; nothing is with a stopped one.
func (e *embedded) fault() fault {
	e.mu.Lock()
	srv := e.srv
	e.mu.Unlock()
	if srv == nil {
		return fault{}
	}
	return faultOf(srv, nil)
}

// lastingFault gives a server that has just started some time to get well.
func lastingFault(srv *server.Server, except []string) (f fault) {
	for range 50 {
		if f = faultOf(srv, except); f.problem == "" {
			return f
		}
		time.Sleep(50 * time.Millisecond)
	}
	return f
}

// faultOf asks a server, and overlooks what it says of the streams in except.
func faultOf(srv *server.Server, except []string) (f fault) {
	h := srv.Healthz(&server.HealthzOptions{Details: true})
	for _, e := range h.Errors {
		if strings.HasPrefix(e.Stream, ".") {
			continue // the files of a deleted stream, which are on their way out
		}
		if e.Stream != "" && slices.Contains(except, e.Stream) {
			continue
		}
		if f.problem == "" {
			f.problem = e.Error
		}
		if e.Stream == "" {
			return fault{problem: e.Error}
		}
		f.streams = append(f.streams, e.Stream)
	}
	if f.problem == "" && len(h.Errors) == 0 && h.Status != "ok" {
		f.problem = h.Error
	}
	return f
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
