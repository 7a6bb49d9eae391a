package signature

import (
	"bytes"
	"strings"
)

// maxParts bounds the parts of a message.
const maxParts = 16

// part is one stretch of the signed message.
type part struct {
	kind    partKind
	literal []byte   // of a literalPart
	names   []string // of a headerPart, in order of preference; of a memberPart; of a pathPart that is in a header too
	source  source
}

type partKind uint8

const (
	literalPart partKind = iota
	timestampPart
	headerPart
	methodPart
	pathPart
	bodyPart
	memberPart
)

// parsePart reads a part as the config has it. Problem is empty when all is well.
func parsePart(text string) (p part, problem string) {
	name, value, valued := strings.Cut(text, ":")
	switch name {
	case "literal":
		p.kind, p.literal = literalPart, []byte(value)
	case "header":
		p.kind, p.names = headerPart, strings.Split(strings.ToLower(value), "|")
	case "json":
		p.kind, p.names = memberPart, []string{value}
	case "path":
		p.kind = pathPart
		if !valued {
			return p, ""
		}
		p.names = []string{strings.ToLower(value)}
	case "timestamp", "method", "body":
		p.kind = map[string]partKind{"timestamp": timestampPart, "method": methodPart, "body": bodyPart}[name]
		if valued {
			return p, name + " takes no value"
		}
		return p, ""
	default:
		return p, "is none of literal:TEXT, timestamp, header:NAME, method, path, path:NAME, body, json:NAME"
	}
	return p, p.nameProblem(value)
}

func (p *part) nameProblem(value string) string {
	if value == "" {
		return "needs something behind the colon"
	}
	for _, n := range p.names {
		if p.kind != memberPart && !isToken(n) {
			return "names no header"
		}
		if p.kind == memberPart && !isMember(n) {
			return "names no member"
		}
	}
	return ""
}

// newParts compiles a message that has no faults.
func newParts(message []string) []part {
	parts := make([]part, len(message))
	for i, text := range message {
		p, _ := parsePart(text)
		switch p.kind {
		case headerPart:
			p.source = newSource("header", p.names, Malformed, "can't be read")
		case pathPart:
			if p.inHeader() {
				p.source = newSource("header", p.names, Mismatch, "names another path than that of the request")
			}
		case memberPart:
			p.source = newSource("json", p.names, Malformed, "can't be read")
		default: // nothing to look for
		}
		parts[i] = p
	}
	return parts
}

// readMessage gathers the signed bytes. It is the one place that knows them:
// signing goes through it too.
func (in *input) readMessage() *Failure {
	s := in.scheme
	for i := range s.parts {
		bytes, fail := s.parts[i].read(in)
		if fail != nil {
			return fail
		}
		in.parts = append(in.parts, bytes)
	}
	return nil
}

func (p *part) read(in *input) ([]byte, *Failure) {
	switch p.kind {
	case timestampPart:
		return in.timestamp, nil
	case headerPart:
		return p.source.readHeader(in)
	case methodPart:
		return in.request.Method(), nil
	case pathPart:
		return p.readPath(in)
	case bodyPart:
		return in.request.Body(), nil
	case memberPart:
		return p.source.readRaw(in)
	default:
		return p.literal, nil
	}
}

// readPath returns the path or, of a part that is in a header too, what is there: the path,
// with or without the query.
func (p *part) readPath(in *input) ([]byte, *Failure) {
	path, query := in.request.Path(), in.request.Query()
	if !p.inHeader() {
		return path, nil
	}
	said, fail := p.source.readHeader(in)
	if fail != nil {
		return nil, fail
	}
	rest, ok := bytes.CutPrefix(said, path)
	if !ok || len(rest) > 0 && (rest[0] != '?' || !bytes.Equal(rest[1:], query)) {
		return nil, p.source.refused
	}
	return said, nil
}

// inHeader reports whether the part is read from a header.
func (p *part) inHeader() bool { return p.kind == headerPart || p.kind == pathPart && p.names != nil }

// whole returns the message in one piece, valid until in is reset.
func (in *input) whole() []byte {
	if len(in.parts) == 1 {
		return in.parts[0]
	}
	if len(in.joined) == 0 {
		for _, p := range in.parts {
			in.joined = append(in.joined, p...)
		}
	}
	return in.joined
}

// hashed returns the message's hash without a key, valid until in is reset.
func (in *input) hashed() []byte {
	if len(in.sum) == 0 {
		d := in.algorithm.hashes.Get().(*digest)
		in.sum = append(in.sum, d.of(in.parts)...)
		in.algorithm.hashes.Put(d)
	}
	return in.sum
}

// Binding is how much of a request a scheme's signature covers. A stranger who
// sees one request can send another with all the rest changed.
type Binding struct {
	Body    bool     `json:"body"`              // every byte of the body
	Members []string `json:"members,omitempty"` // where not: these members of it
	Fresh   bool     `json:"fresh"`             // an old request is refused when it comes again
	Headers []string `json:"-"`                 // as [Scheme.Headers]
}

// String describes the binding, for people.
func (b Binding) String() string {
	text := "nothing of the body"
	switch {
	case b.Body:
		text = "the whole body"
	case len(b.Members) > 0:
		text = "only " + strings.Join(b.Members, ", ") + " of the body"
	}
	if b.Fresh {
		return text + " and the time"
	}
	return text + ", not the time"
}

// BindingOf returns what a scheme of these settings would cover, once there are
// secrets or keys for it. The settings have no faults; of an unknown scheme nothing
// is covered.
func BindingOf(c Config) Binding {
	f := familyOf(c.Scheme)
	if f == nil {
		return Binding{}
	}
	s := &Scheme{family: f, config: f.complete(c)}
	if f.signs() {
		s.parts = newParts(s.config.Message)
	}
	return s.bind()
}

func (s *Scheme) bind() (b Binding) {
	for i := range s.parts {
		if p := &s.parts[i]; p.kind == memberPart {
			b.Members = append(b.Members, p.names[0])
		} else if p.kind == bodyPart {
			b.Body = true
		}
	}
	if b.Body {
		b.Members = nil
	}
	b.Headers = s.Headers()
	_, expires := s.config.Claims["exp"]
	b.Fresh = s.family.signs() && s.config.Timestamp.From != "none" || expires
	return b
}
