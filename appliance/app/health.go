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

// pinger is a part whose reachability the health reports.
type pinger interface {
	Name() string // sqlite, mongodb, memory or redis
	Ping(ctx context.Context) error
}

// adviser is a part that works, but not as it should. Its problems are for operators.
type adviser interface{ Problems() []string }

// queueState is what the health asks the queue for.
type queueState interface {
	State(ctx context.Context) (event.QueueState, error)
}

// storeCounter is what the health asks a store for every slowEvery.
type storeCounter interface {
	Counts(ctx context.Context) (event.StoreCounts, error)
}

// Times of the health check. A probe that takes longer counts as failed.
const (
	probeEvery   = time.Second
	probeTimeout = 800 * time.Millisecond
	// stalled is how old a worker's last heartbeat may be, and for how long workers may
	// hold events that they can't handle.
	stalled = 15 * time.Second
	// slowEvery is between two checks of what costs more to check.
	slowEvery = 5 * time.Second
)

// HealthReport is the answer of /health, the same on both listeners.
type HealthReport struct {
	Status    string    `json:"status"`          // healthy, degraded or unhealthy
	Redis     string    `json:"redis"`           // how the cache is: connected, embedded or disconnected
	Mongo     string    `json:"mongo"`           // how the store is: the same words
	Store     string    `json:"store,omitempty"` // sqlite or mongodb
	Cache     string    `json:"cache,omitempty"` // memory or redis
	JetStream string    `json:"jetstream"`
	Sync      string    `json:"sync,omitempty"`   // what an acknowledgement waits for
	Worker    string    `json:"worker,omitempty"` // pulling, working, holding, stalled or stopped
	Problems  []string  `json:"problems,omitempty"`
	Timestamp time.Time `json:"timestamp"`

	storeDown time.Time // since when, zero while it answers
}

// degrade adds problems that cost time only: intake goes on.
func (r *HealthReport) degrade(problems ...string) {
	if len(problems) > 0 {
		r.Status, r.Problems = "degraded", append(r.Problems, problems...)
	}
}

// fail adds the problem that stops intake.
func (r *HealthReport) fail(problem string) {
	r.Status, r.Problems = "unhealthy", append(r.Problems, problem)
}

// health probes the parts once a second, so that an answer costs nothing and does not
// hang with a part that hangs.
type health struct {
	queue    queueState
	store    pinger // nil in a role without a store
	cache    pinger // nil in a role without a cache
	worker   func() (phase string, lastHeartbeat time.Time)
	held     func() *process.Hold // nil in a role without workers
	couriers func() []string      // problems of couriers
	outcomes func() []string      // problems of outcomes that the store lacks, nil in a role without workers
	draining *atomic.Bool
	current  atomic.Pointer[HealthReport]

	letters storeCounter // nil where there are no dead letters
	limits  healthLimits
	slow    func() []string // other problems, asked for every slowEvery; nil for none

	// What follows belongs to the goroutine that probes.
	checked time.Time // when the slow checks ran last
	pending int64     // dead letters
	others  []string  // of slow
	queued  queueWatch

	downSince map[string]time.Time // parts that don't answer
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
	slowly := time.Since(h.checked) >= slowEvery
	if slowly {
		h.checked = time.Now()
	}
	got := h.ask(ctx, slowly)
	if h.store != nil {
		r.Store, r.Mongo = h.store.Name(), h.reach(r, "store", h.store, "mongodb", got.store)
	}
	if h.cache != nil {
		r.Cache, r.Redis = h.cache.Name(), h.reach(r, "cache", h.cache, "redis", got.cache)
	}
	r.storeDown = h.downSince["store"]
	h.checkWorkers(r)
	if store, ok := h.store.(adviser); ok {
		r.degrade(store.Problems()...)
	}
	if h.outcomes != nil {
		r.degrade(h.outcomes()...)
	}
	r.degrade(h.slowProblems(got, slowly)...)
	r.degrade(h.couriers()...)
	r.degrade(got.state.Problems...)
	switch state := got.state; {
	case got.queue != nil:
		r.JetStream = "disconnected"
		r.fail(got.queue.Error())
	case !state.Healthy:
		r.JetStream, r.Sync = state.Mode, state.Sync
		r.fail(state.Problem)
	default:
		r.JetStream, r.Sync = state.Mode, state.Sync
		r.degrade(h.queued.problems(state, h.limits, time.Now())...)
	}
	h.current.Store(r)
}

