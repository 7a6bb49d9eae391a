package admin

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ops"
)

// maxTraceIDBytes bounds the trace id that a caller may bring.
const maxTraceIDBytes = 128

// ServeHTTP takes a request through the checks that hold for every route, and
// on to its route. It is what [Server.Serve] serves.
func (s *Server) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	start := time.Now()
	traceID := traceIDOf(r)
	w := &statusWriter{ResponseWriter: rw}
	w.Header().Set("X-Request-Id", traceID)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")

	r = r.WithContext(context.WithValue(r.Context(), traceKey{}, traceID))
	r.URL = oneSegmentKey(r.URL)
	handler, pattern := s.mux.Handler(r)
	known, routed := s.routes[pattern]
	label := unrouted
	if routed {
		label = pattern
	}
	defer func() {
		if fault := recover(); fault != nil {
			s.fail(w, r, fmt.Errorf("panic: %v\n%s", fault, debug.Stack()))
		}
		s.metrics.answered(label, w.status, time.Since(start))
	}()

	r.Body = http.MaxBytesReader(w, r.Body, s.cfg.MaxBodyBytes)
	switch err := s.authorize(r, known.open); {
	case err != nil:
		s.fail(w, r, err)
	case routed:
		s.mux.ServeHTTP(w, r)
	default:
		s.fail(w, r, unroutedProblem(w, r, handler))
	}
}

// serve makes a route's function a handler that has RequestTimeout to answer,
// unless the route is a slow one.
func (s *Server) serve(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !rt.slow {
			ctx, cancel := context.WithTimeout(r.Context(), s.cfg.RequestTimeout)
			defer cancel()
			r = r.WithContext(ctx)
		}
		if err := rt.handle(w, r); err != nil {
			s.fail(w, r, err)
		}
	})
}

// fail answers with what err means, and logs what the answer leaves out.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	traceID := traceIDFrom(r.Context())
	p := problemOf(err, traceID)
	if p.Code == event.Internal {
		s.log.Error("admin request failed", slog.String("trace_id", traceID), slog.String("code", string(p.Code)), slog.Any("error", err))
	}
	if sw, ok := w.(*statusWriter); ok && sw.status != 0 {
		return // the answer has begun, nothing can be added to it
	}
	writeProblem(w, p, traceID)
}

// authorize refuses a request of a page of another site, one that reaches a listener
// without a token by a foreign name (DNS rebinding), and, but for open routes, one
// without the token.
func (s *Server) authorize(r *http.Request, open bool) error {
	if s.cfg.Token == "" && !Loopback(r.Host) {
		return ops.Refuse(event.Forbidden, "Host must be localhost or a loopback address here; for another name set admin.token")
	}
	if err := s.origin.Check(r); err != nil {
		return ops.Refuse(event.Forbidden, "a page of another origin may not ask for this")
	}
	if !open && s.cfg.Token != "" && !s.hasToken(r) {
		return ops.Refuse(ops.Unauthorized, "the admin token is missing or wrong: send it as Authorization: Bearer TOKEN")
	}
	return nil
}

// hasToken compares the bearer token in the same time wherever it differs.
func (s *Server) hasToken(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	sum := sha256.Sum256([]byte(strings.TrimSpace(token)))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(sum[:], s.token[:]) == 1
}

// Loopback reports whether hostport, with a port or without, names this machine by
// a loopback address or as localhost.
func Loopback(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	ip := net.ParseIP(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// unroutedProblem distinguishes a wrong method from a wrong path, by what the mux
// would have answered.
func unroutedProblem(w http.ResponseWriter, r *http.Request, muxAnswer http.Handler) *ops.Problem {
	probe := &discardWriter{header: http.Header{}}
	muxAnswer.ServeHTTP(probe, r)
	if allow := probe.header.Get("Allow"); allow != "" {
		w.Header().Set("Allow", allow)
		return ops.Refuse(event.MethodNotAllowed, "%s is not allowed here, %s is", r.Method, allow)
	}
	return ops.Refuse(event.NotFound, "there is nothing at %s: /openapi.json lists what there is", r.URL.Path)
}

// discardWriter takes an answer for the sake of its headers.
type discardWriter struct{ header http.Header }

func (w *discardWriter) Header() http.Header         { return w.header }
func (w *discardWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w *discardWriter) WriteHeader(int)             {}

// oneSegmentKey makes everything behind a prefix that a key follows one path
// segment, so that keys with slashes and dots reach their route however much of
// them the caller has escaped.
func oneSegmentKey(u *url.URL) *url.URL {
	for _, prefix := range []string{ops.EventsPath, ops.ShipmentsPath} {
		if !strings.HasPrefix(u.EscapedPath(), prefix) {
			continue
		}
		one := *u
		one.RawPath = prefix + ops.EscapeSegment(u.Path[len(prefix):])
		return &one
	}
	return u
}

type traceKey struct{}

func traceIDFrom(ctx context.Context) string {
	id, _ := ctx.Value(traceKey{}).(string)
	return id
}

// traceIDOf returns the caller's x-request-id when it is safe to repeat, and a
// new id otherwise.
func traceIDOf(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	invisible := func(r rune) bool { return r <= ' ' || r > '~' }
	if id == "" || len(id) > maxTraceIDBytes || strings.ContainsFunc(id, invisible) {
		return "req_" + strings.ToLower(rand.Text())
	}
	return id
}
