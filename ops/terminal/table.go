package terminal

import (
	"io"
	"slices"
	"strings"

	"github.com/rivo/uniseg"
)

const (
	columnGap   = 2  // between two columns
	leastColumn = 12 // how narrow a column may become on a terminal
	leastWords  = 6  // the same as long as no word has to be broken
	wholeWord   = 40 // words up to this width are broken only where nothing else helps
)

// Table aligns rows in columns, by the width that their texts have on a terminal. Where
// it is written to one it fits it: a text that is too long goes on below. Cells are
// escaped.
type Table struct {
	out    io.Writer
	screen *Screen
	rows   [][]string // of one cell, or none: it is aligned with no other

	// Empty is printed for a cell without text, "-" unless it is changed.
	Empty string
}

// NewTable returns a table that is written to out by [Table.Flush]. It fits out, and has
// colours, as far as a [Screen] says so.
func NewTable(out io.Writer) *Table {
	screen, ok := out.(*Screen)
	if !ok {
		screen = NewScreen(out)
	}
	return &Table{out: out, screen: screen, Empty: "-"}
}

// Row adds a row.
func (t *Table) Row(cells ...string) {
	escaped := make([]string, len(cells))
	for i, cell := range cells {
		if cell == "" {
			cell = t.Empty
		}
		escaped[i] = Escape(cell)
	}
	t.rows = append(t.rows, escaped)
}

// Gap adds an empty line.
func (t *Table) Gap() { t.rows = append(t.rows, nil) }

// Field adds a row of a name and a value, unless the value is empty.
func (t *Table) Field(name, value string) {
	if value != "" {
		t.Row(name, value)
	}
}

// Flush writes the rows since the last Flush, aligned with each other.
func (t *Table) Flush() error {
	var b strings.Builder
	for rows := t.rows; len(rows) > 0; {
		n := 1
		if len(rows[0]) > 1 {
			if n = slices.IndexFunc(rows, func(row []string) bool { return len(row) < 2 }); n < 0 {
				n = len(rows)
			}
		}
		t.block(&b, rows[:n])
		rows = rows[n:]
	}
	t.rows = nil
	_, err := io.WriteString(t.out, b.String())
	return err
}

// block writes rows that are aligned with each other.
func (t *Table) block(b *strings.Builder, rows [][]string) {
	widths := t.widths(rows)
	for _, row := range rows {
		head := len(row) > 1 && isHead(row)
		cells, height := make([][]string, len(row)), 1
		for i, cell := range row {
			cells[i] = wrap(cell, widths[i])
			height = max(height, len(cells[i]))
		}
		for line := range height {
			t.line(b, row, cells, widths, line, head)
		}
	}
}

// line writes one line of a row, whose cells have several.
func (t *Table) line(b *strings.Builder, row []string, cells [][]string, widths []int, line int, head bool) {
	blank := 0
	for i, lines := range cells {
		text := ""
		if line < len(lines) {
			text = lines[line]
		}
		if text != "" {
			b.WriteString(strings.Repeat(" ", blank))
			blank = 0
			if color := colorOf(row[i], head); t.screen.Color && color != "" {
				b.WriteString(color + text + plain)
			} else {
				b.WriteString(text)
			}
		}
		blank += widths[i] + columnGap - uniseg.StringWidth(text)
	}
	b.WriteByte('\n')
}

// widths returns how wide each column is. Where all of them are too wide for the
// terminal the widest give way: first those that can be broken between words.
func (t *Table) widths(rows [][]string) []int {
	var widths, words, least []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths, words, least = append(widths, 0), append(words, leastWords), append(least, leastColumn)
			}
			widths[i] = max(widths[i], uniseg.StringWidth(cell))
			for word := range strings.FieldsSeq(cell) {
				words[i] = max(words[i], min(uniseg.StringWidth(word), wholeWord))
			}
		}
	}
	if limit := t.screen.Width(); limit > 0 {
		limit -= columnGap * (len(widths) - 1)
		narrow(widths, words, limit)
		narrow(widths, least, limit)
	}
	return widths
}

// narrow takes columns from the widest, down to the least of each, until they fit.
func narrow(widths, least []int, limit int) {
	total := 0
	for _, width := range widths {
		total += width
	}
	for ; total > limit; total-- {
		widest := -1
		for i, width := range widths {
			if width > least[i] && (widest < 0 || width >= widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		widths[widest]--
	}
}

// isHead reports whether a row names columns: it has capitals only.
func isHead(row []string) bool {
	return !slices.ContainsFunc(row, func(cell string) bool {
		return strings.ContainsFunc(cell, func(r rune) bool { return r != ' ' && (r < 'A' || r > 'Z') })
	})
}

// wrap breaks a text into lines of at most so many columns: between words where it can.
func wrap(text string, width int) (lines []string) {
	for uniseg.StringWidth(text) > width {
		end, space, used := 0, 0, 0
		for rest, state := text, -1; rest != ""; {
			var cluster string
			var columns int
			cluster, rest, columns, state = uniseg.FirstGraphemeClusterInString(rest, state)
			if used+columns > width && end > 0 {
				if cluster == " " { // it ends where the line does
					space = end
				}
				break
			}
			if cluster == " " {
				space = end
			}
			used, end = used+columns, end+len(cluster)
		}
		if space > 0 {
			end = space
		}
		lines, text = append(lines, text[:end]), strings.TrimPrefix(text[end:], " ")
	}
	return append(lines, text)
}
