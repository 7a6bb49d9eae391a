package process

import (
	"context"
	"slices"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/loss"
)

// missingOf returns the sequences of a batch at which the stream has lost an event.
func missingOf(batch []event.Delivery) (seqs []uint64) {
	for i := range batch {
		if batch[i].Gap == event.GapMissing {
			seqs = append(seqs, batch[i].Sequence)
		}
	}
	return seqs
}

// checkMissing looks up in the ledger what the queue misses: an event that has its
// outcome is not lost, wherever its message has gone.
func (r *Reconciler) checkMissing(ctx context.Context) error {
	for found := r.Queue.MissingEvents(); len(found) > 0 && ctx.Err() == nil; found = r.Queue.MissingEvents() {
		for _, m := range found {
			ended, err := r.Ended.EndedSequences(ctx, m)
			if err != nil {
				return err
			}
			dead, err := r.deadOf(ctx, m)
			if err != nil {
				return err
			}
			if err := r.Queue.MissingChecked(m, append(ended, dead...)); err != nil {
				return err
			}
		}
	}
	return nil
}

// deadOf returns the sequences of a run that have a dead letter, which an event that
// can't be read has without a ledger row.
func (r *Reconciler) deadOf(ctx context.Context, m loss.Missing) (dead []uint64, err error) {
	seqs := make([]uint64, 0, m.Sequence.Count())
	for seq := m.Sequence.First; seq <= m.Sequence.Last; seq++ {
		seqs = append(seqs, seq)
	}
	for chunk := range slices.Chunk(seqs, reconcileBatch) {
		found, err := r.DeadLetters.DeadSequences(ctx, chunk)
		if err != nil {
			return nil, err
		}
		for seq := range found {
			dead = append(dead, seq)
		}
	}
	return dead, nil
}
