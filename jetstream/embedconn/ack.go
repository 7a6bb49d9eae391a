package embedconn

import (
	"encoding/json"
	"strconv"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/jsontext"
)

// Ack is the broker's answer to one publish.
type Ack struct {
	Sequence  uint64
	Duplicate bool
	Busy      bool         // the same id is just being stored: ask again
	Err       *event.Error // the broker refused; its code is IntakeUnavailable
}

// Error codes of the broker that mean something to us
// (nats-server, server/errors.json).
const (
	codeStoreFailed = 10077 // with DiscardNew: the stream is full
	codeTooBusy     = 10167 // its inbound queue is full
	codeIDInProcess = 10158 // the first copy of this id is not stored yet (clusters)
)

// ParseAck reads an answer: a success, which is
//
//	{"stream":"EVENTS", "seq":22}
//	{"stream":"EVENTS", "domain":"hub", "seq":22,"duplicate": true}
//
// without allocating, anything else by encoding/json.
func ParseAck(b []byte) Ack {
	if a, ok := parseStoredAck(b); ok {
		return a
	}
	return parseAnyAck(b)
}

// parseStoredAck reads a success; not ok when the answer has other members, or
// others than these values.
func parseStoredAck(b []byte) (a Ack, ok bool) {
	s := jsontext.NewScanner(b)
	if s.Peek() != '{' {
		return Ack{}, false
	}
	for more := s.Enter('}'); more; more = s.More('}') {
		switch s.Key() {
		case "stream", "domain":
			s.Skip()
		case "seq":
			seq, err := strconv.ParseUint(string(s.Value()), 10, 64)
			if err != nil {
				return Ack{}, false
			}
			a.Sequence = seq
		case "duplicate":
			value := s.Value()
			if a.Duplicate = string(value) == "true"; !a.Duplicate && string(value) != "false" {
				return Ack{}, false
			}
		default:
			return Ack{}, false
		}
	}
	s.End()
	return a, !s.Failed() && a.Sequence > 0
}

// parseAnyAck reads any answer, the refusals among them.
func parseAnyAck(b []byte) Ack {
	var r struct {
		Seq       uint64 `json:"seq"`
		Duplicate bool   `json:"duplicate"`
		Error     *struct {
			Code        int    `json:"err_code"`
			Description string `json:"description"`
		} `json:"error"`
	}
	err := json.Unmarshal(b, &r)
	switch {
	case err != nil:
		return Ack{Err: Refuse("the broker's answer can't be read: %w", err)}
	case r.Error != nil:
		return Ack{Busy: r.Error.Code == codeIDInProcess, Err: Refuse("%s", explain(r.Error.Code, r.Error.Description))}
	case r.Seq == 0:
		return Ack{Err: Refuse("the broker's answer names no sequence")}
	}
	return Ack{Sequence: r.Seq, Duplicate: r.Duplicate}
}

func explain(code int, description string) string {
	switch code {
	case codeStoreFailed:
		return "the broker can't store it (" + description + "): the stream is full of unprocessed events or of history not verified yet"
	case codeTooBusy:
		return "the broker is too busy"
	default:
		return "the broker refuses it: " + description + " (" + strconv.Itoa(code) + ")"
	}
}

// Refuse returns the error of a publish that the queue does not take.
func Refuse(format string, args ...any) *event.Error {
	return event.Errorf(event.IntakeUnavailable, "publish", format, args...)
}
