package mongo

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/persistence"
)

// The most entries of an index that are read for one figure of Counts. Rows that are many in
// a store without faults, processed events and shipments, are estimated beyond exactLimit; a
// figure of any other status ends at countLimit.
const (
	exactLimit = 100_000
	countLimit = 1_000_000
)

// Counts implements [persistence.Database]. Of many rows the server's own number of documents
// is the estimate: on a single server it is wrong after a crash, until MongoDB has validated
// the collection, and with shards it has documents twice while they move.
func (s *Store) Counts(ctx context.Context) (event.StoreCounts, error) {
	c := counter{StoreCounts: persistence.EmptyCounts()}
	err := s.server.do(ctx, "counts", func(ctx context.Context) error {
		records, others := s.indexes.records, int64(0)
		for _, status := range []event.Status{event.Received, event.Processing, event.Failed, event.DeadLettered} {
			c.Records[status] = c.count(ctx, records, "status", string(status))
			others += c.Records[status]
		}
		c.Records[event.Processed] = c.countMany(ctx, records, string(event.Processed), bson.E{Key: "status", Value: string(event.Processed)}, others)
		c.Shipments = c.countMany(ctx, s.indexes.shipments, "shipments", bson.E{Key: "_id", Value: bson.D{{Key: "$gte", Value: ""}}}, 0)
		for _, status := range event.ReviewStatuses {
			c.DeadLetters[status] = c.count(ctx, s.indexes.letters, "reviewStatus", string(status))
		}
		for _, outcome := range ingestion.Outcomes {
			c.Ingestions[string(outcome)] = c.count(ctx, s.indexes.ingestions, "outcome", string(outcome))
		}
		return c.err
	})
	return c.StoreCounts, err
}

// counter counts until the first error.
type counter struct {
	event.StoreCounts
	err error
}

// count counts the rows of a status, up to countLimit.
func (c *counter) count(ctx context.Context, in *table, field, status string) int64 {
	n := c.ask(func() (int64, error) { return in.count(ctx, bson.E{Key: field, Value: status}, countLimit) })
	if n >= countLimit {
		c.Approximately(status, "at least")
	}
	return n
}

// countMany takes what the server estimates, without the others that are counted already,
// and counts when that is few.
func (c *counter) countMany(ctx context.Context, in *table, name string, which bson.E, others int64) int64 {
	estimate := c.ask(func() (int64, error) { return in.estimate(ctx) }) - others
	if estimate < exactLimit {
		n := c.ask(func() (int64, error) { return in.count(ctx, which, exactLimit) })
		if n < exactLimit {
			return n
		}
		estimate = n // at least
	}
	c.Approximately(name, "about")
	return estimate
}

func (c *counter) ask(count func() (int64, error)) (n int64) {
	if c.err == nil {
		n, c.err = count()
	}
	return n
}