// reach returns what a part is to the appliance: connected when a server of that name is
// behind it, embedded, or disconnected, which is a problem.
func (h *health) reach(r *HealthReport, part string, p pinger, server string, err error) string {
	if err == nil {
		delete(h.downSince, part)
		if p.Name() == server {
			return "connected"
		}
		return "embedded"
	}
	if h.downSince[part].IsZero() {
		if h.downSince == nil {
			h.downSince = map[string]time.Time{}
		}
		h.downSince[part] = r.Timestamp
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("it has not answered within %s: %w", probeTimeout, err)
	}
	r.degrade(fmt.Sprintf("the %s (%s) is down since %s: %v", part, p.Name(), h.downSince[part].Format(time.RFC3339), err))
	return "disconnected"
}

// checkWorkers adds the state of the workers, where there are any.
func (h *health) checkWorkers(r *HealthReport) {
	if h.worker != nil {
		phase, last := h.worker()
		r.Worker = phase
		if phase != "starting" && time.Since(last) > stalled {
			r.Worker = "stalled"
			r.degrade("no worker has sent a heartbeat since " + last.UTC().Format(time.RFC3339) + ": restart the appliance, and report it with its log")
		}
	}
	if h.held != nil {
		if hold := h.held(); hold != nil && time.Since(hold.Since) > stalled {
			r.degrade(fmt.Sprintf("workers hold events that they can't handle since %s, and go on by themselves once they can: %v", hold.Since.UTC().Format(time.RFC3339), hold.Cause))
		}
	}
}

// slowProblems returns the problems of the last slow checks, which it runs now if asked.
func (h *health) slowProblems(got answers, now bool) (problems []string) {
	if now && h.slow != nil {
		h.others = h.slow()
	}
	if now && h.letters != nil && got.uncounted == nil {
		h.pending = got.counts.DeadLetters[event.ReviewPending]
	}
	if most := int64(h.limits.deadLetters); most > 0 && h.pending >= most {
		problems = append(problems, fmt.Sprintf("%d dead letters wait for review (process.dead_letter_alarm is %d): "+
			"`appliance dlq list` says why, repair the cause, then `appliance dlq replay` or `dlq close`", h.pending, most))
	}
	return append(problems, h.others...)
}

// answers are what the parts answered to one probe.
type answers struct {
	store, cache, queue error
	state               event.QueueState
	counts              event.StoreCounts
	uncounted           error
}

// ask asks all parts at once, each with a time-out of its own: a part that hangs must not
// use up the time of another, which would then be reported in its place.
func (h *health) ask(ctx context.Context, slowly bool) (got answers) {
	var asked sync.WaitGroup
	ask := func(part func(ctx context.Context)) {
		asked.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, probeTimeout)
			defer cancel()
			part(ctx)
		})
	}
	ask(func(ctx context.Context) { got.state, got.queue = h.queue.State(ctx) })
	if h.store != nil {
		ask(func(ctx context.Context) { got.store = h.store.Ping(ctx) })
	}
	if h.cache != nil {
		ask(func(ctx context.Context) { got.cache = h.cache.Ping(ctx) })
	}
	if h.letters != nil && slowly {
		ask(func(ctx context.Context) { got.counts, got.uncounted = h.letters.Counts(ctx) })
	}
	asked.Wait()
	return got
}

// storeDown returns since when the store does not answer, zero while it does.
func (h *health) storeDown() time.Time {
	if r := h.current.Load(); r != nil {
		return r.storeDown
	}
	return time.Time{}
}

// refusing returns a function that says why the queue takes no events, "" while it does.
// That is known at once by healthy, its reason from the last probe.
func (h *health) refusing(healthy func() bool) func() string {
	return func() string {
		if healthy() {
			return ""
		}
		if r := h.current.Load(); r != nil && r.Status == "unhealthy" {
			return r.Problems[len(r.Problems)-1]
		}
		return "the queue has just stopped taking them"
	}
}

// alive reports whether the probing goes on; when it does not, the process hangs.
func (h *health) alive() bool {
	r := h.current.Load()
	return r != nil && time.Since(r.Timestamp) < stalled
}

// answer returns what /health answers now. Problems name addresses and paths, so only
// operators get them.
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
