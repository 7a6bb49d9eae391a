CREATE TABLE unmapped_statuses (
	courier  TEXT PRIMARY KEY,
	statuses TEXT NOT NULL -- JSON
) STRICT, WITHOUT ROWID;
