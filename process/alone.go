package process

import (
	"context"
	"errors"

	"github.com/fincart/courier-gateway/ingest/event"
)

// An event can end the process: it takes all memory there is, or meets an error that
// Go can't recover from. Each such end spends an attempt of everything that was
// handed out, up to a thousand events that have nothing to do with it, and after
// five of them all would be exhausted together.
//
// So an event that comes for the third time, or its last, without a word on the
// attempt before is handled by itself, and nothing in this process beside it. The
// ledger knows of that attempt before it begins, see claim. When the process ends
// over it, the open attempt says that this was the event in hand; whatever else was
// handed out has none, has merely stood by, and is tried by the [Mover] once more
// when its deliveries are used up.

// aloneFrom is the attempt from which on an event is suspected. The first process
// may have been killed from without, and so may the second.
const aloneFrom = 3

// suspects takes the suspected deliveries out of a batch. When the ledger can't be
// read they are all that come late: by the time they are handled it may be readable
// again, and one of them may be what ends the process.
func (h *Handler) suspects(ctx context.Context, batch []event.Delivery) (company, suspects []event.Delivery) {
	var late []*job
	for _, d := range batch {
		if d.Attempt > 1 && d.Attempt >= min(aloneFrom, h.Policy.MaxAttempts) {
			late = append(late, &job{Delivery: d})
		}
	}
	if len(late) == 0 {
		return batch, nil
	}
	rows := h.knownOf(ctx, late)
	silent := map[uint64]bool{}
	for _, j := range late {
		silent[j.Sequence] = !reported(rows[j.Identity()], j.Delivery)
	}
	for _, d := range batch {
		if silent[d.Sequence] {
			suspects = append(suspects, d)
		} else {
			company = append(company, d)
		}
	}
	return company, suspects
}

// knownOf returns the ledger rows of the jobs' identities, none when they can't be read.
// A store that panics over one of them does so again in a worker's hands, which are
// ready for it.
func (h *Handler) knownOf(ctx context.Context, jobs []*job) (rows map[event.Identity]event.Record) {
	defer func() {
		if recover() != nil {
			rows = nil
		}
	}()
	rows, _ = h.records(ctx, jobs)
	return rows
}

// reported tells whether the attempt before d's failed in the hands of a worker that
// could say so.
func reported(r event.Record, d event.Delivery) bool {
	last := len(r.Attempts) - 1
	return r.Sequence == d.Sequence && last >= 0 &&
		r.Attempts[last].Number == d.Attempt-1 && r.Attempts[last].Outcome == event.WillRetry
}

// inHand tells whether d's last attempt was begun by itself: its deliveries are used
// up, and it may be what ended the process.
func inHand(r event.Record, d event.Delivery) bool {
	last := len(r.Attempts) - 1
	return r.Sequence == d.Sequence && last >= 0 && r.Attempts[last].Number >= d.Attempt
}

// again tries an event whose deliveries ran out while it stood by, and reports
// whether it has its outcome. The attempt is in the ledger before anything of the
// event is looked at, so that there is no second one should the process end over it.
// While the store can't be used it waits.
func (m *Mover) again(ctx context.Context, d event.Delivery, r event.Record) (done bool, err error) {
	d.Attempt++
	j := &job{
		Delivery: d, hash: event.BodyHash(d.Body), record: r,
		event: event.Event{Type: r.EventType, OccurredAt: r.OccurredAt, ShipmentID: r.ShipmentID},
	}
	m.Handler.begin(j)
	if err := commitOne(ctx, m.Store, event.Change{Records: []event.Record{j.record}}); err != nil {
		return false, err
	}
	hard := context.WithoutCancel(ctx) // what has begun is brought to its end
	doubts := 0
	for pause := newPause(); ; pause.wait(ctx) {
		verdicts, err := m.Handler.try(hard, []event.Delivery{d}, true)
		if doubts++; !m.Handler.doubtful(hard, err) {
			doubts = 0
		}
		switch {
		case err == nil:
			return verdicts[0].Action != event.Retry, nil
		case errors.Is(err, errPanicked) || doubts >= manyDoubts:
			return false, nil
		case ctx.Err() != nil:
			return false, err
		}
	}
}
