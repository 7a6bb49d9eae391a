package process

import (
	"context"
	"slices"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// round reads the rows of all jobs, decides, and writes: ledger, shipments,
// commit, each one call whatever the size of the batch. Jobs that lost a row to
// another writer stay undecided for the next round.
func (h *Handler) round(ctx context.Context, jobs []*job) error {
	rows, err := readLedger(ctx, h.Store, jobs)
	if err != nil {
		return err
	}
	var todo []*job
	conflicts := map[event.Identity]event.Record{}
	taken := map[event.Identity]bool{}
	for _, j := range jobs {
		id := j.Identity()
		if taken[id] {
			continue // another copy in the same batch: the next round knows its outcome
		}
		j.record = rows[id]
		switch checkLedger(j) {
		case proceed:
			taken[id] = true
			startAttempt(j, h.Now())
			todo = append(todo, j)
		case conflicting:
			row := rows[id]
			row.Conflicts++
			row.UpdatedAt = h.Now()
			rows[id], conflicts[id] = row, row
			h.Metrics.conflicts.Inc()
			h.Log.Warn("event came with another body too, the one committed first counts", attrs(&j.Delivery)...)
			j.decide(event.Verdict{Action: event.Ack})
		case known:
			h.Metrics.duplicates.Inc()
			j.decide(event.Verdict{Action: event.Ack})
		}
	}
	if err := h.recordConflicts(ctx, conflicts); err != nil {
		return err
	}
	if todo, err = h.openAttempts(ctx, todo); err != nil {
		return err
	}
	return h.applyAll(ctx, todo)
}

// readLedger returns the ledger rows of the jobs' identities.
func readLedger(ctx context.Context, store Store, jobs []*job) (map[event.Identity]event.Record, error) {
	seen := map[event.Identity]bool{}
	ids := slices.DeleteFunc(identities(jobs), func(id event.Identity) bool {
		again := seen[id]
		seen[id] = true
		return again
	})
	found, err := store.Records(ctx, ids)
	if err != nil {
		return nil, batchError(ctx, store, err)
	}
	rows := make(map[event.Identity]event.Record, len(found))
	for _, r := range found {
		rows[r.Identity] = r
	}
	return rows, nil
}

// finding is what the ledger says about a delivery.
type finding uint8

const (
	proceed     finding = iota // apply it
	known                      // it has its outcome already
	conflicting                // its identity belongs to another body
)

// checkLedger compares a delivery with its ledger row.
func checkLedger(j *job) finding {
	r := &j.record
	reopens := j.Replay != "" && j.Replay != r.Replay && r.Status == event.DeadLettered
	switch {
	case r.Version == 0:
		return proceed
	case j.hash != r.BodyHash && j.Sequence != r.Sequence:
		return conflicting
	case r.Status.Terminal() && !reopens:
		return known
	default:
		return proceed
	}
}

// recordConflicts stores conflict counts. A row that moved meanwhile is left as it is: the
// delivery is decided all the same, only the count is one short.
func (h *Handler) recordConflicts(ctx context.Context, rows map[event.Identity]event.Record) error {
	if len(rows) == 0 {
		return nil
	}
	var changes []event.Change
	for _, row := range rows {
		changes = append(changes, event.Change{Records: []event.Record{row}})
	}
	_, err := h.Store.Commit(ctx, changes)
	if err = batchError(ctx, h.Store, err); isDown(err) {
		return err
	}
	return nil
}

// startAttempt opens an attempt in the job's record, at now.
func startAttempt(j *job, now time.Time) {
	r := &j.record
	if r.Version == 0 {
		*r = event.Record{Identity: j.Identity(), BodyHash: j.hash, ReceivedAt: j.ReceivedAt, TraceID: j.TraceID}
	}
	r.EventID, r.EventType = j.EventID, j.event.Type
	r.OccurredAt, r.ShipmentID = j.event.OccurredAt, j.event.ShipmentID
	r.Attempts = appendAttempt(r.Attempts, j.Attempt, r.Sequence != j.Sequence, now)
	r.Sequence, r.Replay = j.Sequence, j.Replay
	r.Status, r.UpdatedAt, r.EndedAt = event.Processing, now, time.Time{}
	r.Code, r.Message = "", ""
}

// appendAttempt returns a copy of attempts whose last one is number n, under way.
// Earlier ones without an outcome, and those that left no trace, are closed as
// interrupted. With fresh the message is a new entry, which counts from 1 again.
func appendAttempt(attempts []event.Attempt, n int, fresh bool, now time.Time) []event.Attempt {
	if last := len(attempts) - 1; !fresh && last >= 0 && attempts[last].Number == n && attempts[last].Outcome == "" {
		return slices.Clone(attempts)
	}
	return append(closeLost(attempts, n-1, fresh, now), event.Attempt{Number: n, StartedAt: now})
}

// closeLost returns a copy of attempts in which every one up to number n has an
// outcome.
func closeLost(attempts []event.Attempt, n int, fresh bool, now time.Time) []event.Attempt {
	attempts = slices.Clone(attempts)
	last := 0
	for i := range attempts {
		a := &attempts[i]
		if a.Outcome == "" {
			a.Outcome, a.Code, a.EndedAt = event.WasLost, event.Interrupted, now
		}
		last = a.Number
	}
	if fresh {
		last = 0
	}
	for last++; last <= n; last++ {
		attempts = append(attempts, event.Attempt{
			Number: last, EndedAt: now, Outcome: event.WasLost, Code: event.Interrupted,
		})
	}
	return attempts
}

// end closes the open attempt of a record.
func end(r *event.Record, status event.Status, outcome event.Outcome, code event.Code, message string, now time.Time) {
	if last := len(r.Attempts) - 1; last >= 0 && r.Attempts[last].Outcome == "" {
		a := &r.Attempts[last]
		a.EndedAt, a.Outcome, a.Code, a.Message = now, outcome, code, message
	}
	r.Status, r.Code, r.Message, r.UpdatedAt = status, code, message, now
	if status.Terminal() {
		r.EndedAt = now
	}
}

// openAttempts stores the open attempt of every event that is not here for the first
// time, so that a worker which dies over a poisonous event leaves a trace. First
// attempts, nearly all of them, do without; and so do last ones that are not exclusive,
// because an open last attempt says that the event was handled exclusively, see
// begunExclusively. It returns the jobs to go on with.
func (h *Handler) openAttempts(ctx context.Context, jobs []*job) ([]*job, error) {
	var late []*job
	var changes []event.Change
	for _, j := range jobs {
		if j.Attempt > 1 && (j.exclusive || j.Attempt < h.Policy.MaxAttempts) {
			late = append(late, j)
			changes = append(changes, event.Change{Records: []event.Record{j.record}})
		}
	}
	if len(late) == 0 {
		return jobs, nil
	}
	errs, err := h.Store.Commit(ctx, changes)
	if err != nil {
		return nil, batchError(ctx, h.Store, err)
	}
	if down := anyDown(errs); down != nil {
		return nil, down
	}
	lost := map[*job]bool{}
	for i, j := range late {
		lost[j] = errs[i] != nil
		j.record.Version++
	}
	return slices.DeleteFunc(jobs, func(j *job) bool { return lost[j] }), nil
}
