package ingest

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ingest/signature"
)

const (
	// redacted stands for what is taken out of a captured request.
	redacted = "(redacted)"
	// maskAhead is how far behind the end of what is kept of a body secrets are
	// looked for, so that none is cut in two.
	maskAhead = 4 << 10
)

// secretWords are in the names of headers and parameters that show a credential. They
// never get into a record, whoever reads it, but for those that a courier is verified
// by: the secret of a sender whose settings are still wrong is known by its name only.
var secretWords = []string{"authorization", "cookie", "credential", "token", "secret", "passw", "api-key", "api_key", "apikey"}

// showsSecret reports whether a name, in lower case, is that of a credential.
func showsSecret(name string) bool {
	return slices.ContainsFunc(secretWords, func(word string) bool { return strings.Contains(name, word) })
}

// note records what became of a request: by itself when it was refused or
// observed for what is in it, as far as the bounds allow, and in a sum otherwise.
func (s *Server) note(c *call, outcome ingestion.Outcome, no refusal, status int) {
	if s.records == nil {
		return
	}
	key := sumKey{outcome: outcome, code: no.code, reason: no.reason}
	places := s.records.unknown
	if c.sender != nil {
		key.courier, places = c.sender.name, c.sender.shares
	}
	if !no.telling() || !s.keep(c, key, places, no, status) {
		s.records.sum(key).add(c.started, len(c.body))
	}
}

// telling reports whether the request itself tells why it was refused. One that
// came too often, or at the wrong time, or met a defect, says nothing.
func (no *refusal) telling() bool {
	switch no.code {
	case event.RateLimited, event.IntakeUnavailable, event.Internal:
		return false
	default:
		return true
	}
}

// keep makes a record of one request. It reports false when the bounds allow none;
// past the rate that costs no memory.
func (s *Server) keep(c *call, key sumKey, places *shares, no refusal, status int) bool {
	class, ok := places.admit(c, s.from(c), s.knows(c), &no)
	if !ok {
		return false
	}
	if !s.records.full(class) {
		request, traceID := s.capture(c)
		if s.records.put(ingestion.Record{
			ID: newRecordID(c.started), Courier: key.courier, Outcome: key.outcome, Count: 1,
			Bytes: int64(request.BodyBytes), At: c.started.UTC(), Until: c.started.UTC(),
			Code: no.code, Reason: no.reason, Detail: no.told(),
			Status: status, Address: s.from(c).String(), TraceID: traceID, Request: request,
		}, class) {
			return true
		}
	}
	s.metrics.dropped.WithLabelValues(droppedFull).Inc()
	return false
}

// told returns the detail with the faults of the body.
func (no *refusal) told() string {
	var b strings.Builder
	b.WriteString(no.detail)
	for i, f := range no.faults[:min(len(no.faults), maxFaults)] {
		if i == 0 {
			b.WriteString(": ")
		} else {
			b.WriteString("; ")
		}
		b.WriteString(f.Path + " " + f.Message)
	}
	return b.String()
}

// capture returns a request and its trace id in memory of their own and without a
// secret: without what shows one by its name or stands where any courier shows one, the
// secrets of the courier (of every courier when it is none of ours), and wherever else
// a secret stands. Signatures stay, because they show nothing and the request is
// verified by them.
func (s *Server) capture(c *call) (request *ingestion.Request, traceID string) {
	r := &redaction{own: c.table.schemes, all: c.table.schemes, places: c.table.credentials}
	if c.sender != nil {
		r.own, r.verifying, r.parameter = []*signature.Scheme{c.sender.scheme}, c.sender.scheme.Headers(), c.sender.scheme.Parameter()
	}
	request = &ingestion.Request{
		Method: text(c.Method()), Path: r.path(c.Path()), Query: r.query(c.Query()), Headers: []ingestion.Header{},
		Body: r.body(c.body, s.config.Records.BodyBytes), BodyBytes: c.bodyBytes,
	}
	for name, value := range c.ctx.Request.Header.AllInOrder() {
		request.Headers = append(request.Headers, ingestion.Header{Name: text(name), Value: r.header(strings.ToLower(string(name)), value)})
	}
	traceID = r.value([]byte(c.traceID))
	request.Redacted = r.done
	return request, traceID
}

