package payload

import (
	"strings"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/jsontext"
)

// maxLeftOut bounds what is named of one body that was left out: a body can have as
// much as it has elements. Of faults there are a few for each member of the mapping.
const maxLeftOut = 20

// reporter gathers the faults of one body, one for each node at most. A fault of what
// the event can do without refuses nothing: it says what was left out.
type reporter struct {
	all      event.Faults
	kept     int          // of them, those that were there before
	leftOut  event.Faults // what the event does without
	optional bool         // while something is read that the event can do without
	reported uint64       // by node id: a fault names it already
	noted    uint64       // by node id: what was left out names it already
	inside   *list        // while an element is read: its list
	index    int          // its place there
	unfit    bool         // it has a fault
}

// add adds a fault at a path, which inside an element is relative to it.
func (r *reporter) add(path, message string) {
	r.unfit = true
	lenient := r.lenient()
	if lenient && len(r.leftOut) >= maxLeftOut {
		return
	}
	if r.inside != nil {
		element := elementPath(r.inside.node.path, r.index)
		if path != "" && path[0] != '[' {
			element += "."
		}
		path = element + path
	}
	if lenient {
		r.leftOut = append(r.leftOut, event.Fault{Path: path, Message: message})
		return
	}
	r.all = append(r.all, event.Fault{Path: path, Message: message})
}

// lenient reports whether the event can do without what is being read.
func (r *reporter) lenient() bool { return r.inside != nil || r.optional }

// refuse makes faults of what was left out since from, because the event can't do
// without it. It reports false when there was nothing.
func (r *reporter) refuse(from int) bool {
	late := r.leftOut[from:]
	r.leftOut = r.leftOut[:from]
	for _, f := range late {
		r.add(f.Path, f.Message)
	}
	return len(late) > 0
}

// at adds a fault at n unless there is one already.
func (r *reporter) at(n *node, message string) {
	named := &r.reported
	if r.lenient() {
		named = &r.noted
	}
	if *named&(1<<n.id) == 0 {
		*named |= 1 << n.id
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
