package terminal

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// Screen is an output, and what may be written to it.
type Screen struct {
	io.Writer
	Width func() int // columns, 0 for no bound: it is no terminal
	Color bool
}

// NewScreen returns what is known of an output. Colours are for terminals only, and not
// where NO_COLOR is set (https://no-color.org) or TERM says that there are none.
func NewScreen(out io.Writer) *Screen {
	s := &Screen{Writer: out, Width: func() int { return 0 }}
	file, isFile := out.(*os.File)
	if !isFile || !term.IsTerminal(int(file.Fd())) {
		return s
	}
	s.Color = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	s.Width = func() int {
		width, _, _ := term.GetSize(int(file.Fd())) // 0 with an error
		return width
	}
	return s
}

// Colors are the words that --color takes.
var Colors = []string{"auto", "always", "never"}

// SetColor makes the decision that one of [Colors] asks for; auto leaves it as it is.
func (s *Screen) SetColor(word string) error {
	switch word {
	case "auto":
	case "always", "never":
		s.Color = word == "always"
	default:
		return fmt.Errorf("--color %q is none of %s", word, strings.Join(Colors, ", "))
	}
	return nil
}

// Escape sequences (ECMA-48, select graphic rendition).
const (
	bold   = "\x1b[1m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	plain  = "\x1b[0m"
)

// colors are those of words that say how something is, when a cell begins with one.
var colors = map[string]string{
	"healthy": green, "processed": green, "delivered": green, "accepted": green, "ok": green,
	"degraded": yellow, "failed": yellow, "retry": yellow, "pending": yellow, "observe": yellow, "observed": yellow,
	"WARNING": yellow, "ATTENTION": yellow, "OBSERVING": yellow,
	"unhealthy": red, "dead_lettered": red, "refused": red, "PROBLEM": red, "problem": red, "interrupted": red,
}

// colorOf returns the colour of a cell, "" for none. A row is a head when its first cell
// has capitals only, as far as it has letters.
func colorOf(cell string, head bool) string {
	if head {
		return bold
	}
	word, _, _ := strings.Cut(cell, " ")
	return cmp.Or(colors[strings.TrimRight(word, ":,")], "")
}
