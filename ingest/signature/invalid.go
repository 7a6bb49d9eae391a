package signature

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Fault is one thing wrong with a [Config]. Path names the key, as in
// "secrets[1].id". Package event has the Faults of all other packages; this one
// verifies signatures for programs without events too, and so has its own.
type Fault struct{ Path, Message string }

// Invalid is the error of a config with faults.
type Invalid []Fault

func (e Invalid) Error() string {
	lines := make([]string, len(e))
	for i, f := range e {
		lines[i] = f.Path + ": " + f.Message
	}
	return strings.Join(lines, "; ")
}

func (e *Invalid) add(path, format string, args ...any) {
	*e = append(*e, Fault{Path: path, Message: fmt.Sprintf(format, args...)})
}

// check adds a fault unless ok.
func (e *Invalid) check(ok bool, path, format string, args ...any) {
	if !ok {
		e.add(path, format, args...)
	}
}

func (e *Invalid) oneOf(path, value string, allowed ...string) bool {
	ok := slices.Contains(allowed, value)
	e.check(ok, path, "%q is none of %s", value, strings.Join(allowed, ", "))
	return ok
}

func item(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// distinct adds a fault for every value that a list has before.
func distinct[T comparable](e *Invalid, path string, list []T) {
	for i, v := range list {
		e.check(!slices.Contains(list[:i], v), item(path, i), "%q is listed twice", fmt.Sprint(v))
	}
}

// validID reports whether id is safe as a header value and a metrics label.
func validID(id string) bool {
	return id != "" && len(id) <= 64 && strings.Trim(id, alphanumerics+".-_") == ""
}

const alphanumerics = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// isToken reports whether s can be a header's name (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	const marks = "!#$%&'*+-.^_`|~"
	return s != "" && strings.Trim(s, alphanumerics+marks) == ""
}

// isMember reports whether s is the path of a member: names of printable ASCII
// between full stops, without quotes and backslashes.
func isMember(s string) bool {
	return !slices.Contains(strings.Split(s, "."), "") && isPlain(s)
}

// isPlain reports whether s can stand in JSON as it is, and isn't empty.
func isPlain(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) < 0
}
