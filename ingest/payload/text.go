package payload

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/fincart/courier-gateway/ingest/jsontext"
)

// found is the outcome of filling a template.
type found uint8

const (
	absent found = iota // something that it asks for is not there, or null
	empty               // something that it asks for is an empty text
	wrong               // something that it asks for is no text
	filled
)

// text fills a member with the first of its alternatives that can be filled with a text
// that it may have, without white space at its ends. A member that may be missing stays empty when
// what its place holds is unfit, which is then left out: an event that its courier
// signed is not refused for what it can do without.
func (m *decoding) text(f *field, required bool, to *string) {
	var bad *template // the first that is filled with what can't be used
	fault, most := "", absent
	for i := range f.alternatives {
		t := &f.alternatives[i]
		text, got := m.values.fillIn(t)
		wants := ""
		if got == filled {
			text = strings.TrimSpace(text)
			if wants = textFault(f.member, text); wants == "" {
				*to = text
				return
			}
		}
		if bad == nil && got >= wrong {
			bad, fault = t, wants
		}
		most = max(most, got)
		if got == wrong && t.hasHeader() {
			break // it is there twice, and which of them counts is not known
		}
	}
	m.faults.optional = !required
	switch {
	case fault != "":
		m.faults.atTemplate(bad, fault)
	case bad != nil:
		m.faults.parts(&m.values, bad, wrong)
	case required:
		m.faults.missing(&m.values, f.alternatives, most)
	}
	m.faults.optional = false
}

func (t *template) hasHeader() bool {
	return slices.ContainsFunc(t.parts, func(p part) bool { return p.header != "" })
}

// first returns what the first template that can be filled says, or else the first one
// that is wrong. Otherwise got is absent, or empty when one would have been filled
// but for an empty text.
func (v *values) first(alternatives []template) (text string, t *template, got found) {
	for i := range alternatives {
		one, is := v.fillIn(&alternatives[i])
		switch {
		case is == filled:
			return one, &alternatives[i], filled
		case is == wrong && got < wrong:
			t = &alternatives[i]
		}
		got = max(got, is)
	}
	return "", t, got
}

func (v *values) fillIn(t *template) (string, found) {
	if len(t.parts) == 1 {
		return v.part(t, &t.parts[0])
	}
	var memory [MaxIDBytes]byte
	b, got := v.join(memory[:0], t)
	return string(b), got
}

// join appends what t says to b.
func (v *values) join(b []byte, t *template) ([]byte, found) {
	for i := range t.parts {
		text, got := v.part(t, &t.parts[i])
		if got != filled {
			return nil, got
		}
		b = append(b, text...)
	}
	return b, filled
}

// part returns the text of one part of t.
func (v *values) part(t *template, p *part) (string, found) {
	switch {
	case p.node != nil:
		return v.scalar(t, p.node)
	case p.header != "":
		return v.header(p.header)
	case p.hash:
		return v.hash(), filled
	default:
		return p.text, filled
	}
}

func (v *values) hash() string {
	sum := sha256.Sum256(v.sent)
	var text [2 * len(sum)]byte
	hex.Encode(text[:], sum[:])
	return string(text[:])
}

func (v *values) scalar(t *template, n *node) (string, found) {
	switch v.kinds[n.id] {
	case 0, 'n':
		return "", absent
	case '{', '[', halved:
		return "", wrong
	case 't', 'f':
		if !t.scalar {
			return "", wrong
		}
	}
	text := strings.TrimSpace(v.raw(n))
	if text == "" {
		return "", empty
	}
	return text, filled
}

func (v *values) header(name string) (string, found) {
	if v.headers == nil {
		return "", absent
	}
	value, count := v.headers.Header(name)
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

// raw returns the text of a value, which shares memory with the body unless
// escapes had to be resolved.
func (v *values) raw(n *node) string {
	at := v.spans[n.id]
	if v.kinds[n.id] == escaped {
		return jsontext.Unescape(v.body[at.start:at.end])
	}
	return unsafe.String(unsafe.SliceData(v.body[at.start:]), at.end-at.start)
}
