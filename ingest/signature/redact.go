package signature

import (
	"bytes"
	"slices"
)

// Credential returns where a request of the sender shows something with which
// its reader can send others in its name: from is "header" or "query", and
// names are those of the header, in lower case, or of the parameter. A JSON web
// token counts as one, because no request is bound to it. From is empty where a
// message is signed.
func (s *Scheme) Credential() (from string, names []string) {
	if s.family.signs() {
		return "", nil
	}
	return s.config.Signature.From, slices.Clone(s.config.Signature.Names)
}

// Headers lists the headers that a request is verified by, in lower case and
// without duplicates: what is signed, and what signs it.
func (s *Scheme) Headers() []string {
	c := &s.config
	names := []string{c.AlgorithmHeader, c.KeyIDHeader}
	if c.Signature.From == "header" {
		names = append(names, c.Signature.Names...)
	}
	if c.Timestamp.From == "header" {
		names = append(names, c.Timestamp.Names...)
	}
	for i := range s.parts {
		if p := &s.parts[i]; p.inHeader() {
			names = append(names, p.names...)
		}
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool { return name == "" })
}

// Parameter returns the query parameter that a request is verified by, "" for none.
func (s *Scheme) Parameter() string {
	if s.config.Signature.From != "query" {
		return ""
	}
	return s.config.Signature.Names[0]
}

// Mask overwrites each secret of the scheme that is in b with as many
// asterisks, and reports whether there was one. Public keys are none.
func (s *Scheme) Mask(b []byte) (masked bool) {
	for text := range s.secretTexts {
		masked = mask(b, text) || masked
	}
	return masked
}

// secretTexts yields each secret as it may be in a request.
func (s *Scheme) secretTexts(yield func(text []byte) bool) {
	for _, secret := range s.config.Secrets {
		if s.family.keys == edKeys || s.family.keys == pairKeys && bytes.HasPrefix(secret.Key, []byte(publicPrefix)) {
			continue
		}
		text := secret.Key
		if s.config.Derive == "whsec" {
			text = bytes.TrimPrefix(text, []byte(secretPrefix)) // with and without it, it is the same key
		}
		if !yield(text) {
			return
		}
	}
}

func mask(b, text []byte) (masked bool) {
	for {
		at := bytes.Index(b, text)
		if at < 0 || len(text) == 0 {
			return masked
		}
		masked = true
		for i := range text {
			b[at+i] = '*'
		}
		b = b[at+len(text):]
	}
}
