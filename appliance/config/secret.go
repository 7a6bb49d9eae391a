package config

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/fincart/courier-gateway/jetstream/durable"
)

// Secret refers to a secret: "env:NAME" is an environment variable, "file:PATH" a
// file. The configuration never holds the
// secret itself, so it can be shown, logged and committed.
type Secret string

// IsSet reports whether there is a reference.
func (s Secret) IsSet() bool { return s != "" }

// String returns the reference; a text that is no reference is hidden, because it may
// be a secret in the wrong place.
func (s Secret) String() string {
	if s == "" || strings.HasPrefix(string(s), "env:") || strings.HasPrefix(string(s), "file:") {
		return string(s)
	}
	return "(hidden)"
}

// Resolve reads the secret. It fails when there is none, or an empty one. A byte order
// mark before it and line breaks behind it do not count: editors and shells leave them.
func (s Secret) Resolve() ([]byte, error) {
	raw, err := s.read()
	if err != nil {
		return nil, err
	}
	value := bytes.TrimRight(bytes.TrimPrefix(raw, utf8Mark), "\r\n")
	switch {
	case len(value) == 0 && strings.HasPrefix(string(s), "env:"):
		return nil, fmt.Errorf("%s is empty or not set in the environment of this process, which can't change while it runs", s)
	case len(value) == 0:
		return nil, fmt.Errorf("%s is empty", s)
	}
	return value, nil
}

// resolveOwn is [Secret.Resolve] for a secret that no other user may have chosen.
func (s Secret) resolveOwn() ([]byte, error) {
	if path := s.File(); path != "" {
		if err := durable.OwnedTarget(path); err != nil {
			return nil, err
		}
	}
	return s.Resolve()
}

// read returns what the environment or the file has.
func (s Secret) read() ([]byte, error) {
	switch kind, name, _ := strings.Cut(string(s), ":"); kind {
	case "env":
		return []byte(os.Getenv(name)), nil
	case "file":
		raw, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read the secret: %w", err)
		}
		return raw, nil
	default:
		return nil, fmt.Errorf("is neither env:NAME nor file:PATH; a secret itself does not belong in the configuration")
	}
}

// leastOwnBytes is how short a secret of ours may be that is kept out of records: a shorter
// one would take out what many requests have by chance.
const leastOwnBytes = 8

// OwnSecrets returns what no request has a reason to contain: the keys of the queue, and the
// passwords of the stores. The operators' tokens are those of [Config.OpenAccess].
func OwnSecrets(c Config) (own [][]byte) {
	keys := c.JetStream.StampKeys
	if len(keys) == 0 {
		keys = []Secret{Secret("file:" + filepath.Join(c.DataDir, StampKeyFile))}
	}
	for _, key := range keys {
		value, _ := key.Resolve() // a start fails without it, elsewhere
		own = append(own, value)
	}
	for _, address := range []Secret{c.Persistence.MongoURI, c.Persistence.RedisURL} {
		if value, err := address.Resolve(); err == nil {
			own = append(own, passwordOf(string(value)))
		}
	}
	return slices.DeleteFunc(own, func(s []byte) bool { return len(s) < leastOwnBytes })
}

// passwordOf returns the password in an address, which may have several hosts.
func passwordOf(address string) []byte {
	_, rest, _ := strings.Cut(address, "://")
	authority, _, _ := strings.Cut(rest, "/")
	user := authority[:max(0, strings.LastIndexByte(authority, '@'))]
	_, password, _ := strings.Cut(user, ":")
	if plain, err := url.PathUnescape(password); err == nil {
		password = plain
	}
	return []byte(password)
}

// File returns the path of a secret in a file, "" for another one.
func (s Secret) File() string {
	path, isFile := strings.CutPrefix(string(s), "file:")
	if !isFile {
		return ""
	}
	return path
}

var utf8Mark = []byte("\uFEFF")

// Flaws says what about a secret that can be read is likely a mistake, in words that
// reveal nothing of it. What is no text is random bytes, which have no flaws of these kinds.
func (s Secret) Flaws() (flaws []string) {
	raw, err := s.read()
	value, resolveErr := s.Resolve()
	if err != nil || resolveErr != nil {
		return nil
	}
	found := func(is bool, flaw string) {
		if is {
			flaws = append(flaws, flaw)
		}
	}
	found(bytes.HasPrefix(raw, utf8Mark), "begins with a byte order mark, which does not count: save it without one")
	found(bytes.HasPrefix(raw, []byte("\xFF\xFE")) || bytes.HasPrefix(raw, []byte("\xFE\xFF")), "begins with the byte order mark of UTF-16: save it as UTF-8, without a mark")
	if !utf8.Valid(value) {
		return flaws
	}
	text := string(value)
	bare := strings.TrimSpace(text)
	found(bare != strings.TrimLeftFunc(text, unicode.IsSpace) || bare != strings.TrimRightFunc(text, unicode.IsSpace),
		"has white space at its beginning or end, which counts")
	found(strings.ContainsFunc(bare, unicode.IsSpace), "has white space inside, which counts")
	found(inQuotes(bare), "is in quotes, which count as a part of it")
	for _, r := range text {
		if !unicode.IsSpace(r) && (!unicode.IsPrint(r) || r == utf8.RuneError) {
			found(true, fmt.Sprintf("has a character that can't be seen (U+%04X), which counts", r))
			break
		}
	}
	return flaws
}

// inQuotes reports whether a text is between two quotes of one kind.
func inQuotes(text string) bool {
	for _, pair := range [][2]string{{`"`, `"`}, {"'", "'"}, {"`", "`"}, {"\u201C", "\u201D"}, {"\u2018", "\u2019"}} {
		if len(text) > 1 && strings.HasPrefix(text, pair[0]) && strings.HasSuffix(text, pair[1]) {
			return true
		}
	}
	return false
}

// resolveAll reads several secrets of our own; each one that fails is one fault.
func resolveAll(f *faults, key string, secrets []Secret) [][]byte {
	var values [][]byte
	for i, s := range secrets {
		value, err := s.resolveOwn()
		if err != nil {
			f.add(fmt.Sprintf("%s[%d]", key, i), "%v", err)
			continue
		}
		values = append(values, value)
	}
	return values
}
