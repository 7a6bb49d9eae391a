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
