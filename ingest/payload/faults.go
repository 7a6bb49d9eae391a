package payload

import (
	"strings"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/jsontext"
)

// maxFaults bounds the faults of one body.
const maxFaults = 100

// reporter gathers the faults of one body, one for each node at most.
type reporter struct {
	all      event.Faults
	kept     int    // of them, those that were there before
	reported uint64 // by node id: a fault names it already
	inside   *list  // while an element is read: its list
	index    int    // and its place there
}

// add adds a fault at a path, which inside an element is relative to it. Past
// maxFaults it adds no more, because a body can have as many as it has elements.
func (r *reporter) add(path, message string) {
	if len(r.all)-r.kept >= maxFaults {
		return
	}
	if r.inside != nil {
		element := elementPath(r.inside.node.path, r.index)
		if path != "" && path[0] != '[' {
			element += "."
		}
		path = element + path
	}
	r.all = append(r.all, event.Fault{Path: path, Message: message})
}

// at adds a fault at n unless there is one already.
func (r *reporter) at(n *node, message string) {
	if r.reported&(1<<n.id) == 0 {
		r.reported |= 1 << n.id
		r.add(n.path, message)
	}
}

// wrongKind adds a fault at n, whose value is of a type that is not wanted.
func (r *reporter) wrongKind(v *values, n *node, wanted string) {
	c := v.kinds[n.id]
	switch c {
	case halved:
		r.at(n, "must not hold "+halfPair)
		return
	case escaped:
		c = '"'
	}
	r.at(n, "must be "+wanted+", is "+jsontext.Kind(c))
}

// missingNode says that n is not there, or why it can't be.
func (r *reporter) missingNode(v *values, n *node) {
	for above := n.parent; above != nil; above = above.parent {
		if c := v.kinds[above.id]; c != 0 && c != 'n' && !above.fits(c) {
			r.wrongKind(v, above, above.wants())
			return
		}
	}
	r.at(n, "is missing")
}

// missing says that none of the alternatives can be filled.
func (r *reporter) missing(v *values, alternatives []template, got found) {
	var paths []string
	for i := range alternatives {
		t := &alternatives[i]
		if _, one := v.fillIn(t); one == got && (got == empty || len(alternatives) == 1) {
			r.parts(v, t, got)
			return
		}
		paths = append(paths, t.path)
	}
	r.atTemplate(&alternatives[0], "is missing, and so is "+strings.Join(paths[1:], ", "))
}

// parts adds a fault for each part of t whose outcome is got.
func (r *reporter) parts(v *values, t *template, got found) {
	for i := range t.parts {
		p := &t.parts[i]
		if _, one := v.part(t, p); one != got {
			continue
		}
		if p.header != "" {
			r.add("header:"+p.header, [...]string{"is missing", "must not be empty", "must be there once, in UTF-8"}[got])
			continue
		}
		switch {
		case got == absent:
			r.missingNode(v, p.node)
		case got == empty:
			r.at(p.node, "must not be empty")
		case t.scalar:
			r.wrongKind(v, p.node, "a string, a number or a boolean")
		default:
			r.wrongKind(v, p.node, "a string or a number")
		}
	}
}

// atTemplate adds a fault about what t says, at its one member if it has but one.
func (r *reporter) atTemplate(t *template, message string) {
	if len(t.parts) == 1 && t.parts[0].node != nil {
		r.at(t.parts[0].node, message)
		return
	}
	r.add(t.path, message)
}
