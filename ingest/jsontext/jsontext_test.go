package jsontext

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// scan walks over a whole text and returns what stopped it, "" for nothing.
func scan(s Scanner) string {
	s.Space()
	s.Skip()
	s.End()
	if s.Failed() {
		return strings.TrimPrefix(s.Problem(), "is not valid JSON: expected ")
	}
	return ""
}

func TestFaults(t *testing.T) {
	t.Parallel()
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, tc := range []struct{ text, want, lenient string }{
		{text: ` {"a" : [1, -2.5e+3, true, false, null, "x\"\\\/\b\f\n\r\t\u00e9\ud83d\udce6", {}, [], [{}, [[]]]]} `},
		{`{"a":1`, "',' or '}' at byte 6, where the body ends", "',' or '}' at byte 6, where the body ends"},
		{`[[1,{"a":[]}`, "',' or ']' at byte 12, where the body ends", "',' or ']' at byte 12, where the body ends"},
		{`[{"a":[1}]`, "',' or ']' at byte 8", "',' or ']' at byte 8"},
		{`{"a":[1],2}`, "a member name in double quotes at byte 9", "a member name in double quotes at byte 9"},
		{`[1,"a":2]`, "',' or ']' at byte 6", "',' or ']' at byte 6"},
		{`[]]`, "the end of the body at byte 2", "the end of the body at byte 2"},
		{"[\"a\xff\"]", "valid UTF-8 (RFC 8259, section 8.1) at byte 3", ""},
		{text: `["\ud83d", "\ud83d\u0041", {"\udce6": "\udce6\ud83d\udce6"}]`},
		{`"\ud83g"`, "four hex digits in the escape at byte 1", "four hex digits in the escape at byte 1"},
		{text: nested(MaxDepth)},
		{nested(MaxDepth + 1), "no more than 64 levels of nesting (a bound that RFC 8259, section 9, allows) at byte 64", ""},
		{strings.Repeat(`[{"a":`, 4000) + "7" + strings.Repeat("}]", 4000), "no more than 64 levels of nesting (a bound that RFC 8259, section 9, allows) at byte 192", ""},
		{nested(10000), "no more than 64 levels of nesting (a bound that RFC 8259, section 9, allows) at byte 64", ""},
		{nested(10001), "no more than 64 levels of nesting (a bound that RFC 8259, section 9, allows) at byte 64", "no more than 10000 levels of nesting (a bound that RFC 8259, section 9, allows) at byte 10000"},
		{strings.Repeat(`[[],{"a":[`, 300) + strings.Repeat("]}]", 299) + "]]]", "no more than 64 levels of nesting (a bound that RFC 8259, section 9, allows) at byte 211", "',' or '}' at byte 3898"},
	} {
		name := tc.text[:min(len(tc.text), 40)]
		if got := scan(NewScanner([]byte(tc.text))); got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
		if got := scan(NewStringScanner(tc.text)); got != tc.want {
			t.Errorf("%s as a string: got %q, want %q", name, got, tc.want)
		}
		if got := scan(NewLenientScanner([]byte(tc.text))); got != tc.lenient {
			t.Errorf("%s, lenient: got %q, want %q", name, got, tc.lenient)
		}
		if lenient := tc.lenient == ""; lenient != json.Valid([]byte(tc.text)) {
			t.Errorf("%s: encoding/json doesn't agree", name)
		}
	}
}

func TestWalk(t *testing.T) {
	t.Parallel()
	s := NewStringScanner(`{"a":"x","\u0062":"\u0079","c":[1, 2],"d":{"e":-1.5}}`)
	var got []string
	for ok := s.Enter('}'); ok; ok = s.More('}') {
		name := s.Key()
		got = append(got, name, Kind(s.Peek()))
		if s.Peek() == '"' {
			text, _ := s.Text()
			got = append(got, text)
		} else {
			got = append(got, string(s.Value()))
		}
	}
	s.End()
	want := `a|a string|x|b|a string|y|c|an array|[1, 2]|d|an object|{"e":-1.5}`
	if text := strings.Join(got, "|"); text != want || s.Failed() {
		t.Errorf("got %s (%v), want %s", text, s.Failed(), want)
	}
}

func TestSeek(t *testing.T) {
	t.Parallel()
	s := NewScanner([]byte(`[1,"two"]`))
	for ok, pos := s.Enter(']'), s.Pos(); ok; ok, pos = s.More(']'), s.Pos() {
		first := string(s.Value())
		end := s.Pos()
		s.Seek(pos)
		if again := string(s.Value()); again != first || s.Pos() != end {
			t.Errorf("read %s, then %s", first, again)
		}
	}
	s.Fail("something else")
	s.Seek(0)
	if s.Peek() != 0 {
		t.Error("a failed scan goes on")
	}
}

