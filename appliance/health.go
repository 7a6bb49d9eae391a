package main

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// pinger is a part whose reachability the health tells.
type pinger interface {
	Name() string // embedded, or the name of the server behind it
	Ping(ctx context.Context) error
}

// adviser is a part that works, but not as it should: what it says is for operators.
type adviser interface{ Problems() []string }

// queueState is what the health asks of the queue.
type queueState interface {
	State(ctx context.Context) (event.QueueState, error)
}

// Times of the health check. A probe that takes longer counts as failed.
const (
	probeEvery   = time.Second
	probeTimeout = 800 * time.Millisecond
	// stalled is how old a worker's last sign of life may be.
	stalled = 15 * time.Second
)

// healthReport is the answer of /health, the same on both listeners.
type healthReport struct {
	Status    string    `json:"status"` // healthy, degraded or unhealthy
	Redis     string    `json:"redis"`
	Mongo     string    `json:"mongo"`
	JetStream string    `json:"jetstream"`
	Sync      string    `json:"sync,omitempty"`   // what an acknowledgement waits for
	Worker    string    `json:"worker,omitempty"` // pulling, working, holding, stalled or stopped
	Problems  []string  `json:"problems,omitempty"`
	Timestamp time.Time `json:"timestamp"`
}

// health probes the parts once a second, so that asking costs nothing and a part
// that hangs does not make the answer hang.
type health struct {
	queue    queueState
	store    pinger // nil in a role without a store
	cache    pinger // nil in a role without a cache
	worker   func() (phase string, lastBeat time.Time)
	couriers func() []string // what is wrong with couriers
	draining *atomic.Bool
	current  atomic.Pointer[healthReport]
}

// run probes every so often until ctx ends.
func (h *health) run(ctx context.Context) error {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			h.probe(ctx)
		}
	}
}

// probe asks every part and keeps the report. Intake decides between degraded and
// unhealthy: a lost cache or database costs time only.
func (h *health) probe(ctx context.Context) {
	r := &healthReport{Status: "healthy", Timestamp: time.Now().UTC()}
	degraded := func(problem string) {
		r.Status, r.Problems = "degraded", append(r.Problems, problem)
	}
	said := h.ask(ctx)
	reach := func(p pinger, server string, err error) string {
		switch {
		case err != nil:
			degraded(err.Error())
			return "disconnected"
		case p.Name() == server:
			return "connected"
		default:
			return "embedded"
		}
	}
	if h.store != nil {
		r.Mongo = reach(h.store, "mongodb", said.store)
		if a, ok := h.store.(adviser); ok {
			for _, problem := range a.Problems() {
				degraded(problem)
			}
		}
	}
	if h.cache != nil {
		r.Redis = reach(h.cache, "redis", said.cache)
	}
	if h.worker != nil {
		phase, last := h.worker()
		r.Worker = phase
		if phase != "starting" && time.Since(last) > stalled {
			r.Worker = "stalled"
			degraded("no worker has shown a sign of life since " + last.UTC().Format(time.RFC3339))
		}
	}
	for _, problem := range h.couriers() {
		degraded(problem)
	}
	switch state := said.state; {
	case said.queue != nil:
		r.Status, r.JetStream, r.Problems = "unhealthy", "disconnected", append(r.Problems, said.queue.Error())
	case !state.Healthy:
		r.Status, r.JetStream, r.Problems = "unhealthy", state.Mode, append(r.Problems, state.Problem)
		r.Sync = state.Sync
	default:
		r.JetStream, r.Sync = state.Mode, state.Sync
		for _, problem := range state.Problems {
			degraded(problem)
		}
	}
	h.current.Store(r)
}

// answers is what the parts said to one probe.
type answers struct {
	store, cache, queue error
	state               event.QueueState
}

// ask asks all parts at once, each within a time of its own: one that hangs must not
// leave another too little of it and have that one take the blame.
func (h *health) ask(ctx context.Context) (said answers) {
	var asked sync.WaitGroup
	ask := func(part func(ctx context.Context)) {
		asked.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, probeTimeout)
			defer cancel()
			part(ctx)
		})
	}
	ask(func(ctx context.Context) { said.state, said.queue = h.queue.State(ctx) })
	if h.store != nil {
		ask(func(ctx context.Context) { said.store = h.store.Ping(ctx) })
	}
	if h.cache != nil {
		ask(func(ctx context.Context) { said.cache = h.cache.Ping(ctx) })
	}
	asked.Wait()
	return said
}

// alive reports whether the probing goes on; when it does not, the process hangs.
func (h *health) alive() bool {
	r := h.current.Load()
	return r != nil && time.Since(r.Timestamp) < stalled
}

// answer returns what /health answers now. The problems of the parts name
// addresses and paths, so only operators get them.
func (h *health) answer(forOperators bool) (status int, body []byte) {
	report := healthReport{Status: "unhealthy", Problems: []string{"starting"}, Timestamp: time.Now().UTC()}
	if r := h.current.Load(); r != nil {
		report = *r
	}
	if h.draining.Load() {
		report.Status, report.Problems = "unhealthy", append(slices.Clone(report.Problems), "draining")
	}
	if !forOperators {
		report.Problems = nil
	}
	body, err := json.Marshal(report)
	if err != nil || report.Status == "unhealthy" {
		return http.StatusServiceUnavailable, append(body, '\n')
	}
	return http.StatusOK, append(body, '\n')
}
