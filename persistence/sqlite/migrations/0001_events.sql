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
