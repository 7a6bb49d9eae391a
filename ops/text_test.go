package ops

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestSafe(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"plain ключ 日本 é":  "plain ключ 日本 é",
		"\x1b[31mred\x7f":  `\x1b[31mred\x7f`,
		"a\nb\tc\r":        `a\x0ab\x09c\x0d`,
		"\u009b31m\u202e":  `\u009b31m\u202e`,
		"cut \xff\xc3":     `cut \xff\xc3`,
		"\u200b\ufeff\x00": `\u200b\ufeff\x00`,
	} {
		if got := safe(text); got != want {
			t.Errorf("safe(%q) = %q, want %q", text, got, want)
		}
	}
	if got := safeBlock("a\nb\r\x1b"); got != "a\nb"+`\x0d\x1b` {
		t.Errorf("safeBlock: %q", got)
	}
}

func FuzzSafe(f *testing.F) {
	f.Add("plain")
	f.Add("\x1b]0;title\a\u202e\xff")
	f.Fuzz(func(t *testing.T, s string) {
		got := safe(s)
		for _, r := range got {
			if !unicode.IsPrint(r) || r == utf8.RuneError && !strings.ContainsRune(s, utf8.RuneError) {
				t.Fatalf("safe(%q) = %q", s, got)
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
		if err := printJSON(&b, in); err != nil {
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

func TestShowBody(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"a":1.0,"a":2}`: "{\n  \"a\": 1.0,\n  \"a\": 2\n}",
		"not json\x1b":    `not json\x1b`,
		"":                "",
	} {
		if got := showBody([]byte(body)); got != want {
			t.Errorf("showBody(%q) = %q, want %q", body, got, want)
		}
	}
	long := showBody(bytes.Repeat([]byte("x"), maxShownBody+1))
	if !strings.Contains(long, "4097 bytes") || len(long) > maxShownBody+100 {
		t.Errorf("a long body: %d bytes: …%s", len(long), long[maxShownBody:])
	}
}

func TestAgesAndSizes(t *testing.T) {
	t.Parallel()
	c := clock{now: func() time.Time { return noon }, zone: time.FixedZone("CET", 3600)}
	for ago, want := range map[time.Duration]string{
		0: "0s ago", 59 * time.Second: "59s ago", 61 * time.Second: "1m01s ago", 3*time.Hour + 4*time.Minute: "3h04m ago", 50 * time.Hour: "2d02h ago", -time.Minute: "in 1m00s",
	} {
		if got := c.age(noon.Add(-ago)); got != want {
			t.Errorf("age of %v: %q, want %q", ago, got, want)
		}
	}
	if got := c.when(noon.Add(-time.Minute)); got != "2026-02-26T12:59:00+01:00 (1m00s ago)" {
		t.Errorf("when: %q", got)
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 10 << 30: "10.0 GiB", 1<<63 - 1: "8.0 EiB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestClip(t *testing.T) {
	t.Parallel()
	if got := clip("дважды", 4); got != "два…" {
		t.Errorf("clip: %q", got)
	}
	if got := clip("дважды", 6); got != "дважды" {
		t.Errorf("clip: %q", got)
	}
}
