package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// position is a place in a file, both counted from 1; the zero value is none.
type position struct{ line, column int }

// positions says where each key, each table and each item of a list is in a TOML
// document, by the path that faults have: couriers.acme.secrets[1].
type positions struct {
	of    map[string]position
	twice position // of the first key or table that is there a second time

	parser  *unstable.Parser
	headers map[string]bool // headers [name] so far, by path
	lists   map[string]int  // headers [[name]] so far, by path
}

// positionsOf finds everything up to the first mistake.
func positionsOf(document []byte) positions {
	p := positions{of: map[string]position{}, parser: &unstable.Parser{}, headers: map[string]bool{}, lists: map[string]int{}}
	p.parser.Reset(document)
	table := ""
	for p.parser.NextExpression() {
		switch e := p.parser.Expression(); e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = p.header(e)
		case unstable.KeyValue:
			p.keyValue(table, e)
		default: // a comment
		}
	}
	return p
}

// header records a table's header, and returns its path.
func (p *positions) header(e *unstable.Node) string {
	path := ""
	for key := e.Key(); key.Next(); {
		at := p.position(key.Node())
		path = join(path, string(key.Node().Data))
		if key.IsLast() && e.Kind == unstable.ArrayTable {
			p.lists[path]++
		}
		if n := p.lists[path]; n > 0 {
			path = fmt.Sprintf("%s[%d]", path, n-1)
		}
		if _, known := p.of[path]; !known || key.IsLast() {
			p.of[path] = at
		}
	}
	if p.headers[path] && p.twice == (position{}) {
		p.twice = p.of[path]
	}
	p.headers[path] = true
	return path
}

func (p *positions) keyValue(table string, e *unstable.Node) {
	path, at := table, position{}
	for key := e.Key(); key.Next(); {
		path, at = join(path, string(key.Node().Data)), p.position(key.Node())
		if key.IsLast() {
			p.set(path, at)
		}
	}
	p.value(path, at, e.Value())
}

// value records what is inside the value of a key that is at a position.
func (p *positions) value(path string, at position, value *unstable.Node) {
	items := value.Children()
	switch value.Kind {
	case unstable.InlineTable:
		for items.Next() {
			p.keyValue(path, items.Node())
		}
	case unstable.Array:
		for i := 0; items.Next(); i++ {
			item, where := fmt.Sprintf("%s[%d]", path, i), at
			if items.Node().Raw.Length > 0 {
				where = p.position(items.Node())
			}
			p.of[item] = where
			p.value(item, where, items.Node())
		}
	default: // a value that has none inside
	}
}

// set records a path that may be there once.
func (p *positions) set(path string, at position) {
	if _, known := p.of[path]; known && p.twice == (position{}) {
		p.twice = at
	}
	p.of[path] = at
}

func (p *positions) position(n *unstable.Node) position {
	start := p.parser.Shape(n.Raw).Start
	return position{start.Line, start.Column}
}

// find returns where a path is, or what it is in.
func (p *positions) find(path string) position {
	for path != "" {
		if at, known := p.of[path]; known {
			return at
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return position{}
}

// syntaxFault says where a document is no TOML, and why.
func syntaxFault(document []byte, err error) Fault {
	f := Fault{Path: documentPath, Message: strings.TrimPrefix(err.Error(), "toml: ")}
	at := position{}
	if e, ok := errors.AsType[*toml.DecodeError](err); ok {
		at.line, at.column = e.Position()
	} else { // of a key that is there twice the parser reports no position
		at = positionsOf(document).twice
	}
	f.Line, f.Column = at.line, at.column
	lines := strings.Split(string(document), "\n")
	for hint, mistake := range mistakes {
		if at.line > 0 && mistake.MatchString(lines[min(at.line, len(lines))-1]) {
			f.Message = hint
		}
	}
	return f
}

// mistakes are those that people make most, by what to do: the parser only says at which
// character it could not go on. A line is one of them at most.
var mistakes = map[string]*regexp.Regexp{
	"a text needs quotes around it":                          regexp.MustCompile(`^\s*[\w.-]+\s*=\s*[A-Za-z/]`),
	"a number has no unit; a text needs quotes around it":    regexp.MustCompile(`^\s*[\w.-]+\s*=\s*\d[\d_.]*\s*[A-Za-z%]`),
	"a key and its value have = between them":                regexp.MustCompile(`^\s*[\w.-]+\s*:`),
	"a table's name ends with ], and nothing comes after it": regexp.MustCompile(`^\s*\[[^\]]*$`),
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
