package ingest

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strings"

	"github.com/fincart/courier-gateway/ingest/record"
)

const (
	// tracePrefix marks a trace id of our own making.
	tracePrefix = "req_"
	// maxTraceBytes bounds a trace id that a sender chooses.
	maxTraceBytes = 128
)

// findTrace finds the trace id of a request: what the sender calls it, else one of our own.
// It is printable ASCII without spaces and without a courier's secret, so it can go into a
// log, the queue and the stores as it is. The answer has what the sender calls the request
// even where that has a secret in it, so that no answer tells who guesses whether it is one.
func (c *call) findTrace(secrets *record.Redactor) {
	sent := c.sentTrace()
	if c.traceID = alias(sent); len(sent) == 0 || secrets.Finds(sent) {
		c.traceID = alias(appendTraceID(c.trace[:0]))
	}
	if c.answerID = alias(sent); len(sent) == 0 {
		c.answerID = c.traceID
	}
}

// sentTrace returns what the sender calls a request in x-request-id, else in traceparent; nil
// for nothing.
func (c *call) sentTrace() []byte {
	h := &c.ctx.Request.Header
	if id := h.Peek("X-Request-Id"); len(id) > 0 && len(id) <= maxTraceBytes && visible(id) {
		return id
	}
	if parent := h.Peek("Traceparent"); traceIn(alias(parent)) != "" {
		return parent[3:35]
	}
	return nil
}

// appendTraceID appends a new trace id. It is unique, not secret.
func appendTraceID(b []byte) []byte {
	var raw [16]byte
	binary.LittleEndian.PutUint64(raw[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(raw[8:], rand.Uint64())
	return hex.AppendEncode(append(b, tracePrefix...), raw[:])
}

func visible(b []byte) bool {
	for _, ch := range b {
		if ch <= ' ' || ch > '~' {
			return false
		}
	}
	return true
}

// traceIn returns the trace-id of a traceparent (W3C Trace Context, section
// 3.2), "" when it is not valid.
func traceIn(parent string) string {
	const form = "vv-tttttttttttttttttttttttttttttttt-pppppppppppppppp-ff"
	if len(parent) < len(form) || len(parent) > len(form) && (parent[:2] == "00" || parent[len(form)] != '-') {
		return ""
	}
	for i := range len(form) {
		if ch := parent[i]; (form[i] == '-') != (ch == '-') || ch != '-' && !strings.ContainsRune("0123456789abcdef", rune(ch)) {
			return ""
		}
	}
	trace, span := parent[3:35], parent[36:52]
	if parent[:2] == "ff" || strings.Trim(trace, "0") == "" || strings.Trim(span, "0") == "" {
		return ""
	}
	return trace
}
