package payload

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode/utf8"
	"unsafe"
)

// found is the outcome of filling a template.
type found uint8

const (
	absent found = iota // something that it asks for is not there, or null
	empty               // something that it asks for is an empty text
	wrong               // something that it asks for is no text
	filled
)

// text fills a member with the first of its alternatives that can be filled,
// without white space at its ends. A member that may be missing stays empty when
// what its place holds is unfit: an event that its courier signed is not refused
// for what it can do without.
func (m *decoding) text(f *field, required bool, to *string) {
	text, t, got := m.first(f.alternatives)
	text = strings.TrimSpace(text)
	fault := ""
	if got == filled {
		fault = textFault(f.member, text)
	}
	switch {
	case got == filled && fault == "":
		*to = text
	case !required:
	case got == filled:
		m.faultAt(t, fault)
	case got == wrong:
		m.faultParts(t, wrong)
	default:
		m.missing(f.alternatives, got)
	}
}

// first returns what the first template that can be filled says, or the first one
// that is wrong. Otherwise got is absent, or empty when one would have been filled
// but for an empty text.
func (m *decoding) first(alternatives []template) (text string, t *template, got found) {
	for i := range alternatives {
		t = &alternatives[i]
		text, one := m.fillIn(t)
		if one >= wrong {
			return text, t, one
		}
		got = max(got, one)
	}
	return "", nil, got
}

func (m *decoding) fillIn(t *template) (string, found) {
	if len(t.parts) == 1 {
		return m.part(t, &t.parts[0])
	}
	var room [MaxIDBytes]byte
	b, got := m.join(room[:0], t)
	return string(b), got
}

// join appends what t says to b.
func (m *decoding) join(b []byte, t *template) ([]byte, found) {
	for i := range t.parts {
		text, got := m.part(t, &t.parts[i])
		if got != filled {
			return nil, got
		}
		b = append(b, text...)
	}
	return b, filled
}

// part returns the text of one part of t.
func (m *decoding) part(t *template, p *part) (string, found) {
	switch {
	case p.node != nil:
		return m.scalar(t, p.node)
	case p.header != "":
		return m.header(p.header)
	case p.hash:
		return m.hash(), filled
	default:
		return p.text, filled
	}
}

func (m *decoding) hash() string {
	sum := sha256.Sum256(m.body)
	var text [2 * len(sum)]byte
	hex.Encode(text[:], sum[:])
	return string(text[:])
}

func (m *decoding) scalar(t *template, n *node) (string, found) {
	switch m.kinds[n.id] {
	case 0, 'n':
		return "", absent
	case '{', '[':
		return "", wrong
	case 't', 'f':
		if !t.scalar {
			return "", wrong
		}
	}
	text := m.raw(n)
	if text == "" {
		return "", empty
	}
	return text, filled
}

func (m *decoding) header(name string) (string, found) {
	if m.headers == nil {
		return "", absent
	}
	value, count := m.headers.Header(name)
	switch {
	case count == 0:
		return "", absent
	case count > 1 || !utf8.Valid(value):
		return "", wrong
	case len(value) == 0:
		return "", empty
	default:
		return unsafe.String(&value[0], len(value)), filled
	}
}

// missing says that none of the alternatives can be filled.
func (m *decoding) missing(alternatives []template, got found) {
	var paths []string
	for i := range alternatives {
		t := &alternatives[i]
		if _, one := m.fillIn(t); one == got && (got == empty || len(alternatives) == 1) {
			m.faultParts(t, got)
			return
		}
		paths = append(paths, t.path)
	}
	m.faultAt(&alternatives[0], "is missing, and so is "+strings.Join(paths[1:], ", "))
}

// faultParts adds a fault for each part of t whose outcome is got.
func (m *decoding) faultParts(t *template, got found) {
	for i := range t.parts {
		p := &t.parts[i]
		if _, one := m.part(t, p); one != got {
			continue
		}
		if p.header != "" {
			m.fault("header:"+p.header, [...]string{"is missing", "must not be empty", "must be there once, in UTF-8"}[got])
			continue
		}
		switch {
		case got == absent:
			m.missingNode(p.node)
		case got == empty:
			m.faultOn(p.node, "must not be empty")
		case t.scalar:
			m.wrongKind(p.node, "a string, a number or a boolean")
		default:
			m.wrongKind(p.node, "a string or a number")
		}
	}
}

// faultAt adds a fault about what t says, at its one member if it has but one.
func (m *decoding) faultAt(t *template, message string) {
	if len(t.parts) == 1 && t.parts[0].node != nil {
		m.faultOn(t.parts[0].node, message)
		return
	}
	m.fault(t.path, message)
}
