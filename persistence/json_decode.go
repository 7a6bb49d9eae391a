package persistence

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/fincart/courier-gateway/ingest/event"
)

// decodeAttempts is the inverse of encodeAttempts; none are an empty list.
func decodeAttempts(text string) ([]event.Attempt, error) {
	return decodeList(text, func(a *event.Attempt, name, value string) (err error) {
		switch name {
		case "number":
			a.Number, err = strconv.Atoi(value)
		case "startedAt":
			a.StartedAt, err = parseTime(value)
		case "endedAt":
			a.EndedAt, err = parseTime(value)
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
func decodeHistory(text string) ([]event.Checkpoint, error) {
	return decodeList(text, func(c *event.Checkpoint, name, value string) (err error) {
		switch name {
		case "state":
			c.State = event.State(value)
		case "occurredAt":
			c.At, err = parseTime(value)
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
func decodeCaptured(text string) ([]event.CapturedHeader, error) {
	return decodeList(text, func(h *event.CapturedHeader, name, value string) error {
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
	s, ok := scanner{rest: text}, true
	for token := "["; ok && s.next(token); token = "," {
		list = append(list, *new(T))
		row := &list[len(list)-1]
		ok = s.object(func(name, value string) bool { return set(row, name, value) == nil })
	}
	if ok && s.rest == "]" {
		return list, nil
	}
	list = list[:0]
	return list, json.Unmarshal([]byte(text), &list)
}

// scanner takes JSON apart from its beginning. Its methods report whether what
// they look for came next.
type scanner struct{ rest string }

// next takes a token.
func (s *scanner) next(token string) (ok bool) {
	s.rest, ok = strings.CutPrefix(s.rest, token)
	return ok
}

// object takes an object of at least one member and hands each to yield, which
// reports whether it can use it.
func (s *scanner) object(yield func(name, value string) bool) bool {
	for token := "{"; s.next(token); token = "," {
		name, ok := s.text()
		if !ok || !s.next(":") {
			return false
		}
		value, ok := s.value()
		if !ok || !yield(name, value) {
			return false
		}
	}
	return s.next("}")
}

// value takes a string or a whole number.
func (s *scanner) value() (string, bool) {
	if strings.HasPrefix(s.rest, `"`) {
		return s.text()
	}
	end := strings.IndexAny(s.rest, ",}")
	if end < 1 {
		return "", false
	}
	digits := s.rest[:end]
	s.rest = s.rest[end:]
	_, err := strconv.ParseInt(digits, 10, 64)
	return digits, err == nil
}

// text takes a string.
func (s *scanner) text() (string, bool) {
	if !s.next(`"`) {
		return "", false
	}
	end := strings.IndexByte(s.rest, '"')
	if end < 0 {
		return "", false
	}
	text := s.rest[:end]
	if strings.IndexByte(text, '\\') >= 0 {
		return s.escaped()
	}
	s.rest = s.rest[end+1:]
	return text, true
}

// escaped takes the rest of a string that has escapes in it.
func (s *scanner) escaped() (text string, ok bool) {
	for i := 0; i < len(s.rest); i++ {
		switch s.rest[i] {
		case '\\':
			i++
		case '"':
			err := json.Unmarshal([]byte(`"`+s.rest[:i+1]), &text)
			s.rest = s.rest[i+1:]
			return text, err == nil
		}
	}
	return "", false
}
