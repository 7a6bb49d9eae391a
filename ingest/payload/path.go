package payload

import (
	"strconv"
	"strings"
)

// maxNodes bounds the members and elements that a mapping names, with all that
// lie above them. Each has a place in the state of a decode.
const maxNodes = 64

// node is a member or an element that some path names or goes through.
type node struct {
	path     string // from the root, or from an element of the list
	id       int    // its place in the state of a decode
	wanted   bool   // a template asks for its value, not only for what lies below it
	name     string // of a member
	index    int    // of an element
	parent   *node
	members  []*node
	elements []*node
	last     *node // the element [-1]
	list     *list // whose array this is
}

// path returns the node that a path names.
func (c *compiler) path(key, path string) *node {
	rest := strings.TrimPrefix(path, "$")
	n := c.into
	if rest == "" {
		c.fault(key, "%q names no member", path)
	}
	for start := true; rest != ""; start = false {
		name, index, more, ok := step(rest, start && rest == path)
		if !ok {
			c.fault(key, "%q can't be read as a path from %q on", path, rest)
			break
		}
		n, rest = c.child(n, name, index), more
	}
	return n
}

// step reads the first step of a path: ".name", ["name"] or [index], and with
// bare a name without its full stop.
func step(s string, bare bool) (name string, index int, rest string, ok bool) {
	switch {
	case strings.HasPrefix(s, `["`) || strings.HasPrefix(s, "['"):
		name, rest, ok = strings.Cut(s[2:], s[1:2]+"]")
		return name, 0, rest, ok && name != ""
	case s[0] == '[':
		digits, rest, ok := strings.Cut(s[1:], "]")
		index, err := strconv.Atoi(digits)
		return "", index, rest, ok && err == nil && index >= -1 && digits == strconv.Itoa(index)
	case s[0] == '.':
		s = s[1:]
	case !bare:
		return "", 0, "", false
	}
	end := strings.IndexAny(s, `.[]{}"'`)
	if end < 0 {
		end = len(s)
	}
	return s[:end], 0, s[end:], end > 0
}

// child returns the member or element of n, a new one when no path has gone
// through it yet. An empty name asks for the element.
func (c *compiler) child(n *node, name string, index int) *node {
	if name != "" {
		if old := n.memberNamed(name); old != nil {
			return old
		}
		made := c.node(n, memberPath(n.path, name))
		made.name = name
		n.members = append(n.members, made)
		return made
	}
	if index < 0 {
		if n.last == nil {
			n.last = c.node(n, elementPath(n.path, index))
		}
		return n.last
	}
	if old := n.element(index); old != nil {
		return old
	}
	made := c.node(n, elementPath(n.path, index))
	made.index = index
	n.elements = append(n.elements, made)
	return made
}

func (c *compiler) node(parent *node, path string) *node {
	n := &node{path: path, id: c.nodes, parent: parent}
	c.nodes++
	return n
}

func memberPath(above, name string) string {
	if strings.ContainsAny(name, `.[]{}"'`) {
		name = `["` + name + `"]`
	} else if above != "" && above != "$" {
		name = "." + name
	}
	return strings.TrimPrefix(above, "$") + name
}

func elementPath(above string, index int) string {
	return strings.TrimPrefix(above, "$") + "[" + strconv.Itoa(index) + "]"
}

func (n *node) memberNamed(name string) *node {
	for _, m := range n.members {
		if m.name == name {
			return m
		}
	}
	return nil
}

func (n *node) element(index int) *node {
	for _, e := range n.elements {
		if e.index == index {
			return e
		}
	}
	return nil
}

// wants says what n has to be for the paths that go on below it.
func (n *node) wants() string {
	if len(n.members) > 0 {
		return "an object"
	}
	return "an array"
}

// isArray reports whether some path goes on at an element of n.
func (n *node) isArray() bool { return len(n.elements) > 0 || n.last != nil || n.list != nil }

// fits reports whether paths can go on below a value that starts with c, if any do.
func (n *node) fits(c byte) bool {
	return c == '{' && len(n.members) > 0 || c == '[' && n.isArray() || len(n.members) == 0 && !n.isArray()
}
