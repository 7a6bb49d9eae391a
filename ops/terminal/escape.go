// Package terminal prints for people: text that others wrote, tables, JSON
// documents, times and sizes, and how far a long command has come.
//
// What comes in may hold anything, because couriers write it. What goes out of it moves no
// cursor, changes no colour and no direction of writing: tables and JSON are escaped here,
// and a caller that prints another text on a terminal calls [Escape] or [EscapeLines] for
// it. Colours are added by [Table], where [Screen] allows them. The commands of ops/cli and
// appliance call this package; it calls no other of this module.
package terminal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Escape returns s as one line with everything escaped that could move a cursor,
// change a colour, turn the direction of writing or end the line.
func Escape(s string) string { return escape(s, false) }

// EscapeLines is [Escape] for texts of several lines.
func EscapeLines(s string) string { return escape(s, true) }

func escape(s string, lines bool) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case unicode.IsPrint(r) || lines && r == '\n':
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

// PrintJSON writes v as an indented document, in ASCII wherever a character could
// act on a terminal.
func PrintJSON(out io.Writer, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("print as JSON: %w", err)
	}
	_, err := io.WriteString(out, EscapeJSON(b.String()))
	return err
}

// EscapeJSON escapes the unprintable characters of a JSON document, which means the
// same afterwards. Outside its strings a document has no others than the newline.
func EscapeJSON(document string) string {
	var b strings.Builder
	for _, r := range document {
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
