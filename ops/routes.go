package ops

import (
	_ "embed"
	"net/http"
	"net/http/pprof"
	"runtime"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/fincart/courier-gateway/ingest/event"
)

// openAPI describes every route; a test holds it against the route table and
// against the types that the routes answer with.
//
//go:embed openapi.json
var openAPI []byte

// Paths whose rest is one key, whatever characters it has.
const (
	eventsPath    = "/api/v1/events/"
	shipmentsPath = "/api/v1/shipments/"
)

// Paths that several routes begin with.
const (
	lettersPath    = "/api/v1/dead-letters"
	rejectionsPath = "/api/v1/rejections"
	couriersPath   = "/api/v1/couriers"
)

// route is one entry of the table.
type route struct {
	pattern string // as for [http.ServeMux]
	handle  func(http.ResponseWriter, *http.Request) error
	open    bool // needs no token: it tells no more than the public listener does
	slow    bool // takes as long as the caller asked for
}

func (a *Admin) routeTable() []route {
	return []route{
		{pattern: "GET /livez", handle: a.livez, open: true},
		{pattern: "GET /readyz", handle: a.readyz, open: true},
		{pattern: "GET /health", handle: a.health, open: true},
		{pattern: "GET /metrics", handle: a.promMetrics()},
		{pattern: "GET /version", handle: a.version},
		{pattern: "GET /openapi.json", handle: a.openAPI},

		{pattern: "GET /api/v1/status", handle: a.status},
		{pattern: "GET " + eventsPath + "{key...}", handle: a.event},
		{pattern: "GET " + shipmentsPath + "{id...}", handle: a.shipment},
		{pattern: "GET " + lettersPath, handle: a.deadLetters},
		{pattern: "GET " + lettersPath + "/{id}", handle: a.deadLetter},
		{pattern: "POST " + lettersPath + "/{id}/replay", handle: a.replay},
		{pattern: "POST " + lettersPath + "/{id}/close", handle: a.review(event.ReviewClosed)},
		{pattern: "POST " + lettersPath + "/{id}/review", handle: a.review(event.ReviewReviewed)},
		{pattern: "GET " + rejectionsPath, handle: a.ingestions(rejections)},
		{pattern: "GET " + rejectionsPath + "/{id}", handle: a.rejection},
		{pattern: "POST " + rejectionsPath + "/{id}/accept", handle: a.accept},
		{pattern: "GET /api/v1/ingestions", handle: a.ingestions(event.IntakeOutcomes)},
		{pattern: "GET " + lossesPath, handle: a.losses},
		{pattern: "POST " + lossesPath + "/{id}/acknowledge", handle: a.acknowledgeLoss},
		{pattern: "GET " + couriersPath, handle: a.couriers},
		{pattern: "POST " + couriersPath + "/reload", handle: a.reload},

		// The command line of the process is not among the profiles: it may name
		// things that an operator keeps to himself.
		{pattern: "GET /debug/pprof/{$}", handle: plain(pprof.Index), slow: true},
		{pattern: "GET /debug/pprof/{profile}", handle: plain(pprof.Index), slow: true},
		{pattern: "GET /debug/pprof/profile", handle: plain(pprof.Profile), slow: true},
		{pattern: "GET /debug/pprof/trace", handle: plain(pprof.Trace), slow: true},
		{pattern: "GET /debug/pprof/symbol", handle: plain(pprof.Symbol)},
	}
}

// plain makes a handler that answers all by itself fit the table.
func plain(h http.HandlerFunc) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		h(w, r)
		return nil
	}
}

func (a *Admin) livez(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, map[string]string{"status": "alive"})
}

func (a *Admin) readyz(w http.ResponseWriter, _ *http.Request) error {
	if err := a.deps.Ready(); err != nil {
		return refuse(NotReady, "not ready: %v", err)
	}
	return answer(w, map[string]string{"status": "ready"})
}

// health answers the very bytes of the public listener's /health.
func (a *Admin) health(w http.ResponseWriter, _ *http.Request) error {
	status, body := a.deps.Health()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
	return nil
}

func (a *Admin) promMetrics() func(http.ResponseWriter, *http.Request) error {
	h := promhttp.HandlerFor(a.deps.Gatherer, promhttp.HandlerOpts{Timeout: a.cfg.RequestTimeout})
	return plain(h.ServeHTTP)
}

func (a *Admin) version(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, map[string]string{
		"version": a.deps.About.Version,
		"role":    a.deps.About.Role,
		"go":      runtime.Version(),
		"system":  runtime.GOOS + "/" + runtime.GOARCH,
	})
}

func (a *Admin) openAPI(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(openAPI)
	return nil
}
