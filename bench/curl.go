package bench

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxArgument is the longest body that curl gets as an argument; systems bound
// one argument at 128 KiB and more.
const maxArgument = 100 << 10

// CurlLine returns one line that posts a request as it is and is safe to paste
// into sh, bash and zsh, whatever the body holds.
func CurlLine(r Request) string {
	var line strings.Builder
	line.WriteString("curl -sS ")
	if strings.ContainsAny(r.URL, "[]{}") {
		line.WriteString("--globoff ")
	}
	if strings.Contains(r.URL, "/.") { // curl would resolve them, and paths are signed as they are
		line.WriteString("--path-as-is ")
	}
	line.WriteString(shellQuote(r.URL))
	for _, h := range r.Headers {
		line.WriteString(" -H " + shellQuote(h.Name+": "+h.Value))
	}
	if pasteable(r.Body) {
		return line.String() + " --data-raw " + shellQuote(string(r.Body))
	}
	return "printf %b " + shellQuote(octal(r.Body)) + " | " + line.String() + " --data-binary @-"
}

// pasteable reports whether body survives a terminal, a shell and an argument
// list: printable text of bounded length.
func pasteable(body []byte) bool {
	if len(body) > maxArgument || !utf8.Valid(body) {
		return false
	}
	return strings.IndexFunc(string(body), func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// octal writes body in printable ASCII, as printf's %b reads it.
func octal(body []byte) string {
	var b strings.Builder
	for _, c := range body {
		switch {
		case c == '\\':
			b.WriteString(`\\`)
		case c >= ' ' && c <= '~':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\0%03o`, c)
		}
	}
	return b.String()
}

// ShellWord makes s one word of a POSIX shell, quoted only when it has to be.
func ShellWord(s string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789%+,-./:=@_"
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return shellQuote(s)
}

// shellQuote makes s one word of a POSIX shell. Nothing is special between
// single quotes but the single quote itself.
func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
