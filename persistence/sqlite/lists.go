package sqlite

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
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
		o.text(`,"orderId":`, c.OrderID)
		o.time(`,"claimedAt":"`, c.ClaimedAt)
		o.time(`,"scanAt":"`, c.ScanAt)
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

// decodeAttempts is the inverse of encodeAttempts; none are an empty list.
func decodeAttempts(text string) ([]event.Attempt, error) {
	return decodeList(text, func(a *event.Attempt, name, value string) (err error) {
		switch name {
		case "number":
			a.Number, err = strconv.Atoi(value)
		case "startedAt":
			a.StartedAt, err = persistence.ParseTime(value)
		case "endedAt":
			a.EndedAt, err = persistence.ParseTime(value)
		case "outcome":
			a.Outcome = event.Outcome(value)
		case "errorCode":
			a.Code = event.Code(value)
		case "message":
			a.Message = value
		}
		return err
	})
}

// decodeHistory is the inverse of encodeHistory; none are an empty list.
func decodeHistory(text string) ([]shipment.Checkpoint, error) {
	return decodeList(text, func(c *shipment.Checkpoint, name, value string) (err error) {
		switch name {
		case "state":
			c.State = shipment.State(value)
		case "occurredAt":
			c.At, err = persistence.ParseTime(value)
		case "rawStatus":
			c.Status = value
		case "idempotencyKey":
			c.Key = value
		case "eventId":
			c.EventID = value
		case "eventType":
			c.Type = value
		case "orderId":
			c.OrderID = value
		case "claimedAt":
			c.ClaimedAt, err = persistence.ParseTime(value)
		case "scanAt":
			c.ScanAt, err = persistence.ParseTime(value)
		}
		return err
	})
}

// decodeCaptured is the inverse of encodeCaptured; none are an empty list.
func decodeCaptured(text string) ([]ingestion.Header, error) {
	return decodeList(text, func(h *ingestion.Header, name, value string) error {
		switch name {
		case "name":
			h.Name = value
		case "value":
			h.Value = value
		}
		return nil
	})
}

// decodeList decodes a list of JSON objects with text and numbers in them,
// calling set for each member. Strings may share memory with text. It is several
// times as fast as encoding/json, to which it leaves everything that is unlike
// what the encoders here write.
func decodeList[T any](text string, set func(row *T, name, value string) error) ([]T, error) {
	list := make([]T, 0, strings.Count(text, "{"))
	if text == "" {
		return list, nil
	}
	s := jsontext.NewStringScanner(text)
	if s.Peek() != '[' {
		s.Fail("a list")
	}
	for ok := !s.Failed() && s.Enter(']'); ok; ok = s.More(']') {
		list = append(list, *new(T))
		if !decodeRow(&s, &list[len(list)-1], set) {
			s.Fail("a row as it is encoded here")
		}
	}
	if s.End(); !s.Failed() {
		return list, nil
	}
	list = list[:0]
	return list, json.Unmarshal([]byte(text), &list)
}

// decodeRow decodes one object and reports whether it is like those that are
// encoded here.
func decodeRow[T any](s *jsontext.Scanner, row *T, set func(row *T, name, value string) error) bool {
	if s.Peek() != '{' {
		return false
	}
	for ok := s.Enter('}'); ok; ok = s.More('}') {
		name := s.Key()
		var value string
		switch c := s.Peek(); {
		case c == '"':
			value, _ = s.Text()
		case c == '-' || c-'0' <= 9:
			value = string(s.Value())
		default:
			return false
		}
		if s.Failed() || set(row, name, value) != nil {
			return false
		}
	}
	return true
}
