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

// findTrace returns the trace id of a request: what the sender calls it in
// x-request-id, else in traceparent, else one of our own. It is printable ASCII
// without spaces and without a courier's secret, so it can go into a header, a log and the
// stores as it is.
func (c *call) findTrace(secrets *record.Redactor) string {
	h := &c.ctx.Request.Header
	if id := h.Peek("X-Request-Id"); len(id) > 0 && len(id) <= maxTraceBytes && visible(id) && !secrets.Finds(id) {
		return alias(id)
	}
	if parent := h.Peek("Traceparent"); !secrets.Finds(parent) {
		if id := traceIn(alias(parent)); id != "" {
			return id
		}
	}
	return alias(appendTraceID(c.trace[:0]))
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
