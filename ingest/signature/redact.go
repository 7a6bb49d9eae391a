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
	names := s.proving()
	for i := range s.parts {
		if p := &s.parts[i]; p.inHeader() {
			names = append(names, p.names...)
		}
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool { return name == "" })
}

// Shown reports whether a request has a header that is there for its signature or
// credential: with either, a time, the id of a key or an algorithm.
func (s *Scheme) Shown(r Request) bool {
	return s != nil && slices.ContainsFunc(s.proving(), func(name string) bool {
		_, count := r.Header(name)
		return count > 0
	})
}

// proving lists the headers that only a verified request needs, "" among them.
func (s *Scheme) proving() []string {
	c := &s.config
	names := []string{c.AlgorithmHeader, c.KeyIDHeader}
	if c.Signature.From == "header" {
		names = append(names, c.Signature.Names...)
	}
	if c.Timestamp.From == "header" {
		names = append(names, c.Timestamp.Names...)
	}
	return names
}

// Parameter returns the query parameter that a request is verified by, "" for none.
func (s *Scheme) Parameter() string {
	if s.config.Signature.From != "query" {
		return ""
	}
	return s.config.Signature.Names[0]
}

// SecretTexts yields each secret as it may be in a request: of "user:password" the password
// too, and of a key that is written in base64 or hex what it stands for. Public keys are none.
func (s *Scheme) SecretTexts(yield func(text []byte) bool) {
	for _, secret := range s.config.Secrets {
		if s.config.guarded(secret.Key, s.family.keys) == nil {
			continue
		}
		text := secret.Key
		if s.config.Derive == "whsec" {
			text = bytes.TrimPrefix(text, []byte(secretPrefix)) // with and without it, it is the same key
		}
		if !yield(text) {
			return
		}
		if key := s.config.guarded(text, s.family.keys); len(key) >= leastPart && !bytes.Equal(key, text) && !yield(key) {
			return
		}
	}
}

// leastPart is how short a part of a secret may be that is a secret by itself.
const leastPart = 8

// Guarded returns what of a secret's text has to be known to act as the sender, however the
// text is written: of "user:password" the password, else the key that it stands for. It is
// nil for a public key.
func (c Config) Guarded(text []byte) []byte {
	family := familyOf(c.Scheme)
	if family == nil {
		return text
	}
	full := family.complete(c)
	return full.guarded(text, family.keys)
}

func (c *Config) guarded(text []byte, form keyForm) []byte {
	switch {
	case form == edKeys || form == pairKeys && bytes.HasPrefix(text, []byte(publicPrefix)):
		return nil
	case form == basicKeys:
		_, password, _ := bytes.Cut(text, []byte(":"))
		return password
	}
	if key, problem := c.derive(text, form); problem == "" {
		return key
	}
	return text
}
