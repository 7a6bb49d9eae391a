package sqlite

import (
	"context"
	"slices"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/persistence"
)

const letterColumns = `id, courier, idempotency_key, sequence, event_id, shipment_id, trace_id, received_at, dead_at,
	error_code, message, attempts, headers, body, review_status, reviewed_at, note, replays, replay_of`

// DeadLetters keeps the dead letters.
type DeadLetters struct{ db *database }

// DeadLetters implements [persistence.DeadLetters].
func (s *DeadLetters) DeadLetters(ctx context.Context, f event.DeadLetterFilter) (found []event.DeadLetter, err error) {
	err = s.db.read(ctx, "dead_letters", func(conn *sqlite.Conn) error {
		after := ""
		if f.After != "" {
			if after, err = deadAt(conn, f.After); err != nil {
				return err
			}
		}
		stmt, err := conn.Prepare(letterQuery(f))
		if err != nil {
			return err
		}
		b := binder{stmt: stmt}
		for _, v := range []string{f.Courier, string(f.Code), string(f.Status), f.Key, after, f.After} {
			if v != "" {
				b.text(v)
			}
		}
		b.int(int64(persistence.PageSize(f.Limit)))
		found, err = collect(found, stmt, readLetter)
		return err
	})
	return found, err
}

// letterQuery returns the statement for a filter: a condition for each member
// that is set, in the order in which DeadLetters binds them.
func letterQuery(f event.DeadLetterFilter) string {
	var where []string
	condition := func(set bool, sql string) {
		if set {
			where = append(where, sql)
		}
	}
	condition(f.Courier != "", "courier = ?")
	condition(f.Code != "", "error_code = ?")
	condition(f.Status != "", "review_status = ?")
	condition(f.Key != "", "idempotency_key = ?")
	condition(f.After != "", "(dead_at, id) < (?, ?)")
	query := "SELECT " + letterColumns + " FROM dead_letter_events"
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	return query + " ORDER BY dead_at DESC, id DESC LIMIT ?"
}

// deadAt returns when a letter was made, as it is stored.
func deadAt(conn *sqlite.Conn, id string) (string, error) {
	at, exists, err := findByID(conn, "SELECT dead_at FROM dead_letter_events WHERE id = ?", id, (*columns).text)
	if err == nil && !exists {
		return "", persistence.NoDeadLetter("sqlite dead_letters", id)
	}
	return at, err
}

// DeadLetter implements [persistence.DeadLetters].
func (s *DeadLetters) DeadLetter(ctx context.Context, id string) (d event.DeadLetter, err error) {
	err = s.db.read(ctx, "dead_letter", func(conn *sqlite.Conn) error {
		d, err = findLetter(conn, id)
		return err
	})
	return d, err
}

func findLetter(conn *sqlite.Conn, id string) (event.DeadLetter, error) {
	d, exists, err := findByID(conn, "SELECT "+letterColumns+" FROM dead_letter_events WHERE id = ?", id, readLetter)
	if err == nil && !exists {
		return d, persistence.NoDeadLetter("sqlite dead_letter", id)
	}
	return d, err
}

// Review implements [persistence.DeadLetters].
func (s *DeadLetters) Review(ctx context.Context, id string, status event.ReviewStatus, note string, link *event.ReplayLink) (d event.DeadLetter, err error) {
	if err := persistence.CheckReview("sqlite review", status); err != nil {
		return d, err
	}
	err = s.db.write(ctx, "review", func(conn *sqlite.Conn) error {
		if d, err = findLetter(conn, id); err != nil {
			return err
		}
		change := counts{}
		change.add("dead_letter_events", string(d.ReviewStatus), -1)
		change.add("dead_letter_events", string(status), 1)
		review(&d, status, note, link)
		if err := storeReview(conn, &d); err != nil {
			return err
		}
		return change.store(conn)
	})
	return d, err
}

// review changes a letter as [persistence.DeadLetters] has it.
func review(d *event.DeadLetter, status event.ReviewStatus, note string, link *event.ReplayLink) {
	d.ReviewStatus, d.ReviewedAt = status, time.Now().UTC()
	if note != "" {
		d.Note = persistence.CleanText(note)
	}
	if link == nil || slices.ContainsFunc(d.Replays, func(l event.ReplayLink) bool { return l.Nonce == link.Nonce }) {
		return
	}
	d.Replays = append(d.Replays, *link)
}

