package mongo

import (
	"context"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/persistence"
)

// countLimit bounds how many index entries one figure of Counts is worth. A
// status that has more rows counts as that many.
const countLimit = 1_000_000

// Counts implements [persistence.Database]. How many documents there are the server knows.
// Those of a status are counted in an index, up to countLimit; of the events the
// processed ones, nearly all of them, are what the others leave.
func (s *Store) Counts(ctx context.Context) (event.StoreCounts, error) {
	counts := persistence.EmptyCounts()
	err := s.server.do(ctx, "counts", func(ctx context.Context) (err error) {
		if counts.Shipments, err = s.indexes.shipments.estimate(ctx); err != nil {
			return err
		}
		left, err := s.indexes.records.estimate(ctx)
		if err != nil {
			return err
		}
		for _, status := range []event.Status{event.Received, event.Processing, event.Failed, event.DeadLettered} {
			n, err := s.indexes.records.count(ctx, "status", string(status))
			if err != nil {
				return err
			}
			counts.Records[status] = n
			left -= n
		}
		counts.Records[event.Processed] = max(left, 0)
		for _, status := range event.ReviewStatuses {
			if counts.DeadLetters[status], err = s.indexes.letters.count(ctx, "reviewStatus", string(status)); err != nil {
				return err
			}
		}
		for _, outcome := range ingestion.Outcomes {
			if counts.Ingestions[string(outcome)], err = s.indexes.ingestions.count(ctx, "outcome", string(outcome)); err != nil {
				return err
			}
		}
		return nil
	})
	return counts, err
}