func TestZeroScanner(t *testing.T) {
	t.Parallel()
	if got := scan(Scanner{}); got != "a value at byte 0, where the body ends" {
		t.Errorf("got %s", got)
	}
	if got := scan(NewStringScanner("")); got != "a value at byte 0, where the body ends" {
		t.Errorf("an empty string: %s", got)
	}
}

func TestScanDoesNotAllocate(t *testing.T) {
	text := `{"a":[{"b":"\u0041"},{"c":[1,2,3]}],"d":"text","e":{"\u0066":null}}`
	dst := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() {
		s := NewStringScanner(text)
		s.Space()
		for ok := s.Enter('}'); ok; ok = s.More('}') {
			if s.Key() == "d" {
				text, _ := s.Text()
				dst = AppendString(dst[:0], text)
			} else {
				s.Skip()
			}
		}
		s.End()
		if s.Failed() {
			t.Fatal(s.Problem())
		}
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// FuzzScan compares both kinds of scan with encoding/json.
func FuzzScan(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `[]`, `null`, byteOrderMark + `{}`, byteOrderMark, `{"a":"\ud83d\udce6"}`, `{"a":"\ud83d"}`, "{\"a\":\"\xff\"}", `{"a":[1,-0.0e+9,{"b":[]}]}`, `{"a":[1}`, `[{]}`,
		strings.Repeat("[", 70), strings.Repeat(`[{"a":`, 100) + "1" + strings.Repeat("}]", 100), `{"a":1}x`, `"\`, `"\u`, ` [ { "a" : [ ] , "b" : 01 } ] `,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		before := bytes.Clone(text)
		if fault, valid := scan(NewLenientScanner(text)), json.Valid(bytes.TrimPrefix(text, []byte(byteOrderMark))); (fault == "") != valid {
			t.Fatalf("%q: the lenient scan says %q, encoding/json says %v", text, fault, valid)
		}
		switch fault := scan(NewScanner(text)); {
		case fault == "" && (!json.Valid(bytes.TrimPrefix(text, []byte(byteOrderMark))) || !utf8.Valid(text)):
			t.Fatalf("accepted %q", text)
		case strings.Contains(fault, "UTF-8"):
			if utf8.Valid(text) {
				t.Fatalf("refused %q: %s", text, fault)
			}
		case strings.Contains(fault, "nesting"):
			if bytes.Count(text, []byte("{"))+bytes.Count(text, []byte("[")) <= MaxDepth {
				t.Fatalf("refused %q: %s", text, fault)
			}
		case fault != "" && json.Valid(text):
			t.Fatalf("refused %q: %s", text, fault)
		}
		if !bytes.Equal(text, before) {
			t.Fatal("the scan changed the text")
		}
	})
}

// FuzzText compares what strings mean with encoding/json.
func FuzzText(f *testing.F) {
	for _, seed := range []string{`""`, `"a"`, `"\u00e9\ud83d\udce6\n"`, `"\ud83d"`, `"\ud83d\ud83d\udce6x"`, `"\udce6\u0041"`, `"\/\\\""`, "\"\u2028\"", `"x`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := NewLenientScanner([]byte(text))
		if s.Peek() != '"' || !utf8.ValidString(text) {
			return
		}
		got, whole := s.Text()
		s.End()
		var want string
		if err := json.Unmarshal([]byte(text), &want); (err != nil) != s.Failed() || err == nil && got != want {
			t.Fatalf("%s is %q (%v), encoding/json says %q, %v", text, got, s.Failed(), want, err)
		}
		// encoding/json has the replacement character in the place of half a pair.
		said := strings.Count(text, "\ufffd") + strings.Count(strings.ToLower(text), `\ufffd`)
		if replaced := strings.Count(want, "\ufffd"); !s.Failed() && (whole && replaced > said || !whole && replaced == 0) {
			t.Fatalf("%s is whole: %v, encoding/json says %q", text, whole, want)
		}
	})
}

// FuzzAppendString writes any text and reads it again.
func FuzzAppendString(f *testing.F) {
	for _, seed := range []string{"", "plain", "\"\\/\x00\x1f\x7f\n", "é日本📦\u2028<&>"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			return
		}
		out := AppendString([]byte("before"), text)
		out, ok := bytes.CutPrefix(out, []byte("before"))
		var back string
		if err := json.Unmarshal(out, &back); err != nil || !ok || back != text {
			t.Fatalf("%q is written %s and read %q (%v)", text, out, back, err)
		}
		s := NewScanner(out)
		if got, whole := s.Text(); got != text || !whole || s.Failed() {
			t.Fatalf("%s is read %q", out, got)
		}
	})
}

func BenchmarkSkip(b *testing.B) {
	text := []byte(`{"city":"Zürich","facility":null,"scans":[1,2.5e3,true,{"at":"2026-02-26T12:00:00Z","note":"left at the \"door\""}]}`)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		s := NewScanner(text)
		s.Skip()
		if s.Failed() {
			b.Fatal(s.Problem())
		}
	}
}
