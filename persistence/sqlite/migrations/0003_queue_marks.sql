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
