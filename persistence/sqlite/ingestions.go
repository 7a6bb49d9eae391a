package sqlite

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/persistence"
)

const ingestionColumns = `id, courier, single, outcome, count, bytes, at, until, error_code, reason, detail, status,
	address, trace_id, accepted_at, accepted_key, accepted_by, method, path, query, headers, body_bytes, redacted, body`

// Ingestions keeps what the intake records of requests.
type Ingestions struct {
	db    *database
	limit *persistence.IngestionLimit
}

// PutIngestions implements [persistence.Ingestions]. The records are one transaction,
// one flush.
func (s *Ingestions) PutIngestions(ctx context.Context, records []ingestion.Record) error {
	return s.limit.Apply(records, func() error {
		return s.db.write(ctx, "put_ingestions", func(conn *sqlite.Conn) error {
			change := counts{}
			for i := range records {
				if err := putIngestion(conn, &records[i], change); err != nil {
					return err
				}
			}
			return change.store(conn)
		})
	}, func(kind persistence.IngestionKind) error { return s.trim(ctx, kind) })
}

// putIngestion inserts a record, and counts it, unless it is there already.
func putIngestion(conn *sqlite.Conn, r *ingestion.Record, change counts) error {
	stmt, err := conn.Prepare("INSERT INTO ingestion_records (" + ingestionColumns + `)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`)
	if err != nil {
		return err
	}
	b := binder{stmt: stmt}
	b.key(r.ID)
	b.key(r.Courier)
	b.flag(r.Request != nil)
	b.key(string(r.Outcome))
	b.int(r.Count)
	b.int(r.Bytes)
	b.key(persistence.TimeKey(r.At))
	b.time(r.Until)
	b.text(string(r.Code))
	b.text(r.Reason)
	b.text(r.Detail)
	b.int(int64(r.Status))
	b.text(r.Address)
	b.text(r.TraceID)
	b.time(r.AcceptedAt)
	b.text(r.AcceptedKey)
	b.text(r.AcceptedBy)
	if n := bindRequest(&b, r.Request) + len(r.Detail); n > persistence.MaxRowBytes {
		return persistence.TooLarge("sqlite put_ingestions", "ingestion record", r.ID, n)
	}
	if _, err = stmt.Step(); err == nil && conn.Changes() > 0 {
		change.add("ingestion_records", persistence.CleanText(string(r.Outcome)), 1)
	}
	return err
}

// bindRequest binds the columns of a request, NULL for none, and returns how many
// bytes it takes.
func bindRequest(b *binder, r *ingestion.Request) int {
	if r == nil {
		b.null(7)
		return 0
	}
	headers := encodeCaptured(r.Headers)
	b.text(r.Method)
	b.text(r.Path)
	b.text(r.Query)
	b.text(headers)
	b.int(int64(r.BodyBytes))
	b.flag(r.Redacted)
	b.bytes(r.Body)
	return len(r.Path) + len(r.Query) + len(headers) + len(r.Body)
}

const (
	// olderQuery deletes the oldest records of a kind as long as there are more than
	// a number. The courier's entries in the index show which those are.
	olderQuery = `DELETE FROM ingestion_records WHERE id IN (
		SELECT id FROM ingestion_records WHERE courier = ?1 AND single = ?2 AND id <= (
			SELECT id FROM ingestion_records WHERE courier = ?1 AND single = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3)
		ORDER BY id LIMIT ?4) RETURNING outcome`
	originsQuery = `SELECT id, address, coalesce(error_code, '') || ' ' || coalesce(reason, '') FROM ingestion_records WHERE courier = ? AND single = ? ORDER BY id DESC LIMIT ?`
	dropQuery    = `DELETE FROM ingestion_records WHERE id IN (SELECT value FROM json_each(?)) RETURNING outcome`
)

// trim deletes the surplus of a kind, see [persistence.IngestionLimit.Surplus], in chunks
// as a sweep does: waiting commits run between them.
func (s *Ingestions) trim(ctx context.Context, kind persistence.IngestionKind) error {
	choice := s.limit.Candidates()
	records, err := s.origins(ctx, kind, choice+1)
	if err == nil && len(records) > choice {
		records = records[:choice]
		err = s.deleteOlder(ctx, kind, choice)
	}
	if err != nil {
		return err
	}
	for ids := range slices.Chunk(s.limit.Surplus(records), sweepChunk) {
		list, err := json.Marshal(ids)
		if err != nil {
			return err
		}
		if _, err := s.db.deleteCounted(ctx, "ingestion_records", dropQuery, func(b *binder) { b.text(string(list)) }); err != nil {
			return err
		}
	}
	return nil
}

// deleteOlder deletes all but the newest records of a kind.
func (s *Ingestions) deleteOlder(ctx context.Context, kind persistence.IngestionKind, newest int) error {
	for {
		n, err := s.db.deleteCounted(ctx, "ingestion_records", olderQuery, func(b *binder) {
			b.key(kind.Courier)
			b.flag(kind.Single)
			b.int(int64(newest))
			b.int(sweepChunk)
		})
		if err != nil || n < sweepChunk {
			return err
		}
	}
}

