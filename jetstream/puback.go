package jetstream

import (
	"encoding/json"
	"strconv"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/jsontext"
)

// ack is the broker's answer to one publish.
type ack struct {
	seq       uint64
	duplicate bool
	busy      bool         // the same id is just being stored: ask again
	err       *event.Error // the broker refused
}

// Error codes of the broker that mean something to us
// (nats-server, server/errors.json).
const (
	codeStoreFailed = 10077 // with DiscardNew: the stream is full
	codeTooBusy     = 10167 // its inbound queue is full
	codeIDInProcess = 10158 // the first copy of this id is not stored yet (clusters)
)

// parseAck reads an answer: a success, which is
//
//	{"stream":"EVENTS", "seq":22}
//	{"stream":"EVENTS", "domain":"hub", "seq":22,"duplicate": true}
//
// without allocating, anything else by encoding/json.
func parseAck(b []byte) ack {
	if a, ok := parseStoredAck(b); ok {
		return a
	}
	return parseAnyAck(b)
}

// parseStoredAck reads a success; not ok when the answer has other members, or
// others than these values.
func parseStoredAck(b []byte) (a ack, ok bool) {
	s := jsontext.NewScanner(b)
	if s.Peek() != '{' {
		return ack{}, false
	}
	for more := s.Enter('}'); more; more = s.More('}') {
		switch s.Key() {
		case "stream", "domain":
			s.Skip()
		case "seq":
			seq, err := strconv.ParseUint(string(s.Value()), 10, 64)
			if err != nil {
				return ack{}, false
			}
			a.seq = seq
		case "duplicate":
			value := s.Value()
			if a.duplicate = string(value) == "true"; !a.duplicate && string(value) != "false" {
				return ack{}, false
			}
		default:
			return ack{}, false
		}
	}
	s.End()
	return a, !s.Failed() && a.seq > 0
}

// parseAnyAck reads any answer, the refusals among them.
func parseAnyAck(b []byte) ack {
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
		return ack{err: refuse("the broker's answer can't be read: %w", err)}
	case r.Error != nil:
		return ack{busy: r.Error.Code == codeIDInProcess, err: refuse("%s", explain(r.Error.Code, r.Error.Description))}
	case r.Seq == 0:
		return ack{err: refuse("the broker's answer names no sequence")}
	}
	return ack{seq: r.Seq, duplicate: r.Duplicate}
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

func refuse(format string, args ...any) *event.Error {
	return event.Errorf(event.IntakeUnavailable, "publish", format, args...)
}
