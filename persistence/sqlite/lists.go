package sqlite

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/ingest/jsontext"
	"github.com/fincart/courier-gateway/persistence"
)

// The lists within a row are JSON with the names that the operators' API uses.
// They are encoded by hand: a time always has a form (encoding/json fails for a
// year past 9999), text stays as people can read it, and it is fast, which
// matters for attempts and histories.

// encodeAttempts returns "" for none.
func encodeAttempts(attempts []event.Attempt) string {
	if len(attempts) == 0 {
		return ""
	}
	o := object{b: make([]byte, 0, 160*len(attempts))}
	for i := range attempts {
		a := &attempts[i]
		o.begin(i, `[{"number":`)
		o.b = strconv.AppendInt(o.b, int64(a.Number), 10)
		o.time(`,"startedAt":"`, a.StartedAt)
		o.time(`,"endedAt":"`, a.EndedAt)
		o.text(`,"outcome":`, string(a.Outcome))
		o.text(`,"errorCode":`, string(a.Code))
		o.text(`,"message":`, a.Message)
	}
	return o.end()
}

// encodeHistory returns "" for none.
func encodeHistory(history []shipment.Checkpoint) string {
	if len(history) == 0 {
		return ""
	}
	o := object{b: make([]byte, 0, 256*len(history))}
	for i := range history {
		c := &history[i]
		o.begin(i, `[{"state":`)
		o.b = appendText(o.b, string(c.State))
		o.time(`,"occurredAt":"`, c.At)
		o.text(`,"rawStatus":`, c.Status)
		o.text(`,"idempotencyKey":`, c.Key)
		o.text(`,"eventId":`, c.EventID)
		o.text(`,"eventType":`, c.Type)
	}
	return o.end()
}

// object writes a list of JSON objects.
type object struct{ b []byte }

// begin starts object i; opening is what the list and its first object start with.
func (o *object) begin(i int, opening string) {
	if i > 0 {
		o.b = append(o.b, '}', ',')
		opening = opening[1:]
	}
	o.b = append(o.b, opening...)
}

// text writes a member unless it is empty; name comes with its comma, quotes and
// colon.
func (o *object) text(name, value string) {
	if value != "" {
		o.b = appendText(append(o.b, name...), value)
	}
}

// time writes a member unless it is zero; name comes with the opening quote of
// the value besides.
func (o *object) time(name string, t time.Time) {
	if !t.IsZero() {
		o.b = append(persistence.AppendTime(append(o.b, name...), t), '"')
	}
}

func (o *object) end() string { return string(append(o.b, '}', ']')) }

// appendText appends s, cleaned, as a JSON string.
func appendText(b []byte, s string) []byte { return jsontext.AppendString(b, persistence.CleanText(s)) }

// encodeHeaders returns "" for none.
func encodeHeaders(headers map[string]string) string {
	if len(headers) == 0 {
		return ""
	}
	o := object{}
	o.b = append(o.b, '{')
	for i, name := range slices.Sorted(maps.Keys(headers)) {
		if i > 0 {
			o.b = append(o.b, ',')
		}
		o.b = append(appendText(o.b, name), ':')
		o.b = appendText(o.b, headers[name])
	}
	return string(append(o.b, '}'))
}

// encodeCaptured returns "" for none.
func encodeCaptured(headers []ingestion.Header) string {
	if len(headers) == 0 {
		return ""
	}
	o := object{b: make([]byte, 0, 64*len(headers))}
	for i := range headers {
		o.begin(i, `[{"name":`)
		o.b = appendText(o.b, headers[i].Name)
		o.b = appendText(append(o.b, `,"value":`...), headers[i].Value)
	}
	return o.end()
}

// encodeReplays returns "" for none.
func encodeReplays(replays []event.ReplayLink) string {
	if len(replays) == 0 {
		return ""
	}
	o := object{}
	for i := range replays {
		o.begin(i, `[{"sequence":`)
		o.b = strconv.AppendUint(o.b, replays[i].Sequence, 10)
		o.b = appendText(append(o.b, `,"nonce":`...), replays[i].Nonce)
		o.time(`,"at":"`, replays[i].At)
	}
	return o.end()
}
