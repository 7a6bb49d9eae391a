package record

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/fincart/courier-gateway/ingest/signature"
)

const (
	// Redacted is in place of what was taken out of a request.
	Redacted = "(redacted)"
	// MaskAhead is how far behind the end of what is kept of a body secrets are
	// looked for, so that none is cut in two: so much more of it should be read.
	MaskAhead = 4 << 10
)

// secretWords are in the names of headers and parameters that show a credential. They
// never get into a record, but for those that a courier is verified by: the secret of a
// sender whose settings are still wrong is known by its name only.
var secretWords = []string{"authorization", "cookie", "credential", "token", "secret", "passw", "api-key", "api_key", "apikey"}

// showsSecret reports whether a name, in lower case, is that of a credential.
func showsSecret(name string) bool {
	return slices.ContainsFunc(secretWords, func(word string) bool { return strings.Contains(name, word) })
}

// Redactor knows the credentials of every courier. It never changes.
type Redactor struct {
	schemes []*signature.Scheme
	places  map[place]bool // where requests of any of them show a credential
}

// place is where a credential may stand: from is "header" or "query".
type place struct{ from, name string }

// NewRedactor returns a redactor for couriers with these schemes.
func NewRedactor(schemes []*signature.Scheme) *Redactor {
	r := &Redactor{schemes: schemes, places: make(map[place]bool)}
	for _, s := range schemes {
		from, names := s.Credential()
		for _, name := range names {
			r.places[place{from, name}] = true
		}
	}
	return r
}

// Begin begins the redaction of one request; scheme is its courier's, nil for no courier of
// ours. Taken out are what shows a credential by its name or is where any courier
// shows one, the secrets of the courier (of every courier when it is none of ours), and
// wherever else a secret is. Signatures stay, because they show nothing and the
// request is verified by them.
func (r *Redactor) Begin(scheme *signature.Scheme) *Redaction {
	one := &Redaction{own: r.schemes, all: r.schemes, places: r.places}
	if scheme != nil {
		one.own, one.verifying, one.parameter = []*signature.Scheme{scheme}, scheme.Headers(), scheme.Parameter()
	}
	return one
}

// Redaction takes the secrets out of one request. What it returns is in memory of its own,
// and text that every store can keep.
type Redaction struct {
	own       []*signature.Scheme // whose credentials are to be hidden
	all       []*signature.Scheme // of every courier: one may post to another's address
	places    map[place]bool      // where they show a credential
	verifying []string            // headers that the courier's requests are verified by
	parameter string              // and the parameter, "" for none
	done      bool                // a credential of its own is gone
}

// Done reports whether a credential was taken out without which the request can't be
// verified.
func (r *Redaction) Done() bool { return r.done }

// shows reports whether a credential is there, of this courier or, unless this one
// is verified by what is there, of any other.
func (r *Redaction) shows(from, name string) bool {
	if slices.ContainsFunc(r.own, func(s *signature.Scheme) bool {
		where, names := s.Credential()
		return where == from && slices.Contains(names, name)
	}) {
		r.done = true
		return true
	}
	return r.places[place{from, name}] && !r.verifies(from, name)
}

// verifies reports whether the courier's requests are verified by what is there.
func (r *Redaction) verifies(from, name string) bool {
	if from == "query" {
		return r.parameter != "" && name == r.parameter
	}
	return slices.Contains(r.verifying, name)
}

// mask overwrites all secrets in b.
func (r *Redaction) mask(schemes []*signature.Scheme, b []byte) (masked bool) {
	for _, s := range schemes {
		if s.Mask(b) {
			masked = true
			r.done = r.done || slices.Contains(r.own, s)
		}
	}
	return masked
}

// Header returns the value of a header, whatever the case of its name.
func (r *Redaction) Header(name string, value []byte) string {
	name = strings.ToLower(name)
	if r.shows("header", name) || showsSecret(name) && !r.verifies("header", name) {
		return Redacted
	}
	return r.Value(value)
}

// Value returns a value without a name, such as a trace id.
func (r *Redaction) Value(value []byte) string {
	if r.mask(r.all, bytes.Clone(value)) {
		return Redacted
	}
	return Text(value)
}

// Path returns the path.
func (r *Redaction) Path(path []byte) string {
	path = bytes.Clone(path)
	r.mask(r.all, path)
	return Text(path)
}

// Query returns the query without what is secret, whether that is encoded or not.
func (r *Redaction) Query(query []byte) string {
	pairs := strings.Split(Text(query), "&")
	for i, pair := range pairs {
		name, _, valued := strings.Cut(pair, "=")
		plain := string(unquoted(name))
		switch {
		case r.shows("query", plain), valued && showsSecret(strings.ToLower(plain)) && !r.verifies("query", plain):
			pairs[i] = name + "=" + Redacted
		case r.mask(r.all, unquoted(pair)):
			pairs[i] = Redacted
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

// Body returns the first bytes of a body, at most those in front of a secret: what is
// kept of it is as it was sent, and its length shows whether all is there.
func (r *Redaction) Body(body []byte, most int) []byte {
	kept := append([]byte{}, body[:min(len(body), most+MaskAhead)]...)
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

// Text returns a copy of b as every store can keep it.
func Text(b []byte) string { return strings.ToValidUTF8(string(b), "\uFFFD") }
