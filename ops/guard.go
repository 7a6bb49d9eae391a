package ops

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
)

// maxTraceIDBytes bounds the trace id that a caller may bring.
const maxTraceIDBytes = 128

// ServeHTTP takes a request through the checks that hold for every route, and
// on to its route. It is what [Admin.Serve] serves.
func (a *Admin) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	start := time.Now()
	traceID := traceIDOf(r)
	w := &statusWriter{ResponseWriter: rw}
	w.Header().Set("X-Request-Id", traceID)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")

	r = r.WithContext(context.WithValue(r.Context(), traceKey{}, traceID))
	r.URL = oneSegmentKey(r.URL)
	handler, pattern := a.mux.Handler(r)
	known, routed := a.routes[pattern]
	label := unrouted
	if routed {
		label = pattern
	}
	defer func() {
		if fault := recover(); fault != nil {
			a.fail(w, r, fmt.Errorf("panic: %v\n%s", fault, debug.Stack()))
		}
		a.metrics.answered(label, w.status, time.Since(start))
	}()

	r.Body = http.MaxBytesReader(w, r.Body, a.cfg.MaxBodyBytes)
	switch err := a.admit(r, known.open); {
	case err != nil:
		a.fail(w, r, err)
	case routed:
		a.mux.ServeHTTP(w, r)
	default:
		a.fail(w, r, unroutedProblem(w, r, handler))
	}
}

// serve makes a route's function a handler that has RequestTimeout to answer,
// unless the route is a slow one.
func (a *Admin) serve(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !rt.slow {
			ctx, cancel := context.WithTimeout(r.Context(), a.cfg.RequestTimeout)
			defer cancel()
			r = r.WithContext(ctx)
		}
		if err := rt.handle(w, r); err != nil {
			a.fail(w, r, err)
		}
	})
}

// fail answers with what err means, and logs what the answer does not tell.
func (a *Admin) fail(w http.ResponseWriter, r *http.Request, err error) {
	traceID := traceIDFrom(r.Context())
	p := problemOf(err, traceID)
	if p.Code == event.Internal {
		a.deps.Log.Error("admin request failed", slog.String("trace_id", traceID), slog.String("code", string(p.Code)), slog.Any("error", err))
	}
	if sw, ok := w.(*statusWriter); ok && sw.status != 0 {
		return // the answer has begun, nothing can be added to it
	}
	writeProblem(w, p, traceID)
}

// admit refuses whoever may not ask: a page of another site, whoever reaches a
// listener without a token by a foreign name (DNS rebinding), and, but for open
// routes, whoever lacks the token.
func (a *Admin) admit(r *http.Request, open bool) error {
	if a.cfg.Token == "" && !loopbackHost(r.Host) {
		return refuse(event.Forbidden, "Host must be localhost or a loopback address here; for another name set admin.token")
	}
	if err := a.origin.Check(r); err != nil {
		return refuse(event.Forbidden, "a page of another origin may not ask for this")
	}
	if !open && a.cfg.Token != "" && !a.hasToken(r) {
		return refuse(Unauthorized, "the admin token is missing or wrong: send it as Authorization: Bearer TOKEN")
	}
	return nil
}

// hasToken compares the bearer token in the same time wherever it differs.
func (a *Admin) hasToken(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	sum := sha256.Sum256([]byte(strings.TrimSpace(token)))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(sum[:], a.token[:]) == 1
}

func loopbackHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	ip := net.ParseIP(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// unroutedProblem tells a wrong method from a wrong path, by what the mux would
// have answered.
func unroutedProblem(w http.ResponseWriter, r *http.Request, muxAnswer http.Handler) *Problem {
	probe := &discardWriter{header: http.Header{}}
	muxAnswer.ServeHTTP(probe, r)
	if allow := probe.header.Get("Allow"); allow != "" {
		w.Header().Set("Allow", allow)
		return refuse(event.MethodNotAllowed, "%s is not allowed here, %s is", r.Method, allow)
	}
	return refuse(event.NotFound, "there is nothing at %s: /openapi.json lists what there is", r.URL.Path)
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
	for _, prefix := range []string{eventsPath, shipmentsPath} {
		if !strings.HasPrefix(u.EscapedPath(), prefix) {
			continue
		}
		one := *u
		one.RawPath = prefix + escapeSegment(u.Path[len(prefix):])
		return &one
	}
	return u
}

// escapeSegment escapes s as one path segment that no cleaning takes for a step
// up the tree.
func escapeSegment(s string) string {
	if s == "." || s == ".." {
		return strings.ReplaceAll(s, ".", "%2E")
	}
	return url.PathEscape(s)
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
