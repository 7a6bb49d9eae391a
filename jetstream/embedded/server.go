// Package embedded is the NATS server inside this process, and the files that it keeps.
//
//	Start ─▶ inspect the files ─▶ set damaged ones aside ─▶ NATS server ─▶ InProcessConn
//	             │                                            │
//	             └─▶ Left: consumers' states                  └─▶ Fault: what is wrong with it
//
// The server has no network port; connections reach it through [Server.InProcessConn],
// which always leads to the current one: after a restart the clients' own reconnecting
// does the rest. The broker of the queue starts and stops it, its supervisor restarts it.
package embedded

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

// Server is the embedded server. Start and Stop are called by one goroutine at a time,
// the other methods by any number.
type Server struct {
	cfg       Config
	opts      server.Options
	log       *serverLog
	undefined []string        // streams that the server needn't recover, see inspectStore
	left      map[string]Left // by stream/consumer, as found by the last Start

	mu  sync.Mutex
	srv *server.Server // nil while stopped
}

// Config is what a [Server] works with. Every field but Derived is needed.
type Config struct {
	Name           string
	StoreDir       string // exists, and is locked
	MaxPayload     int32  // bytes of a message
	MaxMemoryBytes int64  // of streams in memory
	SyncAlways     bool   // flush each message
	// Derived are the streams that can be made again without losing a message that is
	// in no other place. They are set aside when they can't be used.
	Derived []string
	Logger  *slog.Logger
}

// storeLimit is the server's limit on what all streams may reserve. Each of ours has
// its own, and these bound the store; a limit here as tight as their sum would keep
// the events' from being lowered later.
const storeLimit = 1 << 50

// New prepares a server without starting it.
func New(cfg Config) *Server {
	return &Server{
		cfg: cfg, log: &serverLog{log: cfg.Logger},
		opts: server.Options{
			ServerName: cfg.Name,
			DontListen: true, NoSigs: true,
			DisableJetStreamBanner: true,
			MaxPayload:             cfg.MaxPayload,
			JetStream:              true,
			StoreDir:               cfg.StoreDir,
			SyncAlways:             cfg.SyncAlways,
			JetStreamMaxMemory:     cfg.MaxMemoryBytes,
			JetStreamMaxStore:      storeLimit,
		},
	}
}

// Dir is where the server keeps its files.
func (s *Server) Dir() string {
	return filepath.Join(s.opts.StoreDir, server.JetStreamStoreDir)
}

// MessageDir is where the server keeps the messages of a stream.
func (s *Server) MessageDir(stream string) string {
	return filepath.Join(s.Dir(), "$G", "streams", stream, "msgs")
}

// Undefined reports whether the last start found a stream that has messages and no
// definition, so that it has to be defined again.
func (s *Server) Undefined(stream string) bool { return slices.Contains(s.undefined, stream) }

// Left returns the state of a consumer as the last start found it, the zero state when
// there was none.
func (s *Server) Left(stream, consumer string) Left { return s.left[stream+"/"+consumer] }

// Start starts a stopped server on what of its files can be used, and returns when it
// is ready. What is damaged is set aside if it can be made again; otherwise it fails
// and says what to do.
func (s *Server) Start() error {
	s.left = map[string]Left{}
	if err := s.inspectStore(); err != nil {
		return fmt.Errorf("embedded broker on %s can't be used: %w", s.cfg.StoreDir, err)
	}
	err := s.start()
	f, unusable := errors.AsType[Fault](err)
	if !unusable || !f.Only(s.cfg.Derived) {
		return err
	}
	for _, stream := range f.Streams {
		dirs, globErr := filepath.Glob(filepath.Join(s.Dir(), "*", "streams", stream))
		if globErr != nil {
			return errors.Join(err, globErr)
		}
		for _, dir := range dirs {
			if asideErr := s.setAside(dir, err, stream); asideErr != nil {
				return errors.Join(err, asideErr)
			}
		}
	}
	return s.start()
}

// start starts the server as it is.
func (s *Server) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.fatal.Store(nil)
	opts := s.opts // the server changes its options
	srv, err := server.NewServer(&opts)
	if err != nil {
		return fmt.Errorf("make embedded broker: %w", err)
	}
	srv.SetLoggerV2(s.log, false, false, false)
	srv.Start()
	if fatal := s.log.fatal.Load(); fatal != nil || !srv.JetStreamEnabled() {
		srv.Shutdown()
		srv.WaitForShutdown()
		return fmt.Errorf("start embedded broker on %s: %s", opts.StoreDir, deref(fatal, "it is not enabled"))
	}
	if f := lastingFault(srv, s.undefined); f.Problem != "" {
		srv.Shutdown()
		srv.WaitForShutdown()
		return fmt.Errorf("embedded broker on %s can't be used: %w", opts.StoreDir, f)
	}
	s.srv = srv
	return nil
}

// Stop stops the server and returns when its files are closed. It does nothing
// to a stopped one.
func (s *Server) Stop() {
	s.mu.Lock()
	srv := s.srv
	s.srv = nil
	s.mu.Unlock()
	if srv != nil {
		srv.Shutdown()
		srv.WaitForShutdown()
	}
}

// InProcessConn connects to the current server, as [nats.InProcessServer] wants.
func (s *Server) InProcessConn() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.srv == nil {
		return nil, errors.New("the embedded broker is stopped")
	}
	return s.srv.InProcessConn()
}

// Fault is what the server reports as wrong with it, such as a write error, after which
// it never answers a publish again. Its zero value means that nothing is wrong.
type Fault struct {
	Problem string   // of the first part that has one
	Streams []string // each that has one; none when it is the server itself
}

func (f Fault) Error() string { return f.Problem }

// Only reports whether nothing but the named streams is at fault.
func (f Fault) Only(names []string) bool {
	return len(f.Streams) > 0 && !slices.ContainsFunc(f.Streams, func(s string) bool { return !slices.Contains(names, s) })
}

// Fault returns what is wrong with the current server; nothing is with a stopped one.
func (s *Server) Fault() Fault {
	s.mu.Lock()
	srv := s.srv
	s.mu.Unlock()
	if srv == nil {
		return Fault{}
	}
	return faultOf(srv, nil)
}

// lastingFault waits a while for a server that has just started to recover.
func lastingFault(srv *server.Server, except []string) (f Fault) {
	for range 50 {
		if f = faultOf(srv, except); f.Problem == "" {
			return f
		}
		time.Sleep(50 * time.Millisecond)
	}
	return f
}

// faultOf asks a server, and leaves out what it reports of the streams in except.
func faultOf(srv *server.Server, except []string) (f Fault) {
	h := srv.Healthz(&server.HealthzOptions{Details: true})
	for _, e := range h.Errors {
		if strings.HasPrefix(e.Stream, ".") {
			continue // the files of a deleted stream, which are on their way out
		}
		if e.Stream != "" && slices.Contains(except, e.Stream) {
			continue
		}
		if f.Problem == "" {
			f.Problem = e.Error
		}
		if e.Stream == "" {
			return Fault{Problem: e.Error}
		}
		f.Streams = append(f.Streams, e.Stream)
	}
	if f.Problem == "" && len(h.Errors) == 0 && h.Status != "ok" {
		f.Problem = h.Error
	}
	return f
}

func deref(s *string, otherwise string) string {
	if s == nil {
		return otherwise
	}
	return *s
}

// serverLog passes the server's log to ours. The server's notices are debug
// lines here: what an operator needs to know, the broker logs itself.
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
