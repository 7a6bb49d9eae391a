package process

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"strconv"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// newDeadLetter describes a delivery that will not be tried again.
func newDeadLetter(d *event.Delivery, code event.Code, message string, now time.Time) event.DeadLetter {
	headers := map[string]string{}
	for name, value := range d.Headers {
		headers[name] = value
	}
	return event.DeadLetter{
		ID: deadLetterID(d.Sequence, &d.Envelope), Identity: d.Identity(), Sequence: d.Sequence,
		EventID: d.EventID, TraceID: d.TraceID, ReceivedAt: d.ReceivedAt, DeadAt: now,
		Code: code, Message: message, Headers: headers, Body: d.Body,
		ReviewStatus: event.ReviewPending, ReplayOf: d.Replay,
	}
}

// deadLetterID derives the id of the dead letter for the message at seq. The
// same message always has the same id, so that storing it twice is harmless; the
// hash distinguishes messages of a stream that was recreated and counts from 1.
func deadLetterID(seq uint64, e *event.Envelope) string {
	h := sha256.New()
	h.Write([]byte(e.Courier + ":" + e.Key + "\n" + e.ReceivedAt.UTC().Format(time.RFC3339Nano) + "\n"))
	h.Write(e.Body)
	return strconv.FormatUint(seq, 10) + "-" + hex.EncodeToString(h.Sum(nil)[:4])
}

// countDeadLetter counts and logs an event whose dead letter is stored.
func countDeadLetter(m *Metrics, log *slog.Logger, d *event.Delivery, code event.Code, message string) {
	m.dead.WithLabelValues(string(code)).Inc()
	log.Warn("event dead-lettered", append(attrs(d), "code", string(code), "reason", message)...)
}

// exhaustedReason words the reason of a dead letter whose deliveries ran out.
func exhaustedReason(deliveries int, attempts []event.Attempt) string {
	message := strconv.Itoa(deliveries) + " deliveries, none succeeded"
	if len(attempts) == 0 {
		return message
	}
	last := attempts[len(attempts)-1]
	if last.Message == "" {
		return message + "; the last one ended as " + string(last.Outcome)
	}
	return message + "; the last one: " + string(last.Code) + ": " + last.Message
}
