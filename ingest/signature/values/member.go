// Package values reads and writes the texts of which signed requests are made: members of
// JSON, query parameters and times. In come raw bytes, out comes a value that shares their
// memory where it can, so that reading does not allocate. Package signature calls it.
package values

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/fincart/courier-gateway/ingest/jsontext"
)

// Whether a body is accepted is decided elsewhere, by stricter rules. Here all that
// encoding/json takes is JSON, so that a sender whose signature is valid learns of the
// body's fault and not of its signature.

// IsObject reports whether text is a JSON object.
func IsObject(text []byte) bool {
	s := jsontext.NewLenientScanner(text)
	s.Space()
	object := s.Peek() == '{'
	s.Skip()
	s.End()
	return object && !s.Failed()
}

// Member returns the raw value of an object's member, and how often the member
// is there. Whatever is no object has none. The value shares memory with object.
func Member(object []byte, name string) (value []byte, count int) {
	start, stop, count := locate(object, name)
	return object[start:stop], count
}

// locate returns where in object the value of a member starts and stops, and how
// often the member is there.
func locate(object []byte, name string) (start, stop, count int) {
	s := jsontext.NewLenientScanner(object)
	s.Space()
	if s.Peek() != '{' {
		return 0, 0, 0
	}
	for ok := s.Enter('}'); ok; ok = s.More('}') {
		found := s.Key() == name
		value := s.Pos()
		s.Skip()
		if !found {
			continue
		}
		if count == 0 {
			start, stop = value, s.Pos()
		}
		count++
	}
	return start, stop, count
}

// Descend is [Member] along a path.
func Descend(object []byte, path []string) (value []byte, count int) {
	value = object
	for _, name := range path {
		if value, count = Member(value, name); count != 1 {
			return value, count
		}
	}
	return value, count
}

// Inside returns what is between the quotes of a string; not ok when raw is
// another value.
func Inside(raw []byte) (text []byte, ok bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return nil, false
	}
	return raw[1 : len(raw)-1], true
}

// AppendText appends what the inside of a JSON string means; not ok unless all of it is
// ASCII. Without an escape text is raw itself; out is always dst with what was
// appended.
func AppendText(dst, raw []byte) (out, text []byte, ok bool) {
	if bytes.IndexByte(raw, '\\') < 0 {
		return dst, raw, true
	}
	out = jsontext.AppendUnescaped(dst, raw)
	text = out[len(dst):len(out):len(out)]
	if bytes.IndexFunc(text, func(r rune) bool { return r >= 0x80 }) >= 0 {
		return dst, nil, false
	}
	return out, text, true
}

// SetMember returns object with the member at path set to value, which is raw
// JSON: in place of what is there, or else in front of all others.
func SetMember(object []byte, path []string, value []byte) ([]byte, error) {
	if !IsObject(object) {
		return nil, fmt.Errorf("the body is no JSON object, so member %s can't be set", strings.Join(path, "."))
	}
	from, to, count := locate(object, path[0])
	if count > 1 {
		return nil, fmt.Errorf("the body has member %s %d times", path[0], count)
	}
	if len(path) > 1 {
		inner := object[from:to]
		if count == 0 {
			inner = []byte("{}")
		}
		var err error
		if value, err = SetMember(inner, path[1:], value); err != nil {
			return nil, err
		}
	}
	if count == 1 {
		return concat(object[:from], value, object[to:]), nil
	}
	s := jsontext.NewLenientScanner(object)
	s.Space()
	first := s.Pos() + 1 // behind the opening bracket
	comma := []byte(",")
	if !s.Enter('}') {
		comma = nil
	}
	return concat(object[:first], jsontext.AppendString(nil, path[0]), []byte(":"), value, comma, object[first:]), nil
}

func concat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
