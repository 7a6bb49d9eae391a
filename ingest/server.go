// Package ingest is the public listener: the way of an event from the connection to
// the queue. In come HTTP requests from couriers, out go envelopes to a [Publisher]; only
// when that says that the event is kept does a 2xx go out. Whatever is refused is answered
// with an RFC 9457 problem document and recorded, so that an operator can accept it later.
//
//	connection ─▶ connlimit ─▶ TLS ─▶ framing ─▶ fasthttp ─▶ request
//	                                                           │
//	      limits ▸ verify ▸ read ▸ stamp ▸ publish  ◀──────────┘
//	    (limits,  (signature) (payload)  (event/stamp)
//	     body)
//
// Each stage is a step in receive.go; its rules are in the package that is named below it.
// Only the wiring of the appliance calls this package. It knows nothing of the broker
// behind the Publisher.
package ingest

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"github.com/fincart/courier-gateway/ingest/address"
	"github.com/fincart/courier-gateway/ingest/body"
	"github.com/fincart/courier-gateway/ingest/certificate"
	"github.com/fincart/courier-gateway/ingest/connlimit"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/stamp"
	"github.com/fincart/courier-gateway/ingest/framing"
	"github.com/fincart/courier-gateway/ingest/record"
)

const (
	// drainGrace is how long open connections may take to bring one more request,
	// which is refused until later, before they are closed.
	drainGrace = 250 * time.Millisecond
	// bodyGrace is how long, after that, the rest of a request may take to come.
	bodyGrace = time.Second
	// lastAnswers is how long requests whose publishing was cancelled may take to
	// say so before their connections are closed.
	lastAnswers = 100 * time.Millisecond
)

// Config holds the limits of the listener. Start from [DefaultConfig]: a zero
// limit is an error, except where none is meant to be possible.
type Config struct {
	Listen         string        // address, as in ":8080"
	MaxBodyBytes   int           // larger bodies are refused with 413
	MaxHeaderBytes int           // of request line and headers together; more is refused with 431
	ReadTimeout    time.Duration // for the whole request from its first byte on
	// MinBodyBytesPerSecond is how fast a body has to come that is longer than 8 KiB or
	// comes in chunks, looked at every two seconds; 0 for no such bound.
	MinBodyBytesPerSecond int
	WriteTimeout          time.Duration // for the answer
	IdleTimeout           time.Duration // between two requests of a connection
	MaxConns              int           // open at once
	MaxConnsPerIP         int           // open at once from one address (IPv6: one /64); 0 for no limit
	TLSCertFile           string        // PEM; with TLSKeyFile it makes the listener speak TLS
	TLSKeyFile            string        // PEM; both files are read again when they change
	RetryAfter            time.Duration // what a 503 asks for, in full seconds
	// TrustedProxies are believed what X-Forwarded-For says of who has sent a
	// request. To the limits on connections it is the proxy that counts.
	TrustedProxies []netip.Prefix
	Records        record.Config
}

// DefaultConfig returns the limits that suit most installations.
func DefaultConfig() Config {
	return Config{
		Listen:                ":8080",
		MaxBodyBytes:          1 << 20,
		MaxHeaderBytes:        16 << 10,
		ReadTimeout:           10 * time.Second,
		MinBodyBytesPerSecond: 8 << 10,
		WriteTimeout:          10 * time.Second,
		IdleTimeout:           60 * time.Second,
		MaxConns:              10_000,
		MaxConnsPerIP:         1_000,
		RetryAfter:            2 * time.Second,
		Records:               record.DefaultConfig(),
	}
}

func (c *Config) validate() error {
	var faults event.Faults
	positive := func(name string, ok bool) { faults.Check(ok, name, "must be positive") }
	positive("MaxBodyBytes", c.MaxBodyBytes > 0)
	positive("MaxHeaderBytes", c.MaxHeaderBytes > 0)
	positive("ReadTimeout", c.ReadTimeout > 0)
	positive("WriteTimeout", c.WriteTimeout > 0)
	positive("IdleTimeout", c.IdleTimeout > 0)
	positive("MaxConns", c.MaxConns > 0)
	positive("RetryAfter", c.RetryAfter > 0)
	c.Records.Check(&faults, "Records")
	faults.Check(c.MinBodyBytesPerSecond >= 0, "MinBodyBytesPerSecond", "must not be negative")
	faults.Check(c.MaxConnsPerIP >= 0, "MaxConnsPerIP", "must not be negative")
	faults.Check((c.TLSCertFile == "") == (c.TLSKeyFile == ""), "TLSCertFile", "and TLSKeyFile are needed together")
	return faults.Err()
}

