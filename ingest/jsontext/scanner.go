// Package jsontext reads and writes JSON (RFC 8259) without allocating.
//
// A JSON text goes in, as bytes or as a string; a [Scanner] walks over it and
// hands out member names, the text of strings and the raw form of values, all of
// which share memory with it. [AppendString] writes the one thing that is not
// easily written with append: a string.
//
//	s := jsontext.NewScanner(text)
//	s.Space()
//	if s.Peek() == '{' {
//		for ok := s.Enter('}'); ok; ok = s.More('}') {
//			switch s.Key() {
//			case "id":
//				id = s.Value()
//			default:
//				s.Skip()
//			}
//		}
//	}
//	s.End()
//	if s.Failed() {
//		return errors.New(s.Problem())
//	}
//
// It is a leaf on the standard library, and every package may import it. Where
// neither speed nor allocations matter, encoding/json is the better choice.
package jsontext

import (
	"bytes"
	"strconv"
	"unsafe"
)

// MaxDepth bounds the nesting of arrays and objects.
const MaxDepth = 64

// maxLenientDepth is the bound of encoding/json.
const maxLenientDepth = 10000

// Scanner walks over one JSON text. It is as strict as the grammar of RFC 8259 and in
// two points stricter, as the RFC allows: the text is valid UTF-8 (section 8.1), and
// nothing nests deeper than [MaxDepth] (section 9). A lenient one is as encoding/json in
// these points. A byte order mark in front of the text is ignored (section 8.1).
//
// An escape that is half a surrogate pair is in the grammar, but readers disagree on what
// it means (section 8.2), and RFC 8785 refuses it. It is passed over; [Scanner.Text] and
// [HalfPair] report it to who wants to know what a string means.
//
// Its methods consume what they name and never look past it. The first fault
// sticks: it moves the Scanner to the end of the text, where every loop ends.
// The zero Scanner is at the end of an empty text.
type Scanner struct {
	text     []byte
	pos      int // of the next byte
	depth    int // open arrays and objects
	maxDepth int
	lenient  bool
	want     string // what was expected where the scan failed; "" without a fault
	at       int    // where it failed
}

// NewScanner returns a Scanner at the start of text, which must not change while
// it or what it has handed out is used.
func NewScanner(text []byte) Scanner {
	return Scanner{text: text, pos: markBytes(text), maxDepth: MaxDepth}
}

// NewStringScanner is [NewScanner] for a string.
func NewStringScanner(text string) Scanner {
	return NewScanner(unsafe.Slice(unsafe.StringData(text), len(text))) // which is only read
}

// NewLenientScanner is [NewScanner] for a text that is checked by other rules
// elsewhere. The Scanner accepts what encoding/json accepts: also strings that
// are not valid UTF-8, and nesting to 10000 levels.
func NewLenientScanner(text []byte) Scanner {
	return Scanner{text: text, pos: markBytes(text), maxDepth: maxLenientDepth, lenient: true}
}

// byteOrderMark is U+FEFF in UTF-8.
const byteOrderMark = "\xef\xbb\xbf"

// markBytes returns the length of the byte order mark in front of a text.
func markBytes(text []byte) int {
	if len(text) >= len(byteOrderMark) && string(text[:len(byteOrderMark)]) == byteOrderMark {
		return len(byteOrderMark)
	}
	return 0
}

// Fail records a fault unless there is one already; want completes "expected …".
func (s *Scanner) Fail(want string) {
	if s.want == "" {
		s.want, s.at = want, s.pos
	}
	s.pos = len(s.text)
}

// Failed reports whether there is a fault.
func (s *Scanner) Failed() bool { return s.want != "" }

// Problem describes the fault that stopped the scan.
func (s *Scanner) Problem() string {
	where := strconv.Itoa(s.at)
	if s.at >= len(s.text) {
		where += ", where the body ends"
	}
	return "is not valid JSON: expected " + s.want + " at byte " + where
}

// Pos returns the index of the next byte.
func (s *Scanner) Pos() int { return s.pos }

// Seek moves the Scanner to the start of a value that it has consumed before, or
// back behind it. After a fault it does nothing.
func (s *Scanner) Seek(pos int) {
	if !s.Failed() {
		s.pos = pos
	}
}

// Peek returns the next byte, 0 at the end of the text. At a value it is what
// [Kind] accepts.
func (s *Scanner) Peek() byte {
	if s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

// Space consumes insignificant white space. It is needed before and behind the
// outermost value only.
func (s *Scanner) Space() {
	for s.pos < len(s.text) && s.text[s.pos] <= ' ' {
		if c := s.text[s.pos]; c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return
		}
		s.pos++
	}
}

