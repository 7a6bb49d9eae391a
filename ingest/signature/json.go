package signature

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// What is read of JSON here has passed [json.Valid], so these functions find
// their way by a few bytes only. They are bounded by the text all the same.

// space returns the index of the first byte at or behind i that is no white space.
func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// pastString returns the index behind the string that starts at b[i].
func pastString(b []byte, i int) int {
	for end := i + 1; end < len(b); end++ {
		next := bytes.IndexByte(b[end:], '"')
		if next < 0 {
			break
		}
		end += next
		before := end - 1
		for before > i && b[before] == '\\' {
			before--
		}
		if (end-before)%2 == 1 { // an even number of backslashes
			return end + 1
		}
	}
	return len(b)
}

// pastValue returns the index behind the value that starts at b[i].
func pastValue(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			i = pastString(b, i)
		case '{', '[':
			depth++
			i++
			continue
		case '}', ']':
			depth--
			i++
		case ',', ':', ' ', '\n', '\r', '\t':
			i++
			continue
		default: // a number or a word
			for i < len(b) && !strings.ContainsRune(",]} \n\r\t", rune(b[i])) {
				i++
			}
		}
		if depth <= 0 {
			return i
		}
	}
	return i
}

// member returns the raw value of an object's member, and how often the member
// is there. Whatever is no object has none. The value shares memory with object.
func member(object []byte, name string) (value []byte, count int) {
	start, stop, count := locate(object, name)
	return object[start:stop], count
}

// locate returns where in object the value of a member starts and stops, and how
// often the member is there.
func locate(object []byte, name string) (start, stop, count int) {
	i := space(object, 0)
	if i >= len(object) || object[i] != '{' {
		return 0, 0, 0
	}
	for i = space(object, i+1); i < len(object) && object[i] == '"'; {
		end := pastString(object, i)
		value := min(space(object, space(object, end)+1), len(object)) // behind the colon
		past := pastValue(object, value)
		if sameText(object[i+1:max(end-1, i+1)], name) {
			if count == 0 {
				start, stop = value, past
			}
			count++
		}
		i = space(object, space(object, past)+1) // behind the comma
	}
	return start, stop, count
}

// descend is member along a path.
func descend(object []byte, path []string) (value []byte, count int) {
	value = object
	for _, name := range path {
		if value, count = member(value, name); count != 1 {
			return value, count
		}
	}
	return value, count
}

// inside returns what stands between the quotes of a string; not ok when raw is
// another value.
func inside(raw []byte) (text []byte, ok bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return nil, false
	}
	return raw[1 : len(raw)-1], true
}

// sameText reports whether the inside of a JSON string means want, which is
// printable ASCII.
func sameText(raw []byte, want string) bool {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw) == want
	}
	for len(raw) > 0 && want != "" {
		c, rest, ok := nextASCII(raw)
		if !ok || c != want[0] {
			return false
		}
		raw, want = rest, want[1:]
	}
	return len(raw) == 0 && want == ""
}

// appendText appends what the inside of a JSON string means; not ok unless all
// of it is ASCII. Without an escape it returns raw itself as text.
func appendText(dst, raw []byte) (out, text []byte, ok bool) {
	if bytes.IndexByte(raw, '\\') < 0 {
		return dst, raw, true
	}
	out = dst
	for len(raw) > 0 {
		c, rest, ok := nextASCII(raw)
		if !ok {
			return dst, nil, false
		}
		out, raw = append(out, c), rest
	}
	return out, out[len(dst):len(out):len(out)], true
}

// nextASCII reads one character of the inside of a JSON string, which is not
// empty; not ok when it is no ASCII.
func nextASCII(raw []byte) (c byte, rest []byte, ok bool) {
	if raw[0] != '\\' {
		return raw[0], raw[1:], raw[0] < 0x80
	}
	if len(raw) < 2 {
		return 0, nil, false
	}
	if raw[1] != 'u' {
		return meaning(raw[1]), raw[2:], true
	}
	if len(raw) < 6 {
		return 0, nil, false
	}
	code := 0
	for _, d := range raw[2:6] {
		digit := bytes.IndexByte([]byte("0123456789abcdef"), d|0x20)
		if digit < 0 {
			return 0, nil, false
		}
		code = code<<4 | digit
	}
	return byte(code), raw[6:], code < 0x80
}

// meaning returns what a backslash and c stand for.
func meaning(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	default:
		return c
	}
}

// setMember returns object with the member at path set to value, which is raw
// JSON: in place of what is there, or else in front of all others.
func setMember(object []byte, path []string, value []byte) ([]byte, error) {
	start := space(object, 0)
	if !json.Valid(object) || object[start] != '{' {
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
		if value, err = setMember(inner, path[1:], value); err != nil {
			return nil, err
		}
	}
	if count == 1 {
		return concat(object[:from], value, object[to:]), nil
	}
	comma := []byte(",")
	if object[space(object, start+1)] == '}' {
		comma = nil
	}
	return concat(object[:start+1], []byte(`"`+path[0]+`":`), value, comma, object[start+1:]), nil
}

func concat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
