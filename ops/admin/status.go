package admin

import (
	"net/http"
	"time"

	"github.com/fincart/courier-gateway/ops"
)

func (a *api) status(w http.ResponseWriter, r *http.Request) error {
	about := a.deps.About
	_, health := a.deps.Health()
	s := ops.Status{
		Version: about.Version, Role: about.Role, DataDir: about.DataDir,
		At: time.Now().UTC(), StartedAt: about.StartedAt, UptimeSeconds: time.Since(about.StartedAt).Seconds(),
		Listeners: a.deps.Listeners(),
		Ready:     true,
		Health:    ops.ParseHealth(health),
	}
	if err := a.deps.Ready(); err != nil {
		s.Ready, s.NotReady = false, err.Error()
	}
	if a.deps.Couriers != nil {
		couriers := a.deps.Couriers()
		s.Observing, s.Attention = observing(couriers), unverified(couriers)
	}
	a.addFigures(r, &s)
	if s.Store != nil { // it answers
		s.Attention = append(s.Attention, a.silences.search(r.Context(), &a.deps)...)
		s.Attention = append(s.Attention, unmapped(r.Context(), &a.deps)...)
	}
	return answer(w, s)
}

// addFigures adds what has to be asked for. What does not answer becomes a
// problem in the document, because a status is wanted most when something is
// down.
func (a *api) addFigures(r *http.Request, s *ops.Status) {
	problem := func(what string, err error) {
		s.Problems = append(s.Problems, what+": "+problemOf(err, traceIDFrom(r.Context())).Detail)
	}
	if a.deps.Queue != nil {
		if state, err := a.deps.Queue.State(r.Context()); err != nil {
			problem("queue", err)
		} else {
			s.Queue = &ops.QueueStatus{QueueState: state, Unprocessed: state.Unprocessed()}
		}
	}
	if a.deps.Counts != nil {
		if counts, err := a.deps.Counts.Counts(r.Context()); err != nil {
			problem("store", err)
		} else {
			s.Store = &counts
		}
	}
	if a.deps.Worker != nil {
		worker := a.deps.Worker()
		s.Worker = &worker
	}
	if a.deps.Reconciler != nil {
		reconciler := a.deps.Reconciler()
		s.Reconciler = &reconciler
	}
}
