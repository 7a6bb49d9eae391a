package bench

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/fincart/courier-gateway/ingest/signature"
)

// maxArgument is the longest body that curl gets as an argument; systems bound
// one argument at 128 KiB and more.
const maxArgument = 100 << 10

// CurlLine returns one line that posts body with these headers and is safe to
// paste into sh, bash and zsh, whatever the body holds. url is the whole address
// of the endpoint.
func CurlLine(url string, headers []signature.Header, body []byte) string {
	var line strings.Builder
	line.WriteString("curl -sS ")
	if strings.ContainsAny(url, "[]{}") {
		line.WriteString("--globoff ")
	}
	line.WriteString(shellQuote(url))
	for _, h := range headers {
		line.WriteString(" -H " + shellQuote(h.Name+": "+h.Value))
	}
	if pasteable(body) {
		return line.String() + " --data-raw " + shellQuote(string(body))
	}
	return "printf %b " + shellQuote(octal(body)) + " | " + line.String() + " --data-binary @-"
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

// shellQuote makes s one word of a POSIX shell. Nothing is special between
// single quotes but the single quote itself.
func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
