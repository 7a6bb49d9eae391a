package event

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// scanner walks over one JSON text (RFC 8259) without allocating. It is as
// strict as the standard and in three points stricter, so that no two readers of
// an accepted body can disagree on it: the text is valid UTF-8, no escape is half
// a surrogate pair, and nothing nests deeper than [MaxDepth].
//
// Its methods consume what they name and never look past it. The first fault
// sticks: it moves the scanner to the end of the text, where every loop ends.
type scanner struct {
	src   []byte
	pos   int    // of the next byte
	depth int    // open arrays and objects
	want  string // what was expected where the scan failed; "" while all is well
	at    int    // where it failed
}

func (s *scanner) fail(want string) {
	if s.want == "" {
		s.want, s.at = want, s.pos
	}
	s.pos = len(s.src)
}

func (s *scanner) failed() bool { return s.want != "" }

// problem describes the fault that stopped the scan.
func (s *scanner) problem() string {
	where := strconv.Itoa(s.at)
	if s.at >= len(s.src) {
		where += ", where the body ends"
	}
	return "is not valid JSON: expected " + s.want + " at byte " + where
}

// peek returns the next byte, 0 at the end of the text.
func (s *scanner) peek() byte {
	if s.pos < len(s.src) {
		return s.src[s.pos]
	}
	return 0
}

// space consumes insignificant white space.
func (s *scanner) space() {
	for s.pos < len(s.src) && s.src[s.pos] <= ' ' {
		if c := s.src[s.pos]; c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return
		}
		s.pos++
	}
}

// enter consumes the bracket that opens an array or object and reports whether
// an element or member follows. An empty one is consumed whole.
func (s *scanner) enter(end byte) bool {
	if s.depth == MaxDepth {
		s.fail("no more than " + strconv.Itoa(MaxDepth) + " levels of nesting")
		return false
	}
	s.depth++
	s.pos++
	s.space()
	return !s.leave(end)
}

// more consumes what stands between elements or members and reports whether
// another follows. Otherwise it consumes the closing bracket.
func (s *scanner) more(end byte) bool {
	s.space()
	if s.leave(end) || s.failed() {
		return false
	}
	if s.peek() != ',' {
		s.fail("',' or '" + string(rune(end)) + "'")
		return false
	}
	s.pos++
	s.space()
	return true
}

func (s *scanner) leave(end byte) bool {
	if s.peek() != end {
		return false
	}
	s.pos++
	s.depth--
	return true
}

// key consumes a member's name, the colon and the space around it. The name may
// share memory with the text.
func (s *scanner) key() string {
	if s.peek() != '"' {
		s.fail("a member name in double quotes")
		return ""
	}
	name := s.str()
	s.space()
	if s.peek() != ':' {
		s.fail("':'")
		return ""
	}
	s.pos++
	s.space()
	return name
}

// skip consumes one value of any kind.
func (s *scanner) skip() {
	switch c := s.peek(); c {
	case '{':
		for ok := s.enter('}'); ok; ok = s.more('}') {
			s.key()
			s.skip()
		}
	case '[':
		for ok := s.enter(']'); ok; ok = s.more(']') {
			s.skip()
		}
	case '"':
		s.quoted()
	case 't':
		s.literal("true")
	case 'f':
		s.literal("false")
	case 'n':
		s.literal("null")
	default:
		s.number()
	}
}

func (s *scanner) literal(word string) {
	if !bytes.HasPrefix(s.src[s.pos:], []byte(word)) {
		s.fail("'" + word + "'")
		return
	}
	s.pos += len(word)
}

// number consumes a number. Its size is no concern: numbers are never converted.
func (s *scanner) number() {
	negative := s.peek() == '-'
	if negative {
		s.pos++
	}
	switch c := s.peek(); {
	case c == '0':
		s.pos++
	case c >= '1' && c <= '9':
		s.digits()
	case negative:
		s.fail("a digit")
	default:
		s.fail("a value")
	}
	if s.peek() == '.' {
		s.pos++
		s.digits()
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.pos++
		if c = s.peek(); c == '+' || c == '-' {
			s.pos++
		}
		s.digits()
	}
}

func (s *scanner) digits() {
	start := s.pos
	for s.pos < len(s.src) && s.src[s.pos]-'0' <= 9 {
		s.pos++
	}
	if s.pos == start {
		s.fail("a digit")
	}
}

// str consumes a string and returns its value, which shares memory with the text
// unless an escape had to be resolved.
func (s *scanner) str() string {
	raw, escaped := s.quoted()
	switch {
	case len(raw) == 0:
		return ""
	case escaped:
		return unescape(raw)
	default:
		return unsafe.String(&raw[0], len(raw))
	}
}

// quoted consumes a string and returns what stands between its quotes, and
// whether that holds escapes.
func (s *scanner) quoted() (raw []byte, escaped bool) {
	s.pos++
	start := s.pos
	for {
		s.pos += plain(s.src[s.pos:])
		switch c := s.peek(); {
		case s.pos >= len(s.src):
			s.fail("the string's closing quote")
			return nil, false
		case c == '"':
			s.pos++
			return s.src[start : s.pos-1], escaped
		case c == '\\':
			escaped = true
			s.escape()
		case c < ' ':
			s.fail("no unescaped control character")
		default:
			if r, size := utf8.DecodeRune(s.src[s.pos:]); r != utf8.RuneError || size > 1 {
				s.pos += size
			} else {
				s.fail("valid UTF-8")
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

// escape consumes one escape sequence, both halves of a surrogate pair at once.
func (s *scanner) escape() {
	if s.pos+1 >= len(s.src) {
		s.pos = len(s.src)
		return // the caller misses the closing quote
	}
	switch s.src[s.pos+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos += 2
	case 'u':
		r, ok := hex4(s.src[s.pos+2:])
		switch {
		case !ok:
			s.fail("four hex digits in the escape")
		case !utf16.IsSurrogate(r):
			s.pos += 6
		case lowHalf(s.src[s.pos+6:], r):
			s.pos += 12
		default:
			s.fail("both halves of a surrogate pair")
		}
	default:
		s.fail("a known escape")
	}
}

// lowHalf reports whether b starts with the escape that completes high.
func lowHalf(b []byte, high rune) bool {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return false
	}
	low, ok := hex4(b[2:])
	return ok && utf16.DecodeRune(high, low) != utf8.RuneError
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

// unescape resolves the escapes of a string that the scanner has accepted.
func unescape(raw []byte) string {
	out := make([]byte, 0, len(raw))
	for len(raw) > 0 {
		if raw[0] != '\\' {
			n := bytes.IndexByte(raw, '\\')
			if n < 0 {
				n = len(raw)
			}
			out, raw = append(out, raw[:n]...), raw[n:]
			continue
		}
		if raw[1] != 'u' {
			out, raw = append(out, meaning(raw[1])), raw[2:]
			continue
		}
		r, _ := hex4(raw[2:])
		raw = raw[6:]
		if utf16.IsSurrogate(r) {
			low, _ := hex4(raw[2:])
			r, raw = utf16.DecodeRune(r, low), raw[6:]
		}
		out = utf8.AppendRune(out, r)
	}
	return string(out)
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
