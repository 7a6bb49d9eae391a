package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/process"
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

// storeCounter is what the health asks of a store now and then.
type storeCounter interface {
	Counts(ctx context.Context) (event.StoreCounts, error)
}

// Times of the health check. A probe that takes longer counts as failed.
const (
	probeEvery   = time.Second
	probeTimeout = 800 * time.Millisecond
	// stalled is how old a worker's last sign of life may be, and for how long
	// workers may hold what they can't handle.
	stalled = 15 * time.Second
	// slowEvery is between two looks at what costs more to look at.
	slowEvery = 5 * time.Second
)

// HealthReport is the answer of /health, the same on both listeners.
type HealthReport struct {
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
	held     func() *process.Hold // nil in a role without workers
	couriers func() []string      // what is wrong with couriers
	outcomes func() []string      // what outcomes the store lacks, nil in a role without workers
	draining *atomic.Bool
	current  atomic.Pointer[HealthReport]

	letters storeCounter // nil where there are no dead letters
	limits  healthLimits
	slow    func() []string // what else is wrong, asked every slowEvery; nil for nothing

	// What follows is the probe's own.
	looked  time.Time // at what costs more
	pending int64     // dead letters
	others  []string  // of slow
	queued  queueWatch
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
	r := &HealthReport{Status: "healthy", Timestamp: time.Now().UTC()}
	degraded := func(problem string) {
		r.Status, r.Problems = "degraded", append(r.Problems, problem)
	}
	slowly := time.Since(h.looked) >= slowEvery
	if slowly {
		h.looked = time.Now()
	}
	said := h.ask(ctx, slowly)
	reach := func(part string, p pinger, server string, err error) string {
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			degraded(fmt.Sprintf("the %s has not answered within %s: %v", part, probeTimeout, err))
			return "disconnected"
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
		r.Mongo = reach("store", h.store, "mongodb", said.store)
	}
	if h.cache != nil {
		r.Redis = reach("cache", h.cache, "redis", said.cache)
	}
	if h.worker != nil {
		phase, last := h.worker()
		r.Worker = phase
		if phase != "starting" && time.Since(last) > stalled {
			r.Worker = "stalled"
			degraded("no worker has shown a sign of life since " + last.UTC().Format(time.RFC3339) + ": restart the appliance, and report it with its log")
		}
	}
	if h.held != nil {
		if hold := h.held(); hold != nil && time.Since(hold.Since) > stalled {
			degraded(fmt.Sprintf("workers hold events that they can't handle since %s, and go on by themselves once they can: %v", hold.Since.UTC().Format(time.RFC3339), hold.Cause))
		}
	}
	if troubled, ok := h.store.(adviser); ok {
		for _, problem := range troubled.Problems() {
			degraded(problem)
		}
	}
	if h.outcomes != nil {
		for _, problem := range h.outcomes() {
			degraded(problem)
		}
	}
	for _, problem := range h.slowProblems(said, slowly) {
		degraded(problem)
	}
	for _, problem := range h.couriers() {
		degraded(problem)
	}
	for _, problem := range said.state.Problems {
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
		for _, problem := range h.queued.problems(state, h.limits, time.Now()) {
			degraded(problem)
		}
	}
	h.current.Store(r)
}

// slowProblems returns what was found when it was last looked at what costs more.
func (h *health) slowProblems(said answers, now bool) (problems []string) {
	if now && h.slow != nil {
		h.others = h.slow()
	}
	if now && h.letters != nil && said.uncounted == nil {
		h.pending = said.counts.DeadLetters[event.ReviewPending]
	}
	if most := int64(h.limits.deadLetters); most > 0 && h.pending >= most {
		problems = append(problems, fmt.Sprintf("%d dead letters wait for review (process.dead_letter_alarm is %d): "+
			"`appliance dlq list` says why, repair the cause, then `appliance dlq replay` or `dlq close`", h.pending, most))
	}
	return append(problems, h.others...)
}

// answers is what the parts said to one probe.
type answers struct {
	store, cache, queue error
	state               event.QueueState
	counts              event.StoreCounts
	uncounted           error
}

// ask asks all parts at once, each within a time of its own: one that hangs must not
// leave another too little of it and have that one take the blame.
func (h *health) ask(ctx context.Context, slowly bool) (said answers) {
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
	if h.letters != nil && slowly {
		ask(func(ctx context.Context) { said.counts, said.uncounted = h.letters.Counts(ctx) })
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
	report := HealthReport{Status: "unhealthy", Problems: []string{"starting"}, Timestamp: time.Now().UTC()}
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
