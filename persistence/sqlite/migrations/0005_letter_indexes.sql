-- One index for each set of conditions that a listing of dead letters may have, so that a
-- page of it costs the scan of a page.
CREATE INDEX dead_letter_events_by_code ON dead_letter_events (error_code, dead_at, id);
CREATE INDEX dead_letter_events_by_courier_code ON dead_letter_events (courier, error_code, dead_at, id);
CREATE INDEX dead_letter_events_by_courier_review ON dead_letter_events (courier, review_status, dead_at, id);
CREATE INDEX dead_letter_events_by_code_review ON dead_letter_events (error_code, review_status, dead_at, id);
CREATE INDEX dead_letter_events_by_courier_code_review ON dead_letter_events (courier, error_code, review_status, dead_at, id);
DROP INDEX dead_letter_events_by_key;
CREATE INDEX dead_letter_events_by_key ON dead_letter_events (idempotency_key, dead_at, id);
