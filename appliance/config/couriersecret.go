package config

import (
	"fmt"
	"reflect"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// CourierSecret is one of a courier's secrets, and when it counts.
type CourierSecret struct {
	Secret    Secret
	NotBefore time.Time // zero for no bound
	NotAfter  time.Time // zero for no bound
}

// String returns the reference and when it counts.
func (s CourierSecret) String() string {
	text := s.Secret.String()
	if !s.NotBefore.IsZero() {
		text += " from " + s.NotBefore.Format(time.RFC3339)
	}
	if !s.NotAfter.IsZero() {
		text += " until " + s.NotAfter.Format(time.RFC3339)
	}
	return text
}

// decodeSecret lets a secret be written as its reference alone, or as a table with
// the times between which it counts.
func decodeSecret(_, to reflect.Type, value any) (any, error) {
	if to != reflect.TypeFor[CourierSecret]() {
		return value, nil
	}
	switch v := value.(type) {
	case string:
		return CourierSecret{Secret: Secret(v)}, nil
	case map[string]any:
		return secretOfTable(v)
	default:
		return nil, fmt.Errorf(`is neither "env:NAME", nor "file:PATH", nor a table with secret, not_before and not_after`)
	}
}

func secretOfTable(table map[string]any) (s CourierSecret, err error) {
	for name, value := range table {
		switch name {
		case "secret":
			text, _ := value.(string)
			s.Secret = Secret(text)
		case "not_before":
			s.NotBefore, err = timeOf(value)
		case "not_after":
			s.NotAfter, err = timeOf(value)
		default:
			err = fmt.Errorf("there is no key %q in a secret: secret, not_before and not_after are", name)
		}
		if err != nil {
			return s, err
		}
	}
	if !s.Secret.IsSet() {
		return s, fmt.Errorf("has no secret")
	}
	return s, nil
}

// timeOf reads a time as TOML has it, or RFC 3339 text; a date alone is its start
// in UTC.
func timeOf(value any) (time.Time, error) {
	switch v := value.(type) {
	case time.Time:
		return v, nil
	case toml.LocalDate:
		return v.AsTime(time.UTC), nil
	case string:
		if at, err := time.Parse(time.RFC3339, v); err == nil {
			return at, nil
		}
		if at, err := time.Parse(time.DateOnly, v); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%v is no time such as 2026-12-31T00:00:00Z", value)
}
