package terminal

import (
	"bytes"
	"testing"
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