// End consumes white space up to the end of the text; anything else is a fault.
func (s *Scanner) End() {
	s.Space()
	if s.pos < len(s.text) {
		s.Fail("the end of the body")
	}
}

// Enter consumes the bracket that opens an array or object, whose closing one is
// end, and reports whether an element or member follows. An empty one is consumed
// whole.
func (s *Scanner) Enter(end byte) bool {
	if s.depth == s.maxDepth {
		s.Fail("no more than " + strconv.Itoa(s.maxDepth) + " levels of nesting (a bound that RFC 8259, section 9, allows)")
		return false
	}
	s.depth++
	s.pos++
	s.Space()
	return !s.leave(end)
}

// More consumes what is between elements or members and reports whether
// another follows. Otherwise it consumes the closing bracket.
func (s *Scanner) More(end byte) bool {
	s.Space()
	if s.leave(end) || s.Failed() {
		return false
	}
	if s.Peek() != ',' {
		s.Fail("',' or '" + string(rune(end)) + "'")
		return false
	}
	s.pos++
	s.Space()
	return true
}

func (s *Scanner) leave(end byte) bool {
	if s.Peek() != end {
		return false
	}
	s.pos++
	s.depth--
	return true
}

// Key consumes a member's name, the colon and the space around it. The name
// shares memory with the text unless it has escapes.
func (s *Scanner) Key() string {
	return meaning(s.rawKey())
}

func (s *Scanner) rawKey() (raw []byte, escaped bool) {
	if s.Peek() != '"' {
		s.Fail("a member name in double quotes")
		return nil, false
	}
	raw, escaped = s.Quoted()
	s.Space()
	if s.Peek() != ':' {
		s.Fail("':'")
		return nil, false
	}
	s.pos++
	s.Space()
	return raw, escaped
}

// Value consumes one value of any kind and returns it as it is in the text.
func (s *Scanner) Value() []byte {
	start := s.pos
	s.Skip()
	return s.text[start:s.pos]
}

// Skip consumes one value of any kind.
func (s *Scanner) Skip() {
	switch s.Peek() {
	case '{', '[':
		s.skipNested()
	case '"':
		s.Quoted()
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

// skipNested consumes an array or object. It keeps for each level that it is in
// one bit, 1 for an object: those of the innermost 64 in one word, the others,
// which only a lenient Scanner reaches, in outer.
func (s *Scanner) skipNested() {
	const opening = '}' - '{' // from a bracket to the one that closes it
	base, levels := s.depth, uint64(0)
	var outer []uint64
	for {
		var entered bool
		if c := s.Peek(); c == '{' || c == '[' {
			if n := s.depth - base; n > 0 && n%64 == 0 {
				outer = append(outer, levels)
			}
			levels = levels<<1 | uint64(c>>5&1)
			entered = s.Enter(c + opening)
		} else {
			s.Skip()
			entered = s.More(closing(levels))
		}
		for !entered { // the level ends here
			if s.depth == base || s.Failed() {
				return
			}
			levels >>= 1
			if n := s.depth - base; n%64 == 0 {
				levels, outer = outer[len(outer)-1], outer[:len(outer)-1]
			}
			entered = s.More(closing(levels))
		}
		if levels&1 == 1 {
			s.rawKey()
		}
	}
}

// closing returns the bracket that closes the innermost level.
func closing(levels uint64) byte {
	if levels&1 == 1 {
		return '}'
	}
	return ']'
}

func (s *Scanner) literal(word string) {
	if !bytes.HasPrefix(s.text[s.pos:], []byte(word)) {
		s.Fail("'" + word + "'")
		return
	}
	s.pos += len(word)
}

// number consumes a number. Its size is no concern: numbers are not converted
// here.
func (s *Scanner) number() {
	negative := s.Peek() == '-'
	if negative {
		s.pos++
	}
	switch c := s.Peek(); {
	case c == '0':
		s.pos++
	case c >= '1' && c <= '9':
		s.digits()
	case negative:
		s.Fail("a digit")
	default:
		s.Fail("a value")
	}
	if s.Peek() == '.' {
		s.pos++
		s.digits()
	}
	if c := s.Peek(); c == 'e' || c == 'E' {
		s.pos++
		if c = s.Peek(); c == '+' || c == '-' {
			s.pos++
		}
		s.digits()
	}
}

func (s *Scanner) digits() {
	start := s.pos
	for s.pos < len(s.text) && s.text[s.pos]-'0' <= 9 {
		s.pos++
	}
	if s.pos == start {
		s.Fail("a digit")
	}
}

// Kind names the type of the value that starts with c.
func Kind(c byte) string {
	switch c {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	default:
		return "a number"
	}
}
