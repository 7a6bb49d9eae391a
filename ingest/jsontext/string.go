package jsontext

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// Text consumes a string and returns what it means, which shares memory with the
// text unless an escape had to be resolved; whole is false when it has half a surrogate
// pair, which is U+FFFD in the text.
func (s *Scanner) Text() (text string, whole bool) {
	raw, escaped := s.Quoted()
	return meaning(raw, escaped), !escaped || !HalfPair(raw)
}

func meaning(raw []byte, escaped bool) string {
	if escaped {
		return Unescape(raw)
	}
	return unsafe.String(unsafe.SliceData(raw), len(raw))
}

// HalfPair reports whether the inside of a string that a [Scanner] has consumed has
// an escape that is half a surrogate pair.
func HalfPair(raw []byte) bool {
	for {
		at := bytes.IndexByte(raw, '\\')
		if at < 0 {
			return false
		}
		if raw = raw[at+1:]; raw[0] != 'u' {
			raw = raw[1:]
			continue
		}
		r, _ := hex4(raw[1:])
		if raw = raw[5:]; utf16.IsSurrogate(r) {
			if pair(r, raw) == utf8.RuneError {
				return true
			}
			raw = raw[6:]
		}
	}
}

// Quoted consumes a string and returns what is between its quotes, and
// whether that has escapes.
func (s *Scanner) Quoted() (raw []byte, escaped bool) {
	s.pos++
	start := s.pos
	for {
		s.pos += plain(s.text[s.pos:])
		switch c := s.Peek(); {
		case s.pos >= len(s.text):
			s.Fail("the string's closing quote")
			return nil, false
		case c == '"':
			s.pos++
			return s.text[start : s.pos-1], escaped
		case c == '\\':
			escaped = true
			s.escape()
		case c < ' ':
			s.Fail("no unescaped control character")
		default:
			if r, size := utf8.DecodeRune(s.text[s.pos:]); r != utf8.RuneError || size > 1 || s.lenient {
				s.pos += size
			} else {
				s.Fail("valid UTF-8 (RFC 8259, section 8.1)")
			}
		}
	}
}

// plain returns the length of the run at the start of b that needs no attention
// inside a string: printable ASCII without quote and backslash. It tests eight
// bytes at once; a borrow can only disturb bytes above one that stops the run.
func plain(b []byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	n := 0
	for ; len(b)-n >= 8; n += 8 {
		x := binary.LittleEndian.Uint64(b[n:])
		quote, slash := x^ones*'"', x^ones*'\\'
		if stops := (x | (x - ones*' ') | (quote - ones) | (slash - ones)) & highs; stops != 0 {
			return n + bits.TrailingZeros64(stops)/8
		}
	}
	for n < len(b) && b[n] >= ' ' && b[n] != '"' && b[n] != '\\' && b[n] < utf8.RuneSelf {
		n++
	}
	return n
}

// escape consumes one escape sequence, of a surrogate pair one half.
func (s *Scanner) escape() {
	if s.pos+1 >= len(s.text) {
		s.pos = len(s.text)
		return // the caller misses the closing quote
	}
	switch s.text[s.pos+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos += 2
	case 'u':
		if _, ok := hex4(s.text[s.pos+2:]); !ok {
			s.Fail("four hex digits in the escape")
			return
		}
		s.pos += 6
	default:
		s.Fail("a known escape")
	}
}

// pair returns the character of a surrogate pair: high, and the escape that b
// starts with; [utf8.RuneError] when the two are no pair.
func pair(high rune, b []byte) rune {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return utf8.RuneError
	}
	low, ok := hex4(b[2:])
	if !ok {
		return utf8.RuneError
	}
	return utf16.DecodeRune(high, low)
}

// hex4 reads the four hex digits at the start of b.
func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		switch {
		case c-'0' <= 9:
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// Unescape returns what the inside of a string means that a [Scanner] has
// consumed. Half a surrogate pair is U+FFFD.
func Unescape(raw []byte) string {
	out := AppendUnescaped(make([]byte, 0, len(raw)), raw)
	return unsafe.String(unsafe.SliceData(out), len(out))
}

// AppendUnescaped appends what [Unescape] returns.
func AppendUnescaped(dst, raw []byte) []byte {
	for len(raw) > 0 {
		if raw[0] != '\\' {
			n := bytes.IndexByte(raw, '\\')
			if n < 0 {
				n = len(raw)
			}
			dst, raw = append(dst, raw[:n]...), raw[n:]
			continue
		}
		if raw[1] != 'u' {
			dst, raw = append(dst, control(raw[1])), raw[2:]
			continue
		}
		r, _ := hex4(raw[2:])
		raw = raw[6:]
		if utf16.IsSurrogate(r) {
			if r = pair(r, raw); r != utf8.RuneError {
				raw = raw[6:]
			}
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}

// control returns what a backslash and c mean.
func control(c byte) byte {
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

// AppendString appends s, which is valid UTF-8, as a JSON string. It escapes what
// it must and no more, so that people can read it.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	done := 0 // s[:done] is written
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[done:i]...)
		done = i + 1
		if c >= ' ' {
			dst = append(dst, '\\', c)
			continue
		}
		const hex = "0123456789abcdef"
		dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
	}
	return append(append(dst, s[done:]...), '"')
}
