package terminal

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Table aligns rows in columns. Cells are escaped.
type Table struct {
	w *tabwriter.Writer
	// Empty is printed for a cell without text, "-" unless it is changed.
	Empty string
}

// NewTable returns a table that is written to out by [Table.Flush].
func NewTable(out io.Writer) *Table {
	return &Table{w: tabwriter.NewWriter(out, 0, 8, 2, ' ', 0), Empty: "-"}
}

// Row adds a row. An error of writing it is returned by [Table.Flush].
func (t *Table) Row(cells ...string) {
	escaped := make([]string, len(cells))
	for i, cell := range cells {
		if cell == "" {
			cell = t.Empty
		}
		escaped[i] = Escape(cell)
	}
	_, _ = fmt.Fprintln(t.w, strings.Join(escaped, "\t"))
}

// Gap adds an empty line.
func (t *Table) Gap() { _, _ = fmt.Fprintln(t.w) }

// Field adds a row of a name and a value, unless the value is empty.
func (t *Table) Field(name, value string) {
	if value != "" {
		t.Row(name, value)
	}
}

// Flush writes the rows since the last Flush, aligned with each other.
func (t *Table) Flush() error { return t.w.Flush() }
