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
	wholeWord   = 64 // words up to this width are broken only where nothing else helps
)

// Table aligns rows in columns, by the width that their texts have on a terminal. Where
// it is written to one it fits it: a text that is too long goes on below. Rows under a head
// whose words don't fit side by side are written as records, a line for each cell, because
// a time or an id that is broken can't be read or copied. Cells are escaped.
type Table struct {
	out    io.Writer
	screen *Screen
	rows   [][]string // of one cell, or none: it is aligned with no other
	head   []string   // what names the columns, of rows before the last Flush too

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
		if len(rows[0]) < 2 {
			t.head = nil
		} else {
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
	widths, whole := t.widths(rows)
	if isHead(rows[0]) {
		t.head = rows[0]
	}
	if named := len(t.head) > 2 && len(t.head) == len(widths); named && !whole {
		t.records(b, rows)
		return
	}
	t.aligned(b, rows, widths)
}

// records writes rows below each other: the cells that say something, behind the names
// of their columns.
func (t *Table) records(b *strings.Builder, rows [][]string) {
	names := 0
	for _, name := range t.head {
		names = max(names, uniseg.StringWidth(name))
	}
	widths := []int{names, max(t.screen.Width()-names-columnGap, leastColumn)}
	for _, row := range rows {
		if isHead(row) {
			continue
		}
		var lines [][]string
		for i, cell := range row {
			if cell != t.Empty {
				lines = append(lines, []string{t.head[i], cell})
			}
		}
		t.aligned(b, append(lines, nil), widths)
	}
}

// aligned writes rows whose columns have these widths.
func (t *Table) aligned(b *strings.Builder, rows [][]string, widths []int) {
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
// terminal the widest give way: first those that can be broken between words. It reports
// whether that was enough.
func (t *Table) widths(rows [][]string) (widths []int, whole bool) {
	var words, least []int
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
		whole = narrow(widths, words, limit)
		narrow(widths, least, limit)
		return widths, whole
	}
	return widths, true
}

// narrow takes columns from the widest, down to the least of each, until they fit. It
// reports whether they do.
func narrow(widths, least []int, limit int) bool {
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
			return false
		}
		widths[widest]--
	}
	return true
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
