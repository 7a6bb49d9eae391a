package ops

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// maxShownBody is how much of a body is shown to people; --json has all of it.
const maxShownBody = 4 << 10

// safe returns s with everything escaped that could move a cursor, change a
// colour, turn the direction of writing or end the line: couriers write these
// texts, and operators read them on terminals.
func safe(s string) string {
	return escape(s, func(rune) bool { return false })
}

// safeBlock is safe for texts of several lines.
func safeBlock(s string) string {
	return escape(s, func(r rune) bool { return r == '\n' })
}

func escape(s string, keep func(rune) bool) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case unicode.IsPrint(r) || keep(r):
			b.WriteRune(r)
		case r < utf8.RuneSelf:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		s = s[n:]
	}
	return b.String()
}

// showBody returns a body for people: JSON indented, a bounded part of it, and
// always safe.
func showBody(body []byte) string {
	shown := body
	var indented bytes.Buffer
	if json.Indent(&indented, body, "", "  ") == nil {
		shown = indented.Bytes()
	}
	more := ""
	if len(shown) > maxShownBody {
		shown = shown[:maxShownBody]
		more = fmt.Sprintf("\n… the body has %d bytes, --json shows them all", len(body))
	}
	return safeBlock(string(shown)) + more
}

// clip shortens s to n characters.
func clip(s string, n int) string {
	runes := []rune(s)
	if len(runes) <= n {
		return s
	}
	return string(runes[:n-1]) + "…"
}

// printJSON writes v indented, in ASCII wherever a character could act on a
// terminal.
func printJSON(out io.Writer, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("print as JSON: %w", err)
	}
	_, err := io.WriteString(out, escapeJSON(b.String()))
	return err
}

// escapeJSON escapes unprintable characters of a JSON document. Outside its
// strings a document has no others than the newline.
func escapeJSON(doc string) string {
	var b strings.Builder
	for _, r := range doc {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// clock says when it is, and in which zone to show times.
type clock struct {
	now  func() time.Time
	zone *time.Location
}

// when shows a time in the local zone with its age, "-" for none.
func (c clock) when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return fmt.Sprintf("%s (%s)", t.In(c.zone).Format(time.RFC3339), c.age(t))
}

// age shows how long ago t was.
func (c clock) age(t time.Time) string {
	d := c.now().Sub(t)
	if d < 0 {
		return "in " + span(-d)
	}
	return span(d) + " ago"
}

// span shows a duration in its one or two largest units.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < day:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd%02dh", int(d/day), int(d%day/time.Hour))
	}
}

// size shows a number of bytes in a unit that suits it.
func size(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/(1<<10), 0
	for value >= 1<<10 && unit < len("KMGTPE")-1 {
		value /= 1 << 10
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTPE"[unit])
}

// table aligns rows in columns. Cells are made safe.
type table struct{ w *tabwriter.Writer }

func newTable(out io.Writer) *table {
	return &table{w: tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)}
}

// row adds a row; what can't be written is told by flush.
func (t *table) row(cells ...string) {
	for i, cell := range cells {
		cells[i] = safe(orDash(cell))
	}
	_, _ = fmt.Fprintln(t.w, strings.Join(cells, "\t"))
}

// gap adds an empty line.
func (t *table) gap() { _, _ = fmt.Fprintln(t.w) }

// field adds a row of a name and a value, unless the value is empty.
func (t *table) field(name, value string) {
	if value != "" {
		t.row(name, value)
	}
}

func (t *table) flush() error { return t.w.Flush() }

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
