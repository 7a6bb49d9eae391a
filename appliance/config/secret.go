package config

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// Secret refers to a secret: "env:NAME" is an environment variable, "file:PATH" a
// file whose final line break does not count. The configuration never holds the
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

// Resolve reads the secret. It fails when there is none, or an empty one.
func (s Secret) Resolve() ([]byte, error) {
	kind, name, _ := strings.Cut(string(s), ":")
	var value []byte
	switch kind {
	case "env":
		value = []byte(os.Getenv(name))
	case "file":
		raw, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read the secret: %w", err)
		}
		value = bytes.TrimSuffix(bytes.TrimSuffix(raw, []byte("\n")), []byte("\r"))
	default:
		return nil, fmt.Errorf("is neither env:NAME nor file:PATH; a secret itself does not belong in the configuration")
	}
	switch {
	case len(value) == 0 && kind == "env":
		return nil, fmt.Errorf("%s is empty or not set in the environment of this process, which can't change while it runs", s)
	case len(value) == 0:
		return nil, fmt.Errorf("%s is empty", s)
	}
	return value, nil
}

// resolveAll reads several secrets; each one that fails is one fault.
func resolveAll(f *faults, key string, secrets []Secret) [][]byte {
	var values [][]byte
	for i, s := range secrets {
		value, err := s.Resolve()
		if err != nil {
			f.add(fmt.Sprintf("%s[%d]", key, i), "%v", err)
			continue
		}
		values = append(values, value)
	}
	return values
}