// Publisher puts an event on the queue.
type Publisher interface {
	// Publish returns once the event is kept as safely as the appliance
	// promises, or fails with an [event.Error]. It bounds its own waiting. It
	// must be done with e and with every byte that e points to when it returns,
	// because the connection's buffers are used again. Cancelling ctx means that
	// the appliance stops at once.
	Publish(ctx context.Context, e *event.Envelope) (event.Receipt, error)
}

// Deps are what the listener works with. All of them are required but the Store.
type Deps struct {
	Publisher  Publisher
	Couriers   Couriers
	Stamper    *stamp.Stamper
	Health     func() (status int, body []byte) // the JSON answer of GET /health
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time
	Store      record.Store // of records; nil: nothing is recorded
}

func (d *Deps) validate() error {
	if d.Publisher == nil || d.Stamper == nil || d.Health == nil || d.Logger == nil || d.Registerer == nil || d.Now == nil {
		return errors.New("every member of Deps but the Store is required")
	}
	return nil
}

// Server is the public listener. It serves once: make a new one to listen again.
type Server struct {
	config   Config
	deps     Deps
	http     *fasthttp.Server
	tls      *tls.Config // nil for plain HTTP
	conns    *connlimit.Listener
	trusted  []netip.Prefix // proxies
	couriers registry
	bodies   bodies
	metrics  *metrics
	records  *recorder // nil when nothing is recorded
	refusals *refuser
	failures *rateLimitedLog // of what went wrong here
	calls    sync.Pool
	dummy    dummyVerifier
	draining atomic.Bool
	// hard is done when the appliance stops at once. It is a field because
	// fasthttp hands no context of ours to a handler.
	hard     context.Context
	hardStop context.CancelCauseFunc
}

// New makes a server that does not listen yet.
func New(c Config, d Deps) (*Server, error) {
	if err := errors.Join(c.validate(), d.validate()); err != nil {
		return nil, fmt.Errorf("intake: %w", err)
	}
	half := body.HalfBytes(c.MaxBodyBytes)
	s := &Server{
		config: c, deps: d,
		bodies: bodies{
			reader:   body.NewReader(body.Config{KnownBytes: half, UnknownBytes: half, MinBytesPerSecond: c.MinBodyBytesPerSecond}),
			maxBytes: c.MaxBodyBytes, tooLarge: largerThan(c.MaxBodyBytes), recordBytes: c.Records.BodyBytes + record.MaskAhead,
		},
	}
	s.failures = newRateLimitedLog(d.Logger, s.couriers.hide)
	s.hard, s.hardStop = context.WithCancelCause(context.Background())
	s.calls.New = func() any { return &call{body: new(body.Body), plain: new(body.Body)} }
	s.dummy.digests.New = func() any { return hmac.New(sha256.New, []byte("no courier's")) }
	if c.TLSCertFile != "" {
		certs, err := certificate.Open(c.TLSCertFile, c.TLSKeyFile, d.Now, s.failures.Warn)
		if err != nil {
			return nil, err
		}
		s.tls = certs.Config()
	}
	var err error
	if s.trusted, err = address.Networks(c.TrustedProxies); err != nil {
		return nil, fmt.Errorf("ingest config: TrustedProxies %w", err)
	}
	s.refusals = &refuser{
		log: newRateLimitedLog(d.Logger, s.couriers.hide), failures: s.failures, now: d.Now,
		retryAfter: strconv.Itoa(int((c.RetryAfter + time.Second - 1) / time.Second)),
	}
	s.conns = connlimit.New(c.MaxConns, c.MaxConnsPerIP, s.refusals.refuseConn)
	if s.metrics, err = newMetrics(d.Registerer, s.conns.Count); err != nil {
		return nil, err
	}
	s.records = newRecorder(c.Records, d.Store, s.failures, s.metrics.dropped)
	s.refusals.metrics, s.refusals.records = s.metrics, s.records
	s.couriers.maxBodyBytes, s.couriers.metrics, s.couriers.records = c.MaxBodyBytes, s.metrics, s.records
	if err = s.SetCouriers(d.Couriers); err != nil {
		return nil, err
	}
	s.http = newHTTP(s)
	return s, nil
}

