package signature

import (
	"slices"
	"strings"
	"time"

	"github.com/fincart/courier-gateway/ingest/signature/values"
)

// Request is what a scheme reads of a request. It is an interface so that a
// request on the wire and one captured in a file can be verified alike. All
// bytes stay the request's; nothing is kept of them.
type Request interface {
	// Header returns the first value of a header, without surrounding white
	// space, and how often the header occurs. The name is in lower case; the
	// match must ignore case.
	Header(name string) (value []byte, count int)
	// Body returns the body as it was sent.
	Body() []byte
	// Method returns the method as it was sent, such as POST.
	Method() []byte
	// Path returns the path as it was sent, still encoded and without the query.
	Path() []byte
	// Query returns the query as it was sent, still encoded and without the
	// question mark.
	Query() []byte
}

// input is what a scheme has read of one request, with memory for it. Inputs are
// pooled; between requests they are empty.
type input struct {
	scheme    *Scheme
	request   Request
	now       time.Time
	parsed    bool // the body's JSON was looked at
	object    bool // it is a JSON object
	algorithm *algorithm
	keyID     []byte  // of the key that signed; nil when the request doesn't say
	given     []given // the signatures, or the one credential
	public    []key   // of the JWKS, those that may have signed
	timestamp []byte  // as it was sent
	parts     [][]byte
	claims    []byte // of a token, still encoded
	joined    []byte // all parts, once they are needed in one
	sum       []byte // hash of all parts, once it is needed
	decoded   []byte // memory for what was decoded
}

// given is one signature of a request: the field that it is in, by its index
// among the scheme's fields, and its bytes.
type given struct {
	field int
	bytes []byte
}

// keptBytes is the most memory that an input keeps for its next request.
const keptBytes = 64 << 10

func (in *input) reset() {
	clear(in.given)
	clear(in.public)
	clear(in.parts)
	*in = input{scheme: in.scheme, given: in.given[:0], public: in.public[:0], parts: in.parts[:0], joined: in.joined[:0], sum: in.sum[:0], decoded: in.decoded[:0]}
	if cap(in.joined) > keptBytes {
		in.joined = nil
	}
	if cap(in.decoded) > keptBytes {
		in.decoded = nil
	}
}

// source is where a scheme reads one text, with its failures made beforehand so
// that refusing costs no allocation.
type source struct {
	from             string
	what             string   // for people, such as "header x-signature"
	names            []string // of a header, in order of preference; of a parameter
	path             []string // of a member
	missing, doubled *Failure
	refused          *Failure // for a value that won't do
	noObject         *Failure // for a body that has no members
}

// newSource returns a source whose values are refused by the kind and for the
// reason given.
func newSource(from string, names []string, refused Kind, why string) source {
	s := source{from: from, names: names}
	switch from {
	case "json":
		s.what, s.path = "member "+names[0]+" of the body", strings.Split(names[0], ".")
	case "query":
		s.what = "query parameter " + names[0]
	case "field":
		s.what = "field " + names[0] + " of the signature"
	default:
		s.what = "header " + strings.Join(names, " or ")
	}
	s.missing = &Failure{Kind: Missing, text: s.what + " is missing"}
	s.doubled = &Failure{Kind: Doubled, text: s.what + " occurs more than once"}
	s.refused = &Failure{Kind: refused, text: s.what + " " + why}
	s.noObject = &Failure{Kind: Malformed, text: "the body is no JSON object, but its members are needed"}
	return s
}

// read returns the text, which shares memory with the request or with in.
func (s *source) read(in *input) ([]byte, *Failure) {
	switch s.from {
	case "json":
		return s.readMember(in)
	case "query":
		return s.readParameter(in)
	default:
		return s.readHeader(in)
	}
}

func (s *source) readHeader(in *input) ([]byte, *Failure) {
	for _, name := range in.counting(s.names) {
		value, count := in.request.Header(name)
		switch {
		case count > 1:
			return nil, s.doubled
		case count == 1 && len(value) == 0:
			return nil, s.missing
		case count == 1:
			return value, nil
		}
	}
	return nil, s.missing
}

// counting returns those of a header's names that count for this request, in order of
// preference.
func (in *input) counting(names []string) []string {
	if len(in.scheme.family.ids) == 0 {
		return names
	}
	i := in.scheme.family.counts(in.request)
	return names[i : i+1]
}

// counts returns which of two prefixes counts: the first of which the id, the timestamp and
// the signature are all there, or else the first of which the id is.
func (f *family) counts(r Request) int {
	for i, id := range f.ids {
		if shows(r, id) && shows(r, f.fixed.Timestamp.Names[i]) && shows(r, f.fixed.Signature.Names[i]) {
			return i
		}
	}
	return max(slices.IndexFunc(f.ids, func(id string) bool { return shows(r, id) }), 0)
}

// shows reports whether a request has a header that is not empty.
func shows(r Request, name string) bool {
	value, count := r.Header(name)
	return len(value) > 0 || count > 1
}

// Header returns a header of r as a mapping may read it: by either name of the id, it is the
// one that counts for the signature, so that a stray one never names an event. The name is
// in lower case.
func (s *Scheme) Header(r Request, name string) (value []byte, count int) {
	if s != nil && slices.Contains(s.family.ids, name) {
		name = s.family.ids[s.family.counts(r)]
	}
	return r.Header(name)
}

func (s *source) readParameter(in *input) ([]byte, *Failure) {
	decoded, value, count, ok := values.Parameter(in.decoded, in.request.Query(), s.names[0])
	in.decoded = decoded
	switch {
	case count > 1:
		return nil, s.doubled
	case !ok:
		return nil, s.refused
	case len(value) == 0:
		return nil, s.missing
	default:
		return value, nil
	}
}

// readMember returns a member's text: what a string means, or a number as it
// is written.
func (s *source) readMember(in *input) ([]byte, *Failure) {
	raw, fail := s.readRaw(in)
	switch {
	case fail != nil:
		return nil, fail
	case raw[0] == '-' || raw[0]-'0' <= 9:
		return raw, nil
	case raw[0] == 'n' || string(raw) == `""`:
		return nil, s.missing
	}
	text, isString := values.Inside(raw)
	decoded, text, ok := values.AppendText(in.decoded, text)
	if !isString || !ok {
		return nil, s.refused
	}
	in.decoded = decoded
	return text, nil
}

// readRaw returns a member as its raw JSON, which is not empty.
func (s *source) readRaw(in *input) ([]byte, *Failure) {
	body := in.request.Body()
	if !in.parsed {
		in.object = values.IsObject(body)
		in.parsed = true
	}
	if !in.object {
		return nil, s.noObject
	}
	switch raw, count := values.Descend(body, s.path); count {
	case 0:
		return nil, s.missing
	case 1:
		return raw, nil
	default:
		return nil, s.doubled
	}
}
