package sqlite

import (
	"context"
	"encoding/json"
	"fmt"

	"zombiezen.com/go/sqlite"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/loss"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/persistence"
)

const recordColumns = `courier, idempotency_key, version, status, event_id, event_type, occurred_at, shipment_id,
	trace_id, received_at, sequence, body_hash, attempts, conflicts, replay, error_code, message,
	updated_at, ended_at`

const shipmentColumns = `courier, shipment_id, version, order_id, state, raw_status, event_time, last_event, leg,
	history, history_dropped, created_at, updated_at`

// Ledger keeps the ledger rows and the shipments.
type Ledger struct{ db *database }

// Ping implements [persistence.Ledger].
func (l *Ledger) Ping(ctx context.Context) error { return l.db.ping(ctx) }

// Records implements [persistence.Ledger]. There is no trip to a server to save, so each row
// is a look-up of its own, which is faster than one statement over all of them.
func (l *Ledger) Records(ctx context.Context, ids []event.Identity) (found []event.Record, err error) {
	err = l.db.lookUp(ctx, "records", func(conn *sqlite.Conn) error {
		stmt, err := conn.Prepare("SELECT " + recordColumns + ` FROM processed_events
			WHERE key_hash = ? AND idempotency_key = ? AND courier = ?`)
		if err != nil {
			return err
		}
		for _, id := range ids {
			yield()
			bindKey(stmt, id.Key, id.Courier)
			if found, err = collect(found, stmt, readRecord); err != nil {
				return fmt.Errorf("event %s: %w", id, err)
			}
		}
		return nil
	})
	return found, err
}

// Shipments implements [persistence.Ledger], as Records does.
func (l *Ledger) Shipments(ctx context.Context, refs []shipment.Ref) (found []shipment.Shipment, err error) {
	err = l.db.lookUp(ctx, "shipments", func(conn *sqlite.Conn) error {
		stmt, err := conn.Prepare("SELECT " + shipmentColumns + ` FROM active_shipments
			WHERE key_hash = ? AND shipment_id = ? AND courier = ?`)
		if err != nil {
			return err
		}
		for _, ref := range refs {
			yield()
			bindKey(stmt, ref.ID, ref.Courier)
			if found, err = collect(found, stmt, readShipment); err != nil {
				return fmt.Errorf("shipment %s: %w", ref, err)
			}
		}
		return nil
	})
	return found, err
}

const (
	recordsByKeyQuery  = "SELECT " + recordColumns + " FROM processed_events WHERE key_hash = ? AND idempotency_key = ?"
	shipmentsByIDQuery = "SELECT " + shipmentColumns + " FROM active_shipments WHERE key_hash = ? AND shipment_id = ?"
	endedQuery         = `SELECT sequence FROM processed_events
		WHERE ended_at >= ? AND sequence BETWEEN ? AND ? AND (? OR received_at <= ?)`
)

// RecordsByKey implements [persistence.Ledger].
func (l *Ledger) RecordsByKey(ctx context.Context, key string) ([]event.Record, error) {
	found, err := selectRows(ctx, l.db, "records_by_key", recordsByKeyQuery, func(b *binder) { bindKey(b.stmt, key) }, readRecord)
	persistence.ByCourier(found, func(r *event.Record) string { return r.Courier })
	return found, err
}

// ShipmentsByID implements [persistence.Ledger].
func (l *Ledger) ShipmentsByID(ctx context.Context, id string) ([]shipment.Shipment, error) {
	found, err := selectRows(ctx, l.db, "shipments_by_id", shipmentsByIDQuery, func(b *binder) { bindKey(b.stmt, id) }, readShipment)
	persistence.ByCourier(found, func(s *shipment.Shipment) string { return s.Courier })
	return found, err
}

// EndedSequences implements [persistence.Ledger] by the index over the end of rows: none over
// their sequences is worth its writes, as it is needed after damage only.
func (l *Ledger) EndedSequences(ctx context.Context, m loss.Missing) (ended []uint64, err error) {
	err = l.db.read(ctx, "ended_sequences", func(conn *sqlite.Conn) error {
		stmt, err := conn.Prepare(endedQuery)
		if err != nil {
			return err
		}
		b := binder{stmt: stmt}
		b.key(persistence.TimeKey(m.EndedAfter))
		b.int(int64(m.Sequence.First))
		b.int(int64(m.Sequence.Last))
		b.flag(m.ReceivedBefore.IsZero())
		b.key(persistence.TimeKey(m.ReceivedBefore))
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

// readRecord reads the recordColumns.
func readRecord(c *columns) event.Record {
	r := event.Record{
		Identity: event.Identity{Courier: c.text(), Key: c.text()}, Version: c.int(), Status: event.Status(c.text()),
		EventID: c.text(), EventType: c.text(), OccurredAt: c.time(), ShipmentID: c.text(),
		TraceID: c.text(), ReceivedAt: c.time(), Sequence: uint64(c.int()), BodyHash: c.text(),
		Attempts: list(c, decodeAttempts),
	}
	r.Conflicts = int(c.int())
	r.Replay, r.Code, r.Message = c.text(), event.Code(c.text()), c.text()
	r.UpdatedAt, r.EndedAt = c.time(), c.time()
	return r
}

// readShipment reads the shipmentColumns.
func readShipment(c *columns) shipment.Shipment {
	s := shipment.Shipment{
		Ref: shipment.Ref{Courier: c.text(), ID: c.text()}, Version: c.int(), OrderID: c.text(),
		State: shipment.State(c.text()), RawStatus: c.text(), EventTime: c.time(), LastEvent: c.text(), Leg: int(c.int()),
		History: list(c, decodeHistory),
	}
	s.Dropped = int(c.int())
	s.CreatedAt, s.UpdatedAt = c.time(), c.time()
	return s
}

// Statuses keeps what couriers say that no mapping knows.
type Statuses struct{ db *database }

// Unmapped implements [persistence.Statuses].
func (s *Statuses) Unmapped(ctx context.Context) ([]shipment.Unmapped, error) {
	return selectRows(ctx, s.db, "unmapped", "SELECT courier, statuses FROM unmapped_statuses WHERE statuses <> '[]' ORDER BY courier",
		func(*binder) {}, readUnmapped)
}

// ChangeUnmapped implements [persistence.Statuses].
func (s *Statuses) ChangeUnmapped(ctx context.Context, courier string, change func(*shipment.Unmapped)) error {
	return s.db.write(ctx, "change_unmapped", func(conn *sqlite.Conn) error {
		list, exists, err := findByID(conn, "SELECT courier, statuses FROM unmapped_statuses WHERE courier = ?", courier, readUnmapped)
		if err != nil {
			return err
		}
		if !exists {
			list.Courier = courier
		}
		change(&list)
		text, err := json.Marshal(append([]shipment.UnmappedStatus{}, list.Statuses...))
		if err != nil {
			return err
		}
		return execute(conn, "INSERT INTO unmapped_statuses (courier, statuses) VALUES (?, ?) ON CONFLICT DO UPDATE SET statuses = excluded.statuses",
			func(b *binder) {
				b.key(courier)
				b.key(string(text))
			})
	})
}

func readUnmapped(c *columns) (u shipment.Unmapped) {
	u.Courier = c.text()
	c.json(&u.Statuses)
	return u
}