func newHTTP(s *Server) *fasthttp.Server {
	c := s.config
	return &fasthttp.Server{
		Handler:                      s.handle,
		ErrorHandler:                 s.handleBroken,
		Logger:                       s.refusals.log,
		Concurrency:                  2 * c.MaxConns, // s.conns counts; a worker outlives its connection a little
		ReadBufferSize:               c.MaxHeaderBytes,
		MaxRequestBodySize:           c.MaxBodyBytes,
		StreamRequestBody:            true, // see package body
		ExpectHandler:                s.expect,
		ConnState:                    countAnswered,
		ReadTimeout:                  c.ReadTimeout,
		WriteTimeout:                 c.WriteTimeout,
		IdleTimeout:                  c.IdleTimeout,
		CloseOnShutdown:              true,
		DisablePreParseMultipartForm: true,
		LazyRequestTime:              true,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		SecureErrorLogMessage:        true,
	}
}

// countAnswered counts the requests of a connection that are answered.
func countAnswered(c net.Conn, state fasthttp.ConnState) {
	if in := connlimit.Of(c); in != nil && state == fasthttp.StateIdle {
		in.Answered()
	}
}

// progressOf has the requests of a connection counted as they are read.
func progressOf(c net.Conn) framing.Progress {
	if in := connlimit.Of(c); in != nil {
		return in
	}
	return nil
}

// Listen opens the configured address. Its port may be 0.
func (s *Server) Listen() (net.Listener, error) {
	ln, err := net.Listen("tcp", s.config.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for couriers (is the port taken?): %w", err)
	}
	return ln, nil
}

// Serve answers the connections of ln until [Server.Shutdown], which makes it
// return nil. It closes ln.
func (s *Server) Serve(ln net.Listener) error {
	defer func() { _ = ln.Close() }()
	if !s.conns.Guard(ln, s.tls != nil) {
		return nil
	}
	s.records.start(s.hard)
	var conns net.Listener = s.conns
	if s.tls != nil {
		conns = tls.NewListener(s.conns, s.tls)
	}
	if err := s.http.Serve(framing.Listener{Listener: conns, Progress: progressOf}); err != nil {
		return fmt.Errorf("serve couriers: %w", err)
	}
	return nil
}

// Shutdown stops accepting, lets every request in flight be answered, closes the
// connections and records what was seen. Requests that still come on open ones within a
// moment are answered 503; then connections without a request are closed, those with half a
// header among them, and a body that is not all there a second later is refused. When ctx
// ends first, what is in flight is cut off: publishing is cancelled with the cause of ctx,
// such requests are answered 503, and a moment later every connection is closed.
func (s *Server) Shutdown(ctx context.Context) error {
	s.draining.Store(true)
	_ = s.conns.Close() // a second Shutdown finds it closed
	s.conns.Wait(ctx, drainGrace)
	s.conns.CloseIdle()
	answered := make(chan struct{})
	go s.conns.InterruptBodies(bodyGrace, answered)
	err := s.http.ShutdownWithContext(ctx)
	close(answered)
	if err == nil || errors.Is(err, net.ErrClosed) {
		if err = s.records.stop(ctx); err != nil {
			s.hardStop(context.Cause(ctx))
		}
		return err
	}
	s.hardStop(context.Cause(ctx))
	s.conns.Wait(context.WithoutCancel(ctx), lastAnswers)
	err = fmt.Errorf("requests of couriers were cut off, %d connections closed with them: %w", s.conns.CloseAll(), err)
	return errors.Join(err, s.records.stop(ctx))
}
