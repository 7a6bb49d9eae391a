package bench

import (
	"bytes"
	"net/http"
	"strconv"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/fincart/courier-gateway/ingest/signature"
)

// composer makes the requests of a plan, one at a time: it has buffers of its
// own and is not safe for concurrent use.
type composer struct {
	plan   *plan
	scheme *signature.Scheme
	path   string // of the endpoint, without a query
	now    func() time.Time
	// staleBy is how far in the past a stale request is signed, more than the
	// tolerance.
	staleBy time.Duration
	body    []byte
}

// composed is a request. Its body is valid until the composer makes the next.
type composed struct {
	kind  kind
	event uint64
	signature.Signed
}

// compose makes request n, signed now. A scheme that can't sign leaves it without
// a proof; see [canSign].
func (c *composer) compose(n uint64) composed {
	k, event := c.plan.request(n)
	c.body = c.plan.events.AppendBody(c.body[:0], event)
	at := c.now()
	if k == stale {
		at = at.Add(-c.staleBy)
	}
	if k == badBody {
		c.body = spoil(c.body, n)
	}
	signed, err := c.scheme.SignRequest(signature.Draft{Path: c.path, Body: c.body}, at)
	if err != nil {
		signed.Body = c.body
	}
	if k == tampered {
		signed.Body[len(`{"eventId":"`)] ^= 1 // still valid JSON
	}
	return composed{kind: k, event: event, Signed: signed}
}

// canSign says why a scheme can't sign what a courier sends, nil when it can.
func canSign(scheme *signature.Scheme) error {
	_, err := scheme.SignRequest(signature.Draft{Path: "/", Body: []byte("{}")}, time.Now())
	return err
}

// spoil makes a body that is no event: cut short, or without its key.
func spoil(body []byte, n uint64) []byte {
	if n%2 == 0 {
		return body[:len(body)-1]
	}
	if i := bytes.Index(body, []byte(`"idempotencyKey"`)); i >= 0 {
		body[i+1] = 'I'
	}
	return body
}

// undated reports whether a scheme signs no timestamp.
func undated(scheme *signature.Scheme) bool {
	const before, after = 1_000_000_000, 2_000_000_000
	body := []byte("{}")
	one, two := scheme.Sign(body, time.Unix(before, 0)), scheme.Sign(body, time.Unix(after, 0))
	for i := range one {
		if one[i] != two[i] {
			return false
		}
	}
	return true
}

// heading is what all requests to one endpoint have in common: what stands before
// their query and what follows it.
type heading struct{ path, rest []byte }

// newHeading returns the heading for a target, which is a path that may have a
// query.
func newHeading(host, target string) heading {
	return heading{
		path: []byte("POST " + target),
		rest: []byte(" HTTP/1.1\r\nhost: " + host + "\r\ncontent-type: application/json\r\n"),
	}
}

// appendRequest appends r to dst as HTTP/1.1 has it.
func (h *heading) appendRequest(dst []byte, r composed) []byte {
	dst = append(dst, h.path...)
	if r.Query != "" {
		dst = append(dst, querySeparator(h.path)...)
		dst = append(dst, r.Query...)
	}
	dst = append(dst, h.rest...)
	for _, header := range r.Headers {
		dst = append(dst, header.Name...)
		dst = append(dst, ": "...)
		dst = append(dst, header.Value...)
		dst = append(dst, "\r\n"...)
	}
	dst = append(dst, "content-length: "...)
	dst = strconv.AppendInt(dst, int64(len(r.Body)), 10)
	dst = append(dst, "\r\n\r\n"...)
	return append(dst, r.Body...)
}

// querySeparator returns what stands between an address and more of its query.
func querySeparator(address []byte) string {
	if bytes.IndexByte(address, '?') >= 0 {
		return "&"
	}
	return "?"
}

// target makes r what vegeta sends; it shares no memory with the composer.
func (r composed) target(url string) vegeta.Target {
	header := http.Header{"Content-Type": {"application/json"}}
	for _, h := range r.Headers {
		header.Set(h.Name, h.Value)
	}
	if r.Query != "" {
		url += querySeparator([]byte(url)) + r.Query
	}
	return vegeta.Target{Method: http.MethodPost, URL: url, Body: bytes.Clone(r.Body), Header: header}
}
