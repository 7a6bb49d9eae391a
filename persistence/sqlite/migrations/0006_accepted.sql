-- One thing has one name: the API says accepted.
ALTER TABLE ingestion_records RENAME COLUMN taken_at TO accepted_at;
ALTER TABLE ingestion_records RENAME COLUMN taken_key TO accepted_key;
ALTER TABLE ingestion_records RENAME COLUMN taken_by TO accepted_by;
