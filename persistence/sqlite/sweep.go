package sqlite

import (
	"context"
	"sync/atomic"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/fincart/courier-gateway/persistence"
)

const (
	// sweepChunk is how many rows a sweep deletes in one transaction, which takes some
	// milliseconds; waiting commits run before the next.
	sweepChunk = 500
	// sweepWalk is how many shipments one sweep reads. They have no index by age, in
	// which every event would have to move them; so each sweep reads the next part of
	// the table.
	sweepWalk = 50_000
)

// sweeper deletes the rows whose time is up.
type sweeper struct {
	db        *database
	retention persistence.Retention
	next      atomic.Int64 // where the walk through the shipments goes on
}

// sweep deletes the rows whose time is up, in transactions of a chunk of rows each, between
// which waiting commits run. The file does not shrink, the space is used again.
func (w *sweeper) sweep(ctx context.Context, now time.Time) (swept persistence.Swept, err error) {
	keep := w.retention
	if keep.LedgerTTL > 0 {
		swept.Records, err = w.sweepTable(ctx, "processed_events", "row_id", "status", "ended_at", now.Add(-keep.LedgerTTL))
	}
	if err == nil && keep.DeadLetterTTL > 0 {
		swept.DeadLetters, err = w.sweepTable(ctx, "dead_letter_events", "id", "review_status", "dead_at", now.Add(-keep.DeadLetterTTL))
	}
	if err == nil && keep.IngestionTTL > 0 {
		swept.Ingestions, err = w.sweepTable(ctx, "ingestion_records", "id", "outcome", "at", now.Add(-keep.IngestionTTL))
	}
	if err == nil && keep.ShipmentTTL > 0 {
		err = w.sweepShipments(ctx, now.Add(-keep.ShipmentTTL))
	}
	return swept, err
}

// sweepTable deletes the rows of a table whose time, an indexed column, is
// before limit.
func (w *sweeper) sweepTable(ctx context.Context, table, id, status, column string, limit time.Time) (total int64, err error) {
	query := "DELETE FROM " + table + " WHERE " + id + " IN (SELECT " + id + " FROM " + table +
		" WHERE " + column + " < ? ORDER BY " + column + " LIMIT ?) RETURNING " + status
	for {
		n, err := w.db.deleteCounted(ctx, table, query, func(b *binder) {
			b.key(persistence.TimeKey(limit))
			b.int(sweepChunk)
		})
		total += n
		if err != nil || n < sweepChunk {
			return total, err
		}
	}
}

// sweepShipments deletes shipments untouched since limit among the next sweepWalk
// places, from where the last sweep ended, and from the first place again after the
// last.
func (w *sweeper) sweepShipments(ctx context.Context, limit time.Time) error {
	first, last, err := w.shipmentRange(ctx)
	if err != nil {
		return err
	}
	from := max(w.next.Load(), first)
	for end := from + sweepWalk; from < end && from <= last; from += sweepChunk {
		_, err := w.db.deleteCounted(ctx, "active_shipments",
			"DELETE FROM active_shipments WHERE row_id >= ? AND row_id < ? AND updated_at < ? RETURNING ''",
			func(b *binder) {
				b.int(from)
				b.int(from + sweepChunk)
				b.key(persistence.TimeKey(limit))
			})
		if err != nil {
			return err
		}
	}
	if from > last {
		from = 0
	}
	w.next.Store(from)
	return nil
}

// shipmentRangeQuery asks twice: both in one SELECT would read the whole table.
const shipmentRangeQuery = "SELECT (SELECT min(row_id) FROM active_shipments), (SELECT max(row_id) FROM active_shipments)"

// shipmentRange returns the first and the last place of a shipment.
func (w *sweeper) shipmentRange(ctx context.Context) (first, last int64, err error) {
	err = w.db.read(ctx, "sweep", func(conn *sqlite.Conn) error {
		stmt, err := conn.Prepare(shipmentRangeQuery)
		if err != nil {
			return err
		}
		if _, err := stmt.Step(); err != nil {
			return err
		}
		first, last = stmt.ColumnInt64(0), stmt.ColumnInt64(1)
		return stmt.Reset()
	})
	return first, last, err
}

// deleteCounted runs a DELETE that returns the statuses of the rows it deleted, and
// counts them.
func (d *database) deleteCounted(ctx context.Context, table, query string, bind func(*binder)) (n int64, err error) {
	err = d.write(ctx, "sweep", func(conn *sqlite.Conn) error {
		stmt, err := conn.Prepare(query)
		if err != nil {
			return err
		}
		bind(&binder{stmt: stmt})
		gone, err := collect(nil, stmt, (*columns).text)
		if err != nil {
			return err
		}
		change := counts{}
		for _, status := range gone {
			change.add(table, status, -1)
		}
		n = int64(len(gone))
		return change.store(conn)
	})
	if err != nil {
		return 0, err
	}
	d.metrics.Swept(table, n)
	return n, nil
}
