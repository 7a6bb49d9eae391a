package sqlite

import (
	"context"

	"zombiezen.com/go/sqlite"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/persistence"
)

// Commit implements [persistence.Ledger] in one transaction, one flush.
func (l *Ledger) Commit(ctx context.Context, changes []event.Change) ([]error, error) {
	outcomes := make([]error, len(changes))
	err := l.db.write(ctx, "commit", func(conn *sqlite.Conn) error {
		c := commit{conn: conn, counts: counts{}}
		for i := range changes {
			yield()
			refused, err := c.apply(&changes[i])
			if err != nil {
				return err
			}
			if refused != nil {
				outcomes[i] = refused
			}
		}
		return c.counts.store(conn)
	})
	if err != nil {
		return nil, err
	}
	l.db.metrics.Committed(outcomes)
	return outcomes, nil
}

// commit applies changes within a transaction. It checks a change as a whole before it
// writes any of it: refusing it leaves nothing to undo (a savepoint around each would
// cost more than all the look-ups), and the rows' places and old statuses are known for
// writing and counting.
type commit struct {
	conn    *sqlite.Conn
	counts  counts
	records []place // of the change in hand
	letters []letterJSON
}

// place is where a row is, and what its variable part will be.
type place struct {
	row    int64  // 0 for a row that is not stored yet
	status string // as stored
	json   string // attempts or history, to be stored
}

// apply stores c, or refuses it whole.
func (t *commit) apply(c *event.Change) (refused *event.Error, err error) {
	var shipment place
	if c.Shipment != nil {
		if shipment, refused, err = t.findShipment(c.Shipment); refused != nil || err != nil {
			return refused, err
		}
	}
	if refused, err = t.findRecords(c.Records); refused != nil || err != nil {
		return refused, err
	}
	if refused = t.encodeLetters(c.DeadLetters); refused != nil {
		return refused, nil
	}
	return nil, t.put(c, shipment)
}

// put writes what apply has found places for.
func (t *commit) put(c *event.Change, shipment place) error {
	if c.Shipment != nil {
		if err := t.putShipment(c.Shipment, shipment); err != nil {
			return err
		}
	}
	for i := range c.Records {
		if err := t.putRecord(&c.Records[i], t.records[i]); err != nil {
			return err
		}
	}
	for i := range c.DeadLetters {
		if err := t.putLetter(&c.DeadLetters[i], t.letters[i]); err != nil {
			return err
		}
	}
	return nil
}

func (t *commit) findShipment(s *shipment.Shipment) (place, *event.Error, error) {
	p, version, err := t.find(`SELECT row_id, version, NULL FROM active_shipments
		WHERE key_hash = ? AND shipment_id = ? AND courier = ?`, s.ID, s.Courier)
	if err != nil {
		return p, nil, err
	}
	if version != s.Version {
		return p, persistence.Conflict("sqlite commit", "shipment", s.String(), s.Version), nil
	}
	p.json = encodeHistory(s.History)
	if len(p.json) > persistence.MaxRowBytes {
		return p, persistence.TooLarge("sqlite commit", "shipment", s.String(), len(p.json)), nil
	}
	return p, nil, nil
}

// findRecords fills t.records with the places of rows.
func (t *commit) findRecords(rows []event.Record) (*event.Error, error) {
	t.records = t.records[:0]
	for i := range rows {
		r := &rows[i]
		p, version, err := t.find(`SELECT row_id, version, status FROM processed_events
			WHERE key_hash = ? AND idempotency_key = ? AND courier = ?`, r.Key, r.Courier)
		if err != nil {
			return nil, err
		}
		if version != r.Version || named(rows[:i], r.Identity) {
			return persistence.Conflict("sqlite commit", "event", r.String(), r.Version), nil
		}
		p.json = encodeAttempts(r.Attempts)
		if n := len(p.json) + len(r.Message); n > persistence.MaxRowBytes {
			return persistence.TooLarge("sqlite commit", "event", r.String(), n), nil
		}
		t.records = append(t.records, p)
	}
	return nil, nil
}

// named reports whether one of rows has this identity.
func named(rows []event.Record, id event.Identity) bool {
	for i := range rows {
		if rows[i].Identity == id {
			return true
		}
	}
	return false
}

