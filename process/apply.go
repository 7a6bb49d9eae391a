package process

import (
	"cmp"
	"context"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/process/journey"
)

// group is what one change is made of: a shipment and the jobs that move it.
type group struct {
	shipment shipment.Shipment
	jobs     []*job
}

// applyAll folds the jobs into their shipments and commits, one change per
// shipment. Jobs whose change failed are failed, or stay undecided: after a
// version conflict, and when another job of the commit may be the reason.
func (h *Handler) applyAll(ctx context.Context, jobs []*job) error {
	groups, failed, err := h.fold(ctx, jobs)
	if err != nil {
		return err
	}
	if len(groups) > 0 {
		errs, err := h.Store.Commit(ctx, successChanges(groups, h.Now()))
		if err = batchError(ctx, h.Store, err); isDown(err) || commitTooLarge(err, len(groups)) {
			return err
		}
		var down error
		for i, g := range groups {
			if err != nil {
				failed = append(failed, isolate(g, err, len(groups) == 1)...)
				continue
			}
			broken, err := h.conclude(ctx, g, errs[i])
			down = cmp.Or(down, err)
			failed = append(failed, broken...)
		}
		if down != nil {
			return down
		}
	}
	return h.recordFailures(ctx, failed)
}

// failure is a job and what went wrong with it.
type failure struct {
	*job
	err error
}

// fold reads the shipments and applies the jobs to them in memory. Invalid jobs
// come back as failures; an isolated job waits for a round in which its shipment has no
// other.
func (h *Handler) fold(ctx context.Context, jobs []*job) ([]*group, []failure, error) {
	var failed []failure
	byRef := map[shipment.Ref]*group{}
	var groups []*group
	for _, j := range jobs {
		if j.invalid != "" {
			failed = append(failed, failure{j, event.Errorf(event.DomainInvalid, "apply event", "%s", j.invalid)})
			continue
		}
		ref := shipment.Ref{Courier: j.Courier, ID: j.event.ShipmentID}
		g := byRef[ref]
		switch {
		case g == nil:
			g = &group{shipment: shipment.Shipment{Ref: ref}}
			byRef[ref], groups = g, append(groups, g)
		case j.isolated || g.jobs[0].isolated:
			continue
		}
		g.jobs = append(g.jobs, j)
	}
	if len(groups) == 0 {
		return nil, failed, nil
	}
	if err := loadShipments(ctx, h.Store, groups, byRef); err != nil {
		return nil, nil, err
	}
	for _, g := range groups {
		for _, j := range g.jobs {
			journey.Apply(&g.shipment, journey.Report{Event: j.event.Clone(), ReceivedAt: j.ReceivedAt, MaxAhead: h.MaxAhead(j.Courier)}, h.Now())
		}
	}
	return groups, failed, nil
}

// loadShipments reads the shipments that exist into their groups.
func loadShipments(ctx context.Context, store Store, groups []*group, byRef map[shipment.Ref]*group) error {
	refs := make([]shipment.Ref, len(groups))
	for i, g := range groups {
		refs[i] = g.shipment.Ref
	}
	found, err := store.Shipments(ctx, refs)
	if err != nil {
		return batchError(ctx, store, err)
	}
	for _, s := range found {
		byRef[s.Ref].shipment = s
	}
	return nil
}

// successChanges makes each group the change that records its success.
func successChanges(groups []*group, now time.Time) []event.Change {
	changes := make([]event.Change, len(groups))
	for i, g := range groups {
		records := make([]event.Record, len(g.jobs))
		for k, j := range g.jobs {
			records[k] = j.record
			records[k].Attempts = append([]event.Attempt(nil), j.record.Attempts...)
			end(&records[k], event.Processed, event.Succeeded, "", "", now)
			noteLeftOut(records[k].Attempts, j.event.LeftOut)
		}
		changes[i] = event.Change{Shipment: &g.shipment, Records: records}
	}
	return changes
}

// noteLeftOut says in the last attempt what of the event's body was left out.
func noteLeftOut(attempts []event.Attempt, leftOut event.Faults) {
	if last := len(attempts) - 1; last >= 0 && len(leftOut) > 0 {
		attempts[last].Message = "left out: " + leftOut.Error()
	}
}

// conclude decides a group's jobs by the outcome of their change and returns
// those that failed. Its error means that the store is down, or takes no such change:
// the others of the commit are stored all the same.
func (h *Handler) conclude(ctx context.Context, g *group, err error) ([]failure, error) {
	if err == nil {
		for _, j := range g.jobs {
			h.processed(j)
		}
		return nil, nil
	}
	if event.CodeOf(err) == event.VersionConflict {
		h.Metrics.versionConflicts.Inc()
		return nil, nil // read and written again in the next round
	}
	if err = storeError(ctx, h.Store, err); isDown(err) {
		return nil, err
	}
	return isolate(g, err, true), nil
}

// processed concludes a job whose change is stored.
func (h *Handler) processed(j *job) {
	j.record.Status, j.applied = event.Processed, true
	now := h.Now()
	h.Metrics.processed.Inc()
	h.Metrics.latency.Observe(now.Sub(j.ReceivedAt).Seconds())
	h.Log.Debug("event processed", attrs(&j.Delivery)...)
	j.decide(event.Verdict{Action: event.Ack})
}

// recordFailures records failed attempts: permanent failures as dead letters, the others
// for another try. One commit serves all. That commit also shows that the events are
// behind it: when the store does not take it in time, as it has not taken their changes,
// nothing is decided. One whose row alone can't be written is tried again all the same;
// its attempt then shows as interrupted.
func (h *Handler) recordFailures(ctx context.Context, failed []failure) error {
	if len(failed) == 0 {
		return nil
	}
	changes := make([]event.Change, len(failed))
	for i, f := range failed {
		changes[i] = failureChange(f, h.Now())
	}
	errs, err := h.Store.Commit(ctx, changes)
	if err = batchError(ctx, h.Store, err); isDown(err) || event.CodeOf(err) == event.Timeout {
		return err
	}
	if down := anyDown(errs); down != nil {
		return down
	}
	for i, f := range failed {
		stored := err == nil && errs[i] == nil
		code := event.CodeOf(f.err)
		if classOf(code) == permanent && stored {
			h.deadLettered(f.job, code, reason(f.err))
			continue
		}
		h.Metrics.failed.WithLabelValues(string(code)).Inc()
		h.Log.Info("attempt failed, the event will be tried again",
			append(attrs(&f.Delivery), "code", string(code), "error", f.err)...)
		f.decide(h.retry(f.job, code))
	}
	return nil
}

// failureChange makes a failed job the change that records its failure.
func failureChange(f failure, now time.Time) event.Change {
	code, message := event.CodeOf(f.err), reason(f.err)
	if classOf(code) != permanent {
		end(&f.record, event.Failed, event.WillRetry, code, message, now)
		return event.Change{Records: []event.Record{f.record}}
	}
	end(&f.record, event.DeadLettered, event.GaveUp, code, message, now)
	letter := newDeadLetter(&f.Delivery, code, message, now)
	letter.ShipmentID, letter.Attempts = f.event.ShipmentID, f.record.Attempts
	return event.Change{Records: []event.Record{f.record}, DeadLetters: []event.DeadLetter{letter}}
}
