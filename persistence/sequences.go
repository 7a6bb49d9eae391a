package persistence

import (
	"context"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"zombiezen.com/go/sqlite"

	"github.com/fincart/courier-gateway/ingest/event"
)

// EndedSequences implements [Store] by the index over the end of rows: none over
// their sequences is worth its writes, as it is needed after damage only.
func (s *SQLite) EndedSequences(ctx context.Context, m event.MissingEvents) (ended []uint64, err error) {
	err = s.read(ctx, "ended_sequences", func(conn *sqlite.Conn) error {
		stmt, err := conn.Prepare(`SELECT sequence FROM processed_events
			WHERE ended_at >= ? AND sequence BETWEEN ? AND ? AND (? OR received_at <= ?)`)
		if err != nil {
			return err
		}
		b := binder{stmt: stmt}
		b.key(timeKey(m.EndedAfter))
		b.int(int64(m.Sequence.First))
		b.int(int64(m.Sequence.Last))
		b.flag(m.ReceivedBefore.IsZero())
		b.key(timeKey(m.ReceivedBefore))
		for {
			found, err := stmt.Step()
			if err != nil || !found {
				return err
			}
			ended = append(ended, uint64(stmt.ColumnInt64(0)))
		}
	})
	return ended, err
}

// EndedSequences implements [Store], by the index that makes rows expire.
func (m *Mongo) EndedSequences(ctx context.Context, missing event.MissingEvents) (ended []uint64, err error) {
	type position struct {
		Sequence int64 `bson:"sequence"`
	}
	filter := bson.D{
		{Key: "expiresFrom", Value: bson.D{{Key: "$gte", Value: bson.NewDateTimeFromTime(missing.EndedAfter.Truncate(time.Millisecond))}}},
		{Key: "sequence", Value: bson.D{{Key: "$gte", Value: int64(missing.Sequence.First)}, {Key: "$lte", Value: int64(missing.Sequence.Last)}}},
	}
	if !missing.ReceivedBefore.IsZero() {
		filter = append(filter, bson.E{Key: "receivedAt", Value: bson.D{{Key: "$lte", Value: timeText(missing.ReceivedBefore)}}})
	}
	err = m.do(ctx, "ended_sequences", func(ctx context.Context) error {
		found, err := find[position](ctx, m, m.records, filter,
			options.Find().SetProjection(bson.D{{Key: "_id", Value: 0}, {Key: "sequence", Value: 1}}), int(missing.Sequence.Count()))
		ended = mapList(found, func(p position) uint64 { return uint64(p.Sequence) })
		return err
	})
	return ended, err
}