// find looks a row up by its key; version is 0 when there is none.
func (t *commit) find(query, key, courier string) (p place, version int64, err error) {
	stmt, err := t.conn.Prepare(query)
	if err != nil {
		return p, 0, err
	}
	bindKey(stmt, key, courier)
	if found, err := stmt.Step(); err != nil || !found {
		return p, 0, err
	}
	p.row, version, p.status = stmt.ColumnInt64(0), stmt.ColumnInt64(1), stmt.ColumnText(2)
	return p, version, stmt.Reset()
}

func (t *commit) putShipment(s *shipment.Shipment, p place) error {
	if p.row == 0 {
		t.counts.add("active_shipments", "", 1)
	}
	return t.putRow(p.row, `INSERT INTO active_shipments
		(version, order_id, state, raw_status, event_time, last_event, leg, history, history_dropped, created_at,
			updated_at, courier, shipment_id, key_hash)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		`UPDATE active_shipments SET
			(version, order_id, state, raw_status, event_time, last_event, leg, history, history_dropped, created_at,
			updated_at) = (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		WHERE row_id = ?`,
		func(b *binder) {
			b.int(s.Version + 1)
			b.text(s.OrderID)
			b.key(string(s.State))
			b.text(s.RawStatus)
			b.time(s.EventTime)
			b.text(s.LastEvent)
			b.int(int64(s.Leg))
			b.text(p.json)
			b.int(int64(s.Dropped))
			b.time(s.CreatedAt)
			b.time(s.UpdatedAt)
		}, s.Courier, s.ID)
}

func (t *commit) putRecord(r *event.Record, p place) error {
	if p.row != 0 {
		t.counts.add("processed_events", p.status, -1)
	}
	t.counts.add("processed_events", string(r.Status), 1)
	return t.putRow(p.row, `INSERT INTO processed_events
		(version, status, event_id, event_type, occurred_at, shipment_id, trace_id, received_at, sequence, body_hash,
			attempts, conflicts, replay, error_code, message, updated_at, ended_at, courier,
			idempotency_key, key_hash)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		`UPDATE processed_events SET
			(version, status, event_id, event_type, occurred_at, shipment_id, trace_id, received_at, sequence, body_hash,
			attempts, conflicts, replay, error_code, message, updated_at, ended_at)
			= (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		WHERE row_id = ?`,
		func(b *binder) {
			b.int(r.Version + 1)
			b.key(string(r.Status))
			b.text(r.EventID)
			b.text(r.EventType)
			b.time(r.OccurredAt)
			b.text(r.ShipmentID)
			b.text(r.TraceID)
			b.time(r.ReceivedAt)
			b.int(int64(r.Sequence))
			b.text(r.BodyHash)
			b.text(p.json)
			b.int(int64(r.Conflicts))
			b.text(r.Replay)
			b.text(string(r.Code))
			b.text(r.Message)
			b.time(r.UpdatedAt)
			b.time(r.EndedAt)
		}, r.Courier, r.Key)
}

// putRow inserts a row, or updates the one at row: fields binds the values that
// both statements begin with.
func (t *commit) putRow(row int64, insert, update string, fields func(*binder), courier, key string) error {
	query := insert
	if row != 0 {
		query = update
	}
	stmt, err := t.conn.Prepare(query)
	if err != nil {
		return err
	}
	b := binder{stmt: stmt}
	fields(&b)
	if row != 0 {
		b.int(row)
	} else {
		key = persistence.CleanText(key)
		b.key(courier)
		b.key(key)
		b.int(keyHash(key))
	}
	_, err = stmt.Step()
	return err
}

// counts gathers what a transaction changes in row_counts.
type counts map[[2]string]int64

func (c counts) add(table, status string, n int64) { c[[2]string{table, status}] += n }

func (c counts) store(conn *sqlite.Conn) error {
	stmt, err := conn.Prepare(`INSERT INTO row_counts (table_name, status, n) VALUES (?, ?, ?)
		ON CONFLICT DO UPDATE SET n = n + excluded.n`)
	if err != nil {
		return err
	}
	for key, n := range c {
		stmt.BindText(1, key[0])
		stmt.BindText(2, key[1])
		stmt.BindInt64(3, n)
		if _, err := stmt.Step(); err != nil {
			return err
		}
		if err := stmt.Reset(); err != nil {
			return err
		}
	}
	return nil
}
