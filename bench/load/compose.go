package load

import (
	"bytes"
	"net/http"
	"slices"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/fincart/courier-gateway/bench"
	"github.com/fincart/courier-gateway/ingest/signature"
)

// composer makes the requests of a plan, one at a time: it has buffers of its
// own and is not safe for concurrent use.
type composer struct {
	plan   *plan
	signer *bench.Signer
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

// compose makes request n, signed now. A signer that can't sign events leaves it
// unsigned: try one beforehand.
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
	signed, err := c.signer.SignBody(c.body, at)
	if err != nil && k == badBody { // a signature inside the body needs one that is JSON
		c.body = spoil(c.plan.events.AppendBody(c.body[:0], event), n|1)
		signed, err = c.signer.SignBody(c.body, at)
	}
	if err != nil {
		signed.Body = c.body
	}
	if k == tampered {
		tamper(&signed, c.signer.Covers())
	}
	return composed{kind: k, event: event, Signed: signed}
}

var idMember = []byte(`"eventId":"`)

// tamper changes a signed event so that its signature is wrong: the body,
// which stays valid JSON, or the signature itself where that covers only parts of it.
func tamper(r *signature.Signed, covers signature.Binding) {
	switch last := len(r.Headers) - 1; {
	case covers.Body:
		r.Body[bytes.Index(r.Body, idMember)+len(idMember)] ^= 1
	case r.Query != "":
		r.Query = altered(r.Query)
	case last >= 0:
		r.Headers[last].Value = altered(r.Headers[last].Value)
	}
}

// altered returns text with another last character.
func altered(text string) string {
	end := "0"
	if text[len(text)-1] == '0' {
		end = "1"
	}
	return text[:len(text)-1] + end
}

// flawsOf returns the kinds of requests that a courier's intake has to refuse. An
// old request is refused only where the time is signed, and a signature that is inside
// the body and covers only parts of it is left as it is.
func flawsOf(s *bench.Signer, event []byte) (flaws []kind) {
	one, _ := s.SignBody(bytes.Clone(event), time.Unix(1_000_000_000, 0))
	two, _ := s.SignBody(bytes.Clone(event), time.Unix(2_000_000_000, 0))
	if s.Covers().Body || one.Query != "" || len(one.Headers) > 0 {
		flaws = append(flaws, tampered)
	}
	flaws = append(flaws, badBody)
	if one.Query != two.Query || !slices.Equal(one.Headers, two.Headers) || !bytes.Equal(one.Body, two.Body) {
		flaws = append(flaws, stale)
	}
	return flaws
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

// target makes request n as vegeta sends it; it shares no memory with the
// composer.
func (c *composer) target(n uint64) vegeta.Target {
	r := c.signer.Request(c.compose(n).Signed)
	header := http.Header{}
	for _, h := range r.Headers {
		header.Set(h.Name, h.Value)
	}
	return vegeta.Target{Method: http.MethodPost, URL: r.URL, Body: bytes.Clone(r.Body), Header: header}
}
