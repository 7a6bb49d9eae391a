package admin

import (
	"context"
	"crypto/rand"
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
	traceID := s.traceIDOf(r)
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
	if !routed {
		known.role = Read // of what is nowhere
	}
	who, err := s.authorize(r, known)
	r = r.WithContext(context.WithValue(r.Context(), callerKey{}, who))
	switch {
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

// authorize returns the caller of a request. It refuses a page of another site, whatever
// the route; without a token, a request that reaches a loopback address by a foreign name
// (DNS rebinding); and a caller without the role that the route needs.
func (s *Server) authorize(r *http.Request, rt route) (caller, error) {
	who := s.callerOf(r)
	if who.role == "" && onLoopback(r) && !Loopback(r.Host) {
		return who, ops.Refuse(event.Forbidden, "Host must be localhost or a loopback address here, unless a token comes with the request")
	}
	if err := s.crossSite(r); err != nil {
		return who, ops.Refuse(event.Forbidden, "a page of another origin may not ask for this")
	}
	needed := rt.needs()
	switch {
	case who.role.allows(needed) || rt.open || rt.local && showsNothing(r) && onLoopback(r) || rt.metrics && s.cfg.OpenMetrics:
		return who, nil
	case who.role == "":
		return who, ops.Refuse(ops.Unauthorized, "the admin token is missing or wrong: send it as Authorization: Bearer TOKEN")
	default:
		return who, roleRefusal(who, needed)
	}
}

// showsNothing reports whether the caller shows no token at all: a wrong one is refused
// also where none is needed, so that its user notices.
func showsNothing(r *http.Request) bool { return r.Header.Get("Authorization") == "" }

// callerOf returns the caller whose token a request shows.
func (s *Server) callerOf(r *http.Request) caller {
	if len(s.cfg.Tokens) == 0 && Loopback(r.Host) {
		return caller{role: Admin} // see Config
	}
	return s.callers.Load().callerOf(r.Header.Get("Authorization"))
}

// crossSite returns an error for a request that a browser makes for a page of another
// origin. Methods that only read are no exception: a page must not start a profile.
func (s *Server) crossSite(r *http.Request) error {
	asIfChanging := *r
	asIfChanging.Method = http.MethodPost
	return s.origin.Check(&asIfChanging)
}

// roleRefusal is for a caller whose role is not enough.
func roleRefusal(who caller, needed Role) *ops.Problem {
	return ops.Refuse(event.Forbidden, "this needs the role %s, and the token %q has the role %s", needed, who.name, who.role)
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

type (
	traceKey  struct{}
	callerKey struct{}
)

// callerFrom returns the caller of the request that is being answered.
func callerFrom(ctx context.Context) caller {
	who, _ := ctx.Value(callerKey{}).(caller)
	return who
}

func traceIDFrom(ctx context.Context) string {
	id, _ := ctx.Value(traceKey{}).(string)
	return id
}

// traceIDOf returns the caller's x-request-id when it is safe to repeat, which a token is
// not, and a new id otherwise.
func (s *Server) traceIDOf(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	invisible := func(r rune) bool { return r <= ' ' || r > '~' }
	isToken := s.callers.Load().callerOf("Bearer "+id).role != ""
	if id == "" || isToken || len(id) > maxTraceIDBytes || strings.ContainsFunc(id, invisible) {
		return "req_" + strings.ToLower(rand.Text())
	}
	return id
}
