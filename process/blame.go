package process

import (
	"context"
	"errors"

	"github.com/fincart/courier-gateway/ingest/event"
)

// doubtful reports whether it may be a batch's own fault that nothing could be
// decided about it: the answer took too long, or made no sense, and yet the store
// works. What a store says of its own trouble (no primary, no majority, a full disk)
// is never the batch's fault.
func (h *Handler) doubtful(ctx context.Context, err error) bool {
	if err == nil || isDown(err) && !errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	return ctx.Err() == nil && h.storeWorks(ctx)
}

// storeWorks reports whether the store takes a write: one that changes nothing,
// because no row is at its version. A ping would say less. A primary that has lost
// the others still answers it, and in an outage events would spend their attempts.
func (h *Handler) storeWorks(ctx context.Context) bool {
	nothing := event.Record{Status: event.Failed, Version: 1 << 62}
	err := commitOne(ctx, h.Store, event.Change{Records: []event.Record{nothing}})
	return event.CodeOf(err) == event.VersionConflict
}

// blame is the verdict on an event that can't be decided while the store works: its
// attempt has failed, and the ledger says so, as far as its row can be read. A store
// that can't be used for that row either, or takes too long for it, is at fault itself
// although it takes the write of storeWorks, which changes nothing: then nothing is
// decided, and no attempt is spent.
func (h *Handler) blame(ctx context.Context, d event.Delivery, cause error) (event.Verdict, error) {
	if isDown(cause) {
		cause = &event.Error{Code: event.Timeout, Op: "process an event", Err: cause}
	}
	j := &job{Delivery: d, hash: event.BodyHash(d.Body)}
	rows, err := h.records(ctx, []*job{j})
	j.record = rows[j.Identity()]
	if code, _ := h.inspect(j); err == nil && code == "" && h.consult(j) == proceed {
		h.begin(j)
		err = h.fail(ctx, []failure{{j, cause}})
	}
	if isDown(err) || event.CodeOf(err) == event.Timeout {
		return event.Verdict{}, err
	}
	if !j.decided {
		h.Log.Warn("attempt failed and the ledger can't be told, the event will be tried again",
			append(attrs(j), "code", string(event.CodeOf(cause)), "error", errors.Join(cause, err))...)
		j.decide(h.retry(j, event.CodeOf(cause)))
	}
	return j.verdict, nil
}
