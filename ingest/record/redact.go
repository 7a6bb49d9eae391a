package record

import (
	"net/url"
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

// Redactor knows the credentials of every courier, and secrets of our own. It never changes.
type Redactor struct {
	secrets *secrets
	schemes []*signature.Scheme
	places  map[place]bool // where requests of any of them show a credential
}

// place is where a credential may stand: from is "header" or "query".
type place struct{ from, name string }

// NewRedactor returns a redactor for couriers with these schemes, and for secrets that are
// no courier's.
func NewRedactor(schemes []*signature.Scheme, own [][]byte) *Redactor {
	r := &Redactor{secrets: newSecrets(schemes, own), schemes: schemes, places: make(map[place]bool)}
	for _, s := range schemes {
		from, names := s.Credential()
		for _, name := range names {
			r.places[place{from, name}] = true
		}
	}
	return r
}

// Finds reports whether a text has a secret in it. Where nothing is escaped
// in the text it does not allocate.
func (r *Redactor) Finds(text []byte) bool { return r.secrets.in(text) }

// Detail returns a text about a request without what it may quote of it.
func (r *Redactor) Detail(text string) string {
	if r.Finds([]byte(text)) {
		return Redacted
	}
	return text
}

// Begin begins the redaction of one request; scheme is its courier's, nil for no courier of
// ours. Taken out are what shows a credential by its name or is where any courier
// shows one, and the secrets of all couriers wherever they are and however they are
// written. Signatures stay, because they show nothing and the request is verified by them.
func (r *Redactor) Begin(scheme *signature.Scheme) *Redaction {
	one := &Redaction{secrets: r.secrets, own: r.schemes, places: r.places}
	if scheme != nil {
		one.own, one.verifying, one.parameter = []*signature.Scheme{scheme}, scheme.Headers(), scheme.Parameter()
	}
	return one
}

// Redaction takes the secrets out of one request. What it returns is in memory of its own,
// and text that every store can keep.
type Redaction struct {
	secrets   *secrets
	own       []*signature.Scheme // of the courier; of all when it is none of ours
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

// finds reports whether b has a secret in it.
func (r *Redaction) finds(b []byte) bool {
	return r.secrets.each(b, func(of *signature.Scheme) { r.done = r.done || slices.Contains(r.own, of) })
}

// Header returns the value of a header, whatever the case of its name.
func (r *Redaction) Header(name string, value []byte) string {
	name = strings.ToLower(name)
	if r.shows("header", name) || showsSecret(name) && !r.verifies("header", name) {
		return Redacted
	}
	return r.Value(value)
}

// Value returns a value without a name, or a name.
func (r *Redaction) Value(value []byte) string {
	if r.finds(value) {
		return Redacted
	}
	return Text(value)
}

// Path returns the path without the segments that are secret.
func (r *Redaction) Path(path []byte) string {
	if !r.finds(path) {
		return Text(path)
	}
	segments := strings.Split(Text(path), "/")
	for i, segment := range segments {
		segments[i] = r.Value([]byte(segment))
	}
	if left := strings.Join(segments, "/"); !r.finds([]byte(left)) {
		return left
	}
	return "/" + Redacted // it goes over several of them
}

// Query returns the query without what is secret, whether that is encoded or not.
func (r *Redaction) Query(query []byte) string {
	pairs := strings.Split(Text(query), "&")
	for i, pair := range pairs {
		name, _, valued := strings.Cut(pair, "=")
		plain, err := url.QueryUnescape(name)
		if err != nil {
			plain = name
		}
		switch {
		case r.shows("query", plain), valued && showsSecret(strings.ToLower(plain)) && !r.verifies("query", plain):
			pairs[i] = name + "=" + Redacted
		case r.finds([]byte(pair)):
			pairs[i] = Redacted
		}
	}
	return strings.Join(pairs, "&")
}

// Body returns the first bytes of a body, at most those in front of a secret: what is
// kept of it is as it was sent, and its length shows whether all is there. Of a body
// that was packed nothing is kept when a secret is in what it holds, plain.
func (r *Redaction) Body(body, plain []byte, most int) []byte {
	kept := body[:min(len(body), most+MaskAhead)]
	switch {
	case r.finds(plain):
		kept = nil
	case r.finds(kept):
		kept = kept[:r.secrets.begin(kept)]
	}
	return append([]byte{}, kept[:min(len(kept), most)]...)
}

// Text returns a copy of b as every store can keep it.
func Text(b []byte) string { return strings.ToValidUTF8(string(b), "\uFFFD") }
