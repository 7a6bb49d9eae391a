package sqlite

import (
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// applicationID marks a file as one of ours ("CGW1"), for file(1) and against
// opening another program's database.
const applicationID = 0x43475731

// migrations take a file from one schema version to the next; the version is how
// many of them a file has been through. A migration that was released is never
// changed, a new one is added behind it.
//
// The tables are for people too: text is text, times are RFC 3339, lists are
// JSON, and absent values are NULL. Rows of the two large tables are appended,
// and found by key_hash (see [keyHash]), which only the code keeps free of
// duplicates: one connection writes, and it looks before it inserts. row_counts
// is kept up to date by the same transactions that write the rows, because
// counting millions of them would take seconds and triggers would halve the
// speed of writing.
var migrations = []string{`
CREATE TABLE processed_events (
	row_id          INTEGER PRIMARY KEY,
	key_hash        INTEGER NOT NULL,
	courier         TEXT NOT NULL,
	idempotency_key TEXT NOT NULL,
	version         INTEGER NOT NULL,
	status          TEXT NOT NULL,
	event_id        TEXT,
	event_type      TEXT,
	occurred_at     TEXT,
	shipment_id     TEXT,
	trace_id        TEXT,
	received_at     TEXT,
	sequence        INTEGER NOT NULL,
	body_hash       TEXT,
	attempts        TEXT, -- JSON
	conflicts       INTEGER NOT NULL,
	replay          TEXT,
	error_code      TEXT,
	message         TEXT,
	updated_at      TEXT,
	ended_at        TEXT
) STRICT;
CREATE INDEX processed_events_by_key ON processed_events (key_hash);
CREATE INDEX processed_events_by_end ON processed_events (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE active_shipments (
	row_id          INTEGER PRIMARY KEY,
	key_hash        INTEGER NOT NULL,
	courier         TEXT NOT NULL,
	shipment_id     TEXT NOT NULL,
	version         INTEGER NOT NULL,
	order_id        TEXT,
	state           TEXT NOT NULL,
	raw_status      TEXT,
	event_time      TEXT,
	last_event      TEXT,
	leg             INTEGER NOT NULL,
	history         TEXT, -- JSON
	history_dropped INTEGER NOT NULL,
	created_at      TEXT,
	updated_at      TEXT
) STRICT;
CREATE INDEX active_shipments_by_id ON active_shipments (key_hash);

CREATE TABLE dead_letter_events (
	id              TEXT PRIMARY KEY,
	courier         TEXT,
	idempotency_key TEXT,
	sequence        INTEGER NOT NULL,
	event_id        TEXT,
	shipment_id     TEXT,
	trace_id        TEXT,
	received_at     TEXT,
	dead_at         TEXT NOT NULL,
	error_code      TEXT,
	message         TEXT,
	attempts        TEXT, -- JSON
	headers         TEXT, -- JSON
	body            BLOB,
	review_status   TEXT NOT NULL,
	reviewed_at     TEXT,
	note            TEXT,
	replays         TEXT, -- JSON
	replay_of       TEXT
) STRICT;
CREATE INDEX dead_letter_events_by_time ON dead_letter_events (dead_at, id);
CREATE INDEX dead_letter_events_by_review ON dead_letter_events (review_status, dead_at, id);
CREATE INDEX dead_letter_events_by_courier ON dead_letter_events (courier, dead_at, id);
CREATE INDEX dead_letter_events_by_key ON dead_letter_events (idempotency_key);
CREATE INDEX dead_letter_events_by_sequence ON dead_letter_events (sequence);

CREATE TABLE row_counts (
	table_name TEXT NOT NULL,
	status     TEXT NOT NULL,
	n          INTEGER NOT NULL,
	PRIMARY KEY (table_name, status)
) STRICT, WITHOUT ROWID;
`, `
CREATE TABLE ingestion_records (
	id         TEXT PRIMARY KEY, -- later records have greater ones
	courier    TEXT NOT NULL,    -- '' when the request named none
	single     INTEGER NOT NULL, -- 1 for one request, 0 for a sum of several
	outcome    TEXT NOT NULL,
	count      INTEGER NOT NULL,
	bytes      INTEGER NOT NULL,
	at         TEXT NOT NULL,
	until      TEXT,
	error_code TEXT,
	reason     TEXT,
	detail     TEXT,
	status     INTEGER NOT NULL, -- 0 for none
	address    TEXT,
	trace_id   TEXT,
	taken_at   TEXT,
	taken_key  TEXT,
	taken_by   TEXT,
	-- the request, NULL for a sum
	method     TEXT,
	path       TEXT,
	query      TEXT,
	headers    TEXT, -- JSON
	body_bytes INTEGER,
	redacted   INTEGER,
	body       BLOB
) STRICT;
CREATE INDEX ingestion_records_by_courier ON ingestion_records (courier, id, single);
CREATE INDEX ingestion_records_by_outcome ON ingestion_records (outcome, id);
CREATE INDEX ingestion_records_by_code ON ingestion_records (error_code, id);
CREATE INDEX ingestion_records_by_time ON ingestion_records (at);
`, `
-- How far the events of a queue are known to have their outcome in this file.
CREATE TABLE queue_marks (
	queue    TEXT PRIMARY KEY,
	verified INTEGER NOT NULL, -- sequence in the queue
	-- The queue had verified these, and the file did not know: it is older. NULL for none.
	missing_from INTEGER,
	missing_to   INTEGER
) STRICT, WITHOUT ROWID;

-- Written to see whether the file can be written.
CREATE TABLE store_probe (id INTEGER PRIMARY KEY, bytes BLOB) STRICT;
`}

// migrate brings the file behind conn to the newest schema. It refuses a file of
// another program and one that a newer version has written.
func migrate(conn *sqlite.Conn) error {
	return transact(conn, "BEGIN IMMEDIATE", func() error {
		version, err := number(conn, "PRAGMA user_version")
		if err != nil {
			return err
		}
		if err := recognise(conn, version); err != nil {
			return err
		}
		for _, script := range migrations[version:] {
			if err := sqlitex.ExecuteScript(conn, script, nil); err != nil {
				return err
			}
		}
		return sqlitex.ExecuteScript(conn, fmt.Sprintf(
			"PRAGMA application_id = %d; PRAGMA user_version = %d;", applicationID, len(migrations)), nil)
	})
}

// foreignFileError is the error of a file that only another program can use.
type foreignFileError struct{ message string }

func (e *foreignFileError) Error() string { return e.message }

// recognise tells whether the file behind conn can be used at all.
func recognise(conn *sqlite.Conn, version int) error {
	owner, err := number(conn, "PRAGMA application_id")
	if err != nil {
		return err
	}
	tables, err := number(conn, "SELECT count(*) FROM sqlite_schema")
	if err != nil {
		return err
	}
	if owner != applicationID && (tables > 0 || version != 0) {
		return &foreignFileError{"the file is another program's database: name a file of the appliance's own, or one that does not exist yet"}
	}
	if version > len(migrations) {
		return &foreignFileError{fmt.Sprintf("the file has schema version %d, this program knows versions up to %d: start the newer program that wrote it, or restore a copy from before", version, len(migrations))}
	}
	return nil
}

// number returns the number that a query answers.
func number(conn *sqlite.Conn, query string) (int, error) {
	stmt, _, err := conn.PrepareTransient(query)
	if err != nil {
		return 0, err
	}
	n, err := sqlitex.ResultInt(stmt)
	return n, errors.Join(err, stmt.Finalize())
}