// origins returns the newest records of a kind, the newest first.
func (s *Ingestions) origins(ctx context.Context, kind persistence.IngestionKind, most int) ([]persistence.IngestionOrigin, error) {
	return selectRows(ctx, s.db, "origins", originsQuery, func(b *binder) {
		b.key(kind.Courier)
		b.flag(kind.Single)
		b.int(int64(most))
	}, func(c *columns) persistence.IngestionOrigin {
		return persistence.IngestionOrigin{ID: c.text(), Address: c.text(), Refusal: c.text()}
	})
}

// Ingestions implements [persistence.Ingestions].
func (s *Ingestions) Ingestions(ctx context.Context, f ingestion.Filter) ([]ingestion.Record, error) {
	query, values := ingestionQuery(f)
	return selectRows(ctx, s.db, "ingestions", query, func(b *binder) {
		for _, v := range values {
			b.key(v)
		}
		b.int(int64(persistence.PageSize(f.Limit)))
	}, readIngestion)
}

// ingestionQuery returns the statement for a filter, and the values of its
// conditions.
func ingestionQuery(f ingestion.Filter) (query string, values []string) {
	var where []string
	condition := func(set bool, sql string, of ...string) {
		if set {
			where, values = append(where, sql), append(values, of...)
		}
	}
	condition(f.Courier != "", "courier = ?", f.Courier)
	condition(f.Code != "", "error_code = ?", string(f.Code))
	outcomes := make([]string, len(f.Outcomes))
	for i, o := range f.Outcomes {
		outcomes[i] = string(o)
	}
	switch n := len(outcomes); n {
	case 0:
	case 1:
		condition(true, "outcome = ?", outcomes...)
	default: // the + keeps it from an index that would not have the records in order
		condition(true, "+outcome IN (?"+strings.Repeat(", ?", n-1)+")", outcomes...)
	}
	condition(f.Open, "single = 1 AND accepted_at IS NULL")
	condition(f.After != "", "id < ?", f.After)
	query = "SELECT " + ingestionColumns + " FROM ingestion_records"
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	return query + " ORDER BY id DESC LIMIT ?", values
}

// Ingestion implements [persistence.Ingestions].
func (s *Ingestions) Ingestion(ctx context.Context, id string) (r ingestion.Record, err error) {
	err = s.db.read(ctx, "ingestion", func(conn *sqlite.Conn) error {
		r, err = findIngestion(conn, "sqlite ingestion", id)
		return err
	})
	return r, err
}

func findIngestion(conn *sqlite.Conn, op, id string) (ingestion.Record, error) {
	r, exists, err := findByID(conn, "SELECT "+ingestionColumns+" FROM ingestion_records WHERE id = ?", id, readIngestion)
	if err == nil && !exists {
		return r, persistence.NoIngestion(op, id)
	}
	return r, err
}

// AcceptIngestion implements [persistence.Ingestions].
func (s *Ingestions) AcceptIngestion(ctx context.Context, id, key, keyID string, at time.Time) (r ingestion.Record, err error) {
	const op = "sqlite accept_ingestion"
	if err := persistence.CheckAccepted(op, at); err != nil {
		return r, err
	}
	err = s.db.write(ctx, "accept_ingestion", func(conn *sqlite.Conn) error {
		if err := setAccepted(conn, id, key, keyID, at); err != nil {
			return err
		}
		r, err = findIngestion(conn, op, id)
		return err
	})
	return r, err
}

func setAccepted(conn *sqlite.Conn, id, key, keyID string, at time.Time) error {
	return execute(conn, "UPDATE ingestion_records SET (accepted_at, accepted_key, accepted_by) = (?, ?, ?) WHERE id = ? AND accepted_at IS NULL", func(b *binder) {
		b.time(at)
		b.text(key)
		b.text(keyID)
		b.key(id)
	})
}

// readIngestion reads the ingestionColumns.
func readIngestion(c *columns) ingestion.Record {
	r := ingestion.Record{ID: c.text(), Courier: c.text()}
	single := c.flag()
	r.Outcome, r.Count, r.Bytes = ingestion.Outcome(c.text()), c.int(), c.int()
	r.At, r.Until = c.time(), c.time()
	r.Code, r.Reason, r.Detail = event.Code(c.text()), c.text(), c.text()
	r.Status, r.Address, r.TraceID = int(c.int()), c.text(), c.text()
	r.AcceptedAt, r.AcceptedKey, r.AcceptedBy = c.time(), c.text(), c.text()
	if !single {
		return r
	}
	r.Request = &ingestion.Request{
		Method: c.text(), Path: c.text(), Query: c.text(), Headers: list(c, decodeCaptured),
		BodyBytes: int(c.int()), Redacted: c.flag(), Body: c.bytes(),
	}
	return r
}