func storeReview(conn *sqlite.Conn, d *event.DeadLetter) error {
	return execute(conn, `UPDATE dead_letter_events
		SET (review_status, reviewed_at, note, replays) = (?, ?, ?, ?) WHERE id = ?`, func(b *binder) {
		b.key(string(d.ReviewStatus))
		b.time(d.ReviewedAt)
		b.text(d.Note)
		b.text(encodeReplays(d.Replays))
		b.key(d.ID)
	})
}

// DeadSequences implements [persistence.DeadLetters].
func (s *DeadLetters) DeadSequences(ctx context.Context, seqs []uint64) (map[uint64]bool, error) {
	dead := map[uint64]bool{}
	err := s.db.read(ctx, "dead_sequences", func(conn *sqlite.Conn) error {
		stmt, err := conn.Prepare("SELECT 1 FROM dead_letter_events WHERE sequence = ? LIMIT 1")
		if err != nil {
			return err
		}
		for _, seq := range seqs {
			stmt.BindInt64(1, int64(seq))
			found, err := stmt.Step()
			if err != nil {
				return err
			}
			if found {
				dead[seq] = true
			}
			if err := stmt.Reset(); err != nil {
				return err
			}
		}
		return nil
	})
	return dead, err
}

// letterJSON holds the encoded lists of a letter.
type letterJSON struct{ attempts, headers, replays string }

// encodeLetters fills t.letters.
func (t *commit) encodeLetters(letters []event.DeadLetter) *event.Error {
	t.letters = t.letters[:0]
	for i := range letters {
		d := &letters[i]
		j := letterJSON{attempts: encodeAttempts(d.Attempts), headers: encodeHeaders(d.Headers), replays: encodeReplays(d.Replays)}
		if n := len(j.attempts) + len(j.headers) + len(j.replays) + len(d.Body) + len(d.Message); n > persistence.MaxRowBytes {
			return persistence.TooLarge("sqlite commit", "dead letter", d.ID, n)
		}
		t.letters = append(t.letters, j)
	}
	return nil
}

// putLetter inserts a letter unless it is there already, which no other unique index
// than that of its id says.
func (t *commit) putLetter(d *event.DeadLetter, j letterJSON) error {
	stmt, err := t.conn.Prepare("INSERT INTO dead_letter_events (" + letterColumns + `)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`)
	if err != nil {
		return err
	}
	status := persistence.ReviewStatus(d)
	b := binder{stmt: stmt}
	b.key(d.ID)
	b.text(d.Courier)
	b.text(d.Key)
	b.int(int64(d.Sequence))
	b.text(d.EventID)
	b.text(d.ShipmentID)
	b.text(d.TraceID)
	b.time(d.ReceivedAt)
	b.key(persistence.TimeKey(d.DeadAt))
	b.text(string(d.Code))
	b.text(d.Message)
	b.text(j.attempts)
	b.text(j.headers)
	b.bytes(d.Body)
	b.key(string(status))
	b.time(d.ReviewedAt)
	b.text(d.Note)
	b.text(j.replays)
	b.text(d.ReplayOf)
	if _, err = stmt.Step(); err == nil && t.conn.Changes() > 0 {
		t.counts.add("dead_letter_events", string(status), 1)
	}
	return err
}

// readLetter reads the letterColumns.
func readLetter(c *columns) event.DeadLetter {
	d := event.DeadLetter{
		ID: c.text(), Identity: event.Identity{Courier: c.text(), Key: c.text()}, Sequence: uint64(c.int()),
		EventID: c.text(), ShipmentID: c.text(), TraceID: c.text(), ReceivedAt: c.time(), DeadAt: c.time(),
		Code: event.Code(c.text()), Message: c.text(), Attempts: list(c, decodeAttempts), Headers: map[string]string{},
	}
	c.json(&d.Headers)
	d.Body = c.bytes()
	d.ReviewStatus, d.ReviewedAt, d.Note = event.ReviewStatus(c.text()), c.time(), c.text()
	c.json(&d.Replays)
	d.ReplayOf = c.text()
	return d
}
