package admin

import (
	"io"
	"net/http"
	"net/http/pprof"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ops"
)

// handler answers a request, or returns why not.
type handler func(http.ResponseWriter, *http.Request) error

// route is one entry of the table.
type route struct {
	pattern string // as for [http.ServeMux]
	handle  handler
	open    bool // needs no token: its answer holds no more than the public listener's
	local   bool // needs none on a loopback address: figures and names of couriers, no event
	metrics bool // needs none anywhere, where [Config] says so
	role    Role // that the caller needs; the zero value is Read for GET, and Operate for the rest
	slow    bool // takes as long as the caller asked for
}

// needs returns the role that a caller needs.
func (rt *route) needs() Role {
	switch {
	case rt.role != "":
		return rt.role
	case strings.HasPrefix(rt.pattern, "GET "):
		return Read
	default:
		return Operate
	}
}

// api answers the routes. Each function is in the file of what it is about.
type api struct {
	deps     Deps
	timeout  time.Duration // for the stores and the queue to answer one request
	silences silences
}

func (a *api) routes() []route {
	d, profiles := a.deps, make(profiler, 1)
	letters := func(h handler) handler { return a.where(d.DeadLetters != nil, "dead letters", "processes", h) }
	records := func(h handler) handler { return a.where(d.Ingestions != nil, "records of requests", "processes", h) }
	return []route{
		{pattern: "GET /livez", handle: livez, open: true},
		{pattern: "GET /readyz", handle: a.readyz, open: true},
		{pattern: "GET " + ops.HealthPath, handle: a.health, open: true},
		{pattern: "GET /metrics", handle: promMetrics(d.Gatherer, a.timeout), local: true, metrics: true},
		{pattern: "GET /version", handle: a.version, open: true},
		{pattern: "GET /openapi.json", handle: openAPI},

		{pattern: "GET " + ops.StatusPath, handle: a.status, local: true},
		{pattern: "GET " + ops.EventsPath + "{key...}", handle: a.where(d.Events != nil, "events", "processes", a.event)},
		{pattern: "POST " + ops.ReprocessPath, handle: a.where(d.Reprocess != nil, "events", "processes", a.reprocess)},
		{pattern: "GET " + ops.ShipmentsPath + "{id...}", handle: a.where(d.Shipments != nil, "shipments", "processes", a.shipment)},
		{pattern: "GET " + ops.DeadLettersPath, handle: letters(a.deadLetters)},
		{pattern: "GET " + ops.DeadLettersPath + "/{id}", handle: letters(a.deadLetter)},
		{pattern: "POST " + ops.DeadLettersPath + "/{id}/replay", handle: a.where(d.Replayer != nil, "dead letters", "processes", a.replay)},
		{pattern: "POST " + ops.DeadLettersPath + "/{id}/close", handle: letters(a.review(event.ReviewClosed))},
		{pattern: "POST " + ops.DeadLettersPath + "/{id}/review", handle: letters(a.review(event.ReviewReviewed))},
		{pattern: "GET " + ops.RejectionsPath, handle: records(a.ingestions(ops.Rejections, ops.NotQueued))},
		{pattern: "GET " + ops.RejectionsPath + "/{id}", handle: records(a.rejection)},
		{pattern: "POST " + ops.RejectionsPath + "/{id}/accept", handle: a.accept},
		{pattern: "GET " + ops.IngestionsPath, handle: records(a.ingestions(ingestion.Outcomes, ingestion.Outcomes))},
		{pattern: "GET " + ops.LossesPath, handle: a.where(d.Queue != nil, "a queue", "processes", a.losses)},
		{pattern: "POST " + ops.LossesPath + "/{id}/acknowledge", handle: a.where(d.Queue != nil, "a queue", "processes", a.acknowledgeLoss)},
		{pattern: "GET " + ops.CouriersPath, handle: a.where(d.Couriers != nil, "couriers", "receives", a.couriers)},
		{pattern: "GET " + ops.UnmappedPath, handle: a.where(d.Unmapped != nil, "statuses", "processes", a.unmapped)},
		{pattern: "POST " + ops.CouriersPath + "/reload", handle: a.where(d.Reload != nil, "couriers", "receives", a.reload)},

		// The command line of the process is not among the profiles: it may name
		// things that are secret.
		{pattern: "GET /debug/pprof/{$}", handle: profiles.bounded(pprof.Index), slow: true, role: Admin},
		{pattern: "GET /debug/pprof/{profile}", handle: profiles.bounded(pprof.Index), slow: true, role: Admin},
		{pattern: "GET /debug/pprof/profile", handle: profiles.bounded(pprof.Profile), slow: true, role: Admin},
		{pattern: "GET /debug/pprof/trace", handle: profiles.bounded(pprof.Trace), slow: true, role: Admin},
		{pattern: "GET /debug/pprof/symbol", handle: profiles.bounded(pprof.Symbol), role: Admin},
	}
}

// where returns h where this role has the thing that h answers about, and otherwise
// what refuses it. does is what an appliance that has it does: receives or processes.
func (a *api) where(has bool, thing, does string, h handler) handler {
	if has {
		return h
	}
	return func(http.ResponseWriter, *http.Request) error {
		return ops.Refuse(event.DependencyDown, "an appliance with role %s has no %s: ask one that %s", a.deps.About.Role, thing, does)
	}
}

// plain adapts a handler that writes its whole answer itself to the table.
func plain(h http.HandlerFunc) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		h(w, r)
		return nil
	}
}

func livez(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, map[string]string{"status": "alive"})
}

func (a *api) readyz(w http.ResponseWriter, _ *http.Request) error {
	if err := a.deps.Ready(); err != nil {
		return ops.Refuse(ops.NotReady, "not ready: %v", err)
	}
	return answer(w, map[string]string{"status": "ready"})
}

// health answers the very bytes of the public listener's /health.
func (a *api) health(w http.ResponseWriter, _ *http.Request) error {
	status, body := a.deps.Health()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
	return nil
}

func promMetrics(from prometheus.Gatherer, timeout time.Duration) handler {
	h := promhttp.HandlerFor(from, promhttp.HandlerOpts{Timeout: timeout})
	return plain(h.ServeHTTP)
}

func (a *api) version(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, map[string]string{
		"version": a.deps.About.Version,
		"role":    a.deps.About.Role,
		"go":      runtime.Version(),
		"system":  runtime.GOOS + "/" + runtime.GOARCH,
	})
}

func openAPI(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, ops.OpenAPI)
	return nil
}
