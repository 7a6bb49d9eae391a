package terminal

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestEscape(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"plain ключ 日本 é":  "plain ключ 日本 é",
		"\x1b[31mred\x7f":  `\x1b[31mred\x7f`,
		"a\nb\tc\r":        `a\x0ab\x09c\x0d`,
		"\u009b31m\u202e":  `\u009b31m\u202e`,
		"cut \xff\xc3":     `cut \xff\xc3`,
		"\u200b\ufeff\x00": `\u200b\ufeff\x00`,
	} {
		if got := Escape(text); got != want {
			t.Errorf("Escape(%q) = %q, want %q", text, got, want)
		}
	}
	if got := EscapeLines("a\nb\r\x1b"); got != "a\nb"+`\x0d\x1b` {
		t.Errorf("EscapeLines: %q", got)
	}
}

func FuzzEscape(f *testing.F) {
	f.Add("plain")
	f.Add("\x1b]0;title\a\u202e\xff")
	f.Fuzz(func(t *testing.T, s string) {
		got := Escape(s)
		for _, r := range got {
			if !unicode.IsPrint(r) || r == utf8.RuneError && !strings.ContainsRune(s, utf8.RuneError) {
				t.Fatalf("Escape(%q) = %q", s, got)
			}
		}
	})
}

func FuzzPrintJSON(f *testing.F) {
	f.Add("plain", "key")
	f.Add("\x1b\u009b\u202e\U000e0001\u2028<&>", "\x7f")
	f.Fuzz(func(t *testing.T, value, name string) {
		in := map[string]string{strings.ToValidUTF8(name, "?"): strings.ToValidUTF8(value, "?")}
		var b bytes.Buffer
		if err := PrintJSON(&b, in); err != nil {
			t.Fatal(err)
		}
		for _, r := range b.String() {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Fatalf("%q is printed: %q", r, b.String())
			}
		}
		var out map[string]string
		if err := json.Unmarshal(b.Bytes(), &out); err != nil || !reflect.DeepEqual(in, out) {
			t.Fatalf("%q comes back as %q: %v", in, out, err)
		}
	})
}
