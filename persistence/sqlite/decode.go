package sqlite

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/ingest/jsontext"
	"github.com/fincart/courier-gateway/persistence"
)

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
			value = s.Text()
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
