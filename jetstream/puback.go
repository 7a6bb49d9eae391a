package jetstream

import (
	"encoding/json"
	"strconv"

	"github.com/fincart/courier-gateway/ingest/event"
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

// parseAck reads an answer. The one form of every success is read in place,
//
//	{"stream":"EVENTS", "seq":22}
//	{"stream":"EVENTS", "domain":"hub", "seq":22,"duplicate": true}
//
// and whatever deviates from it by a byte is left to encoding/json.
func parseAck(b []byte) ack {
	if a, ok := parseStoredAck(b); ok {
		return a
	}
	return parseAnyAck(b)
}

// parseStoredAck reads the usual answer without reflection or allocation.
func parseStoredAck(b []byte) (a ack, ok bool) {
	s := scanner{rest: b, ok: true}
	s.literal(`{"stream":`)
	s.plainString()
	s.literal(`,`)
	if s.optional(`"domain":`) {
		s.plainString()
		s.literal(`,`)
	}
	s.literal(`"seq":`)
	a.seq = s.number()
	if s.optional(`,`) {
		s.literal(`"duplicate":`)
		s.literal(`true`)
		a.duplicate = true
	}
	s.literal(`}`)
	return a, s.ok && len(s.rest) == 0
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

// scanner takes tokens off the front of rest; the first that doesn't fit clears
// ok. Spaces before a token are skipped.
type scanner struct {
	rest []byte
	ok   bool
}

func (s *scanner) spaces() {
	for len(s.rest) > 0 && s.rest[0] == ' ' {
		s.rest = s.rest[1:]
	}
}

func (s *scanner) optional(lit string) bool {
	s.spaces()
	if len(s.rest) < len(lit) || string(s.rest[:len(lit)]) != lit {
		return false
	}
	s.rest = s.rest[len(lit):]
	return true
}

func (s *scanner) literal(lit string) {
	s.ok = s.optional(lit) && s.ok
}

// plainString skips a string without escapes or control characters.
func (s *scanner) plainString() {
	s.literal(`"`)
	for i, c := range s.rest {
		switch {
		case c == '"':
			s.rest = s.rest[i+1:]
			return
		case c == '\\' || c < ' ':
			s.ok = false
			return
		}
	}
	s.ok = false
}

// number takes a positive number of at most 19 digits without leading zeros.
func (s *scanner) number() (n uint64) {
	s.spaces()
	digits := 0
	for digits < len(s.rest) && s.rest[digits] >= '0' && s.rest[digits] <= '9' {
		n = n*10 + uint64(s.rest[digits]-'0')
		digits++
	}
	if digits == 0 || digits > 19 || s.rest[0] == '0' {
		s.ok = false
	}
	s.rest = s.rest[digits:]
	return n
}
