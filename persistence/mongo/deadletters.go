package mongo

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/persistence"
)

// DeadLetters keeps the dead letters.
type DeadLetters struct{ letters *table }

// DeadLetters implements [persistence.DeadLetters].
func (s *DeadLetters) DeadLetters(ctx context.Context, f event.DeadLetterFilter) (found []event.DeadLetter, err error) {
	err = s.letters.server.do(ctx, "dead_letters", func(ctx context.Context) error {
		filter := letterFilter(f)
		if f.After != "" {
			after, err := s.findLetter(ctx, f.After)
			if err != nil {
				return err
			}
			filter = append(filter, listedAfter(after)...)
		}
		newest := options.Find().SetSort(newestLetters).SetLimit(int64(persistence.PageSize(f.Limit)))
		docs, err := find[letterDocument](ctx, s.letters, filter, newest, persistence.PageSize(f.Limit))
		if err != nil {
			return err
		}
		found, err = rows(docs, (*letterDocument).letter)
		return err
	})
	return found, err
}

// letterFilter is the filter f, but for where to continue.
func letterFilter(f event.DeadLetterFilter) bson.D {
	filter := bson.D{}
	for _, e := range []struct{ name, value string }{
		{"courier", f.Courier}, {"errorCode", string(f.Code)}, {"reviewStatus", string(f.Status)}, {"idempotencyKey", f.Key},
	} {
		if e.value != "" {
			filter = append(filter, bson.E{Key: e.name, Value: persistence.CleanText(e.value)})
		}
	}
	return filter
}

// newestLetters is the order of a listing.
var newestLetters = descending("deadAt", "deadAtNanos", "_id")

// listedAfter is the filter for the letters that a listing has after d. The first condition
// follows from the others: by it the scan of an index begins where the page before ended.
func listedAfter(d letterDocument) bson.D {
	before := func(more bson.E) bson.D { return bson.D{{Key: "deadAt", Value: d.DeadAt}, more} }
	return bson.D{{Key: "deadAt", Value: bson.D{{Key: "$lte", Value: d.DeadAt}}}, {Key: "$or", Value: bson.A{
		bson.D{{Key: "deadAt", Value: bson.D{{Key: "$lt", Value: d.DeadAt}}}},
		before(bson.E{Key: "deadAtNanos", Value: bson.D{{Key: "$lt", Value: d.DeadNanos}}}),
		append(before(bson.E{Key: "deadAtNanos", Value: d.DeadNanos}), bson.E{Key: "_id", Value: bson.D{{Key: "$lt", Value: d.ID}}}),
	}}}
}

// DeadLetter implements [persistence.DeadLetters].
func (s *DeadLetters) DeadLetter(ctx context.Context, id string) (d event.DeadLetter, err error) {
	err = s.letters.server.do(ctx, "dead_letter", func(ctx context.Context) error {
		doc, err := s.findLetter(ctx, id)
		if err != nil {
			return err
		}
		d, err = row(&doc, (*letterDocument).letter)
		return err
	})
	return d, err
}

func (s *DeadLetters) findLetter(ctx context.Context, id string) (letterDocument, error) {
	doc, err := findByID[letterDocument](ctx, s.letters, id)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return doc, persistence.NoDeadLetter("mongodb dead_letter", id)
	}
	return doc, err
}

// Review implements [persistence.DeadLetters].
func (s *DeadLetters) Review(ctx context.Context, id string, status event.ReviewStatus, note string, link *event.ReplayLink) (d event.DeadLetter, err error) {
	if err := persistence.CheckReview("mongodb review", status); err != nil {
		return d, err
	}
	now := time.Now()
	set := bson.D{{Key: "reviewStatus", Value: string(status)}, {Key: "reviewedAt", Value: dateOf(now)}, {Key: "reviewedAtNanos", Value: nanosOf(now)}}
	if note != "" {
		set = append(set, bson.E{Key: "note", Value: persistence.CleanText(note)})
	}
	err = s.letters.server.do(ctx, "review", func(ctx context.Context) error {
		doc, err := s.review(ctx, id, set, link)
		if errors.Is(err, mongo.ErrNoDocuments) {
			return persistence.NoDeadLetter("mongodb review", id)
		}
		if err != nil {
			return err
		}
		d, err = row(&doc, (*letterDocument).letter)
		return err
	})
	return d, err
}

// review changes a letter and returns it; a link only where none has its nonce.
func (s *DeadLetters) review(ctx context.Context, id string, set bson.D, link *event.ReplayLink) (doc letterDocument, err error) {
	which, update := bson.D{{Key: "_id", Value: persistence.CleanText(id)}}, bson.D{{Key: "$set", Value: set}}
	if link != nil {
		replay := newReplayDocument(*link)
		doc, err = findAndUpdate[letterDocument](ctx, s.letters,
			append(which, bson.E{Key: "$nor", Value: bson.A{bson.D{{Key: "replays.nonce", Value: replay.Nonce}}}}),
			append(update, bson.E{Key: "$push", Value: bson.D{{Key: "replays", Value: replay}}}))
		if !errors.Is(err, mongo.ErrNoDocuments) {
			return doc, err
		}
	}
	return findAndUpdate[letterDocument](ctx, s.letters, which, update)
}

// DeadSequences implements [persistence.DeadLetters].
func (s *DeadLetters) DeadSequences(ctx context.Context, seqs []uint64) (map[uint64]bool, error) {
	dead := map[uint64]bool{}
	err := s.letters.server.do(ctx, "dead_sequences", func(ctx context.Context) error {
		if len(seqs) == 0 {
			return nil
		}
		type position struct {
			Sequence int64 `bson:"sequence"`
		}
		wanted := mapList(seqs, func(seq uint64) int64 { return int64(seq) })
		found, err := find[position](ctx, s.letters,
			bson.D{{Key: "sequence", Value: bson.D{{Key: "$in", Value: wanted}}}},
			options.Find().SetProjection(bson.D{{Key: "_id", Value: 0}, {Key: "sequence", Value: 1}}), len(seqs))
		for _, p := range found {
			dead[uint64(p.Sequence)] = true
		}
		return err
	})
	return dead, err
}
