package terminal

import (
	"bytes"
	"strings"
	"testing"

	"github.com/rivo/uniseg"
)

func TestTable(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	table := NewTable(&b)
	table.Row("NAME", "VALUE")
	table.Row("", "two\nlines\t\x1b")
	table.Gap()
	table.Field("left out", "")
	table.Empty = ""
	table.Field("kept", "é")
	table.Row("", "x")
	want := "NAME  VALUE\n-     two\\x0alines\\x09\\x1b\n\nkept  é\n      x\n"
	if err := table.Flush(); err != nil || b.String() != want {
		t.Errorf("%v, got\n%s, want\n%s", err, b.String(), want)
	}
}

// fixed is a screen of a width.
func fixed(b *bytes.Buffer, width int, color bool) *Screen {
	return &Screen{Writer: b, Width: func() int { return width }, Color: color}
}

// TestTableAlignsWideCharacters has texts that take two columns for a character, one for
// several, and none: each line's second column begins at the same place of the terminal.
func TestTableAlignsWideCharacters(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	table := NewTable(&b)
	for _, name := range []string{"parcel", "包裹", "e\u0301te\u0301", "🚚", "🇩🇪", "한국"} {
		table.Row(name, "x")
	}
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	want := "parcel  x\n包裹    x\ne\u0301te\u0301     x\n🚚      x\n🇩🇪      x\n한국    x\n"
	if b.String() != want {
		t.Errorf("got\n%s, want\n%s", b.String(), want)
	}
}

func TestTableFitsTheTerminal(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	table := NewTable(fixed(&b, 40, false))
	table.Row("ID", "MESSAGE")
	table.Row("019c9a0e2b00", "the store does not answer, 包裹包裹包裹包裹包裹包裹包裹包裹 and aWordThatIsLongerThanItsColumn")
	table.Gap()
	table.Row("a line by itself is longer than the terminal and is not cut")
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	want := `ID            MESSAGE
019c9a0e2b00  the store does not answer,
              包裹包裹包裹包裹包裹包裹包
              裹包裹 and
              aWordThatIsLongerThanItsCo
              lumn

a line by itself is longer than the
terminal and is not cut
`
	if b.String() != want {
		t.Errorf("got\n%s, want\n%s", b.String(), want)
	}
	for line := range strings.Lines(b.String()) {
		if uniseg.StringWidth(strings.TrimSuffix(line, "\n")) > 40 {
			t.Errorf("%q is wider than the terminal", line)
		}
	}
}

// TestTableKeepsWordsWhole has a name that is longer than its share of the terminal.
func TestTableKeepsWordsWhole(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	table := NewTable(fixed(&b, 36, false))
	table.Row("aftership-shipping", "the secret of its page", "-")
	table.Row("ups", "x", "a text of many words")
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	want := `aftership-shipping  the      -
                    secret
                    of its
                    page
ups                 x        a text
                             of many
                             words
`
	if b.String() != want {
		t.Errorf("got\n%s, want\n%s", b.String(), want)
	}
}

func TestTableHasColours(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	screen := fixed(&b, 0, true)
	table := NewTable(screen)
	table.Row("ID", "STATUS")
	table.Row("1", "dead_lettered")
	table.Row("processing", "processed")
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	want := "\x1b[1mID\x1b[0m          \x1b[1mSTATUS\x1b[0m\n1           \x1b[31mdead_lettered\x1b[0m\nprocessing  \x1b[32mprocessed\x1b[0m\n"
	if b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
	b.Reset()
	if err := screen.SetColor("never"); err != nil {
		t.Fatal(err)
	}
	table.Row("1", "dead_lettered")
	if err := table.Flush(); err != nil || b.String() != "1  dead_lettered\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
	if NewScreen(&b).Color || screen.SetColor("pink") == nil {
		t.Error("colours in a pipe, or a word that is none")
	}
}

// TestTableKeepsTimesAndIDsWhole has rows that fit no terminal side by side, on two pages.
func TestTableKeepsTimesAndIDsWhole(t *testing.T) {
	t.Parallel()
	const id, at = "019c9a0e2b00-9f86d081884c7d65", "2026-02-26T12:59:00+01:00 (1m00s ago)"
	for _, width := range []int{60, 80} {
		var b bytes.Buffer
		table := NewTable(fixed(&b, width, false))
		table.Row("ID", "SEEN AT", "ERROR", "COURIER", "KEY", "DETAIL")
		for page := range 2 {
			table.Row(id, at, "INVALID_SIGNATURE", "", "evt_"+strings.Repeat("1", 40), "no secret of the courier verifies what it has signed, whichever is tried")
			if err := table.Flush(); err != nil {
				t.Fatal(err)
			}
			if got := strings.Count(b.String(), "SEEN AT  "+at+"\n"); got != page+1 {
				t.Errorf("%d columns: %d of %d times are whole:\n%s", width, got, page+1, b.String())
			}
		}
		if !strings.HasPrefix(b.String(), "ID       "+id+"\n") || strings.Contains(b.String(), "COURIER") || !strings.Contains(b.String(), "\n\nID ") {
			t.Errorf("%d columns: got\n%s", width, b.String())
		}
		for line := range strings.Lines(b.String()) {
			if uniseg.StringWidth(strings.TrimSuffix(line, "\n")) > width {
				t.Errorf("%q is wider than %d columns", line, width)
			}
		}
	}
}