// redaction takes the secrets out of one request.
type redaction struct {
	own       []*signature.Scheme // whose credentials are to be hidden
	all       []*signature.Scheme // of every courier: one may post to another's address
	places    map[place]bool      // where they show a credential
	verifying []string            // headers that the courier's requests are verified by
	parameter string              // and the parameter, "" for none
	done      bool                // a credential of its own is gone
}

// place is where a credential may stand: from is "header" or "query".
type place struct{ from, name string }

// places adds those where requests of a scheme show a credential.
func places(s *signature.Scheme, to map[place]bool) {
	from, names := s.Credential()
	for _, name := range names {
		to[place{from, name}] = true
	}
}

// shows reports whether a credential stands there, of this courier or, unless this one
// is verified by what stands there, of any other.
func (r *redaction) shows(from, name string) bool {
	if slices.ContainsFunc(r.own, func(s *signature.Scheme) bool {
		where, names := s.Credential()
		return where == from && slices.Contains(names, name)
	}) {
		r.done = true
		return true
	}
	return r.places[place{from, name}] && !r.verifies(from, name)
}

// verifies reports whether the courier's requests are verified by what stands there.
func (r *redaction) verifies(from, name string) bool {
	if from == "query" {
		return r.parameter != "" && name == r.parameter
	}
	return slices.Contains(r.verifying, name)
}

// mask overwrites all secrets in b.
func (r *redaction) mask(schemes []*signature.Scheme, b []byte) (masked bool) {
	for _, s := range schemes {
		if s.Mask(b) {
			masked = true
			r.done = r.done || slices.Contains(r.own, s)
		}
	}
	return masked
}

// header returns the value of a header whose name is in lower case.
func (r *redaction) header(name string, value []byte) string {
	if r.shows("header", name) || showsSecret(name) && !r.verifies("header", name) {
		return redacted
	}
	return r.value(value)
}

func (r *redaction) value(value []byte) string {
	if r.mask(r.all, bytes.Clone(value)) {
		return redacted
	}
	return text(value)
}

func (r *redaction) path(path []byte) string {
	path = bytes.Clone(path)
	r.mask(r.all, path)
	return text(path)
}

// query returns the query without what is secret, whether that is encoded or not.
func (r *redaction) query(query []byte) string {
	pairs := strings.Split(text(query), "&")
	for i, pair := range pairs {
		name, _, valued := strings.Cut(pair, "=")
		plain := string(unquoted(name))
		switch {
		case r.shows("query", plain), valued && showsSecret(strings.ToLower(plain)) && !r.verifies("query", plain):
			pairs[i] = name + "=" + redacted
		case r.mask(r.all, unquoted(pair)):
			pairs[i] = redacted
		}
	}
	return strings.Join(pairs, "&")
}

// unquoted returns text with its percent signs and plus signs resolved where that
// can be done.
func unquoted(text string) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '+' {
			c = ' '
		} else if c == '%' && i+2 < len(text) {
			if b, err := hex.DecodeString(text[i+1 : i+3]); err == nil {
				c = b[0]
				i += 2
			}
		}
		out = append(out, c)
	}
	return out
}

// body returns the first bytes of a body, at most those in front of a secret: what is
// kept of it is as it was sent, and whether all is there tells its length.
func (r *redaction) body(body []byte, most int) []byte {
	kept := append([]byte{}, body[:min(len(body), most+maskAhead)]...)
	if masked := bytes.Clone(kept); r.mask(r.own, masked) {
		for i := range masked {
			if masked[i] != kept[i] {
				kept = kept[:i]
				break
			}
		}
	}
	return kept[:min(len(kept), most)]
}

// text returns a copy of b as every store can keep it.
func text(b []byte) string { return strings.ToValidUTF8(string(b), "\uFFFD") }
