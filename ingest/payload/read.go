package payload

import (
	"strconv"
	"time"
	"unsafe"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/jsontext"
)

// decoding is one decode by a mapping. First it goes through the body and records
// for each node of the plan which value the body has there; then it fills the event
// from these.
type decoding struct {
	jsontext.Scanner
	body     []byte
	plan     *Decoder
	event    *event.Event
	headers  Headers
	received time.Time
	queued   bool // the envelope has id and key
	faults   event.Faults
	kept     int // of the faults, those that were there before

	kinds    [maxNodes]byte // by node id: how its value starts, 0 while it is not met
	spans    [maxNodes]span // by node id: the values that templates ask for
	reported uint64         // by node id: a fault names it already
	inside   *list          // while an element is read: its list
	index    int            // and its place there
}

// span is a value's place in the body, without the quotes of a string.
type span struct{ start, end int }

// maxFaults bounds the faults of one body.
const maxFaults = 100

// escaped is the kind of a string that holds escapes.
const escaped = '\\'

// run decodes the body.
func (m *decoding) run() event.Faults {
	m.kept = len(m.faults)
	*m.event = event.Event{Checkpoints: m.event.Checkpoints[:0]}
	m.Space()
	c := m.Peek()
	m.value(m.plan.root)
	m.End()
	switch {
	case m.Failed():
		return append(m.faults[:m.kept], event.Fault{Path: "$", Message: m.Problem()})
	case !m.plan.root.fits(c):
		return append(m.faults[:m.kept], event.Fault{Path: "$", Message: "must be " + m.plan.root.wants() + ", is " + jsontext.Kind(c)})
	}
	m.fill()
	return m.faults
}

// value consumes the value of n and records it.
func (m *decoding) value(n *node) {
	if m.kinds[n.id] != 0 {
		m.faultOn(n, "appears more than once")
		m.Skip()
		return
	}
	c := m.Peek()
	m.kinds[n.id] = c
	switch {
	case c == '{' && len(n.members) > 0:
		m.object(n)
	case c == '[' && n.isArray():
		m.array(n)
	case c == '"' && n.wanted:
		raw, escapes := m.Quoted()
		m.spans[n.id] = span{m.Pos() - 1 - len(raw), m.Pos() - 1}
		if escapes {
			m.kinds[n.id] = escaped
		}
	default:
		start := m.Pos()
		m.Skip()
		m.spans[n.id] = span{start, m.Pos()}
	}
}

func (m *decoding) object(n *node) {
	for ok := m.Enter('}'); ok; ok = m.More('}') {
		if child := n.memberNamed(m.Key()); child != nil {
			m.value(child)
		} else {
			m.Skip()
		}
	}
}

func (m *decoding) array(n *node) {
	last := m.Pos()
	i := 0
	for ok := m.Enter(']'); ok; ok = m.More(']') {
		last = m.Pos()
		child := n.element(i)
		switch {
		case n.list != nil:
			m.checkpoint(n.list, i)
			if child != nil {
				m.reread(child, last)
			}
		case child != nil:
			m.value(child)
		default:
			m.Skip()
		}
		i++
	}
	if n.last != nil && i > 0 {
		m.reread(n.last, last)
	}
}

// reread records for n the element at pos, which has been consumed already.
func (m *decoding) reread(n *node, pos int) {
	if m.Failed() {
		return
	}
	end := m.Pos()
	m.Seek(pos)
	m.value(n)
	m.Seek(end)
}

// checkpoint consumes element i of the list and adds its checkpoint.
func (m *decoding) checkpoint(l *list, i int) {
	if i >= MaxCheckpoints {
		m.faultOn(l.node, "must not hold more than "+strconv.Itoa(MaxCheckpoints)+" checkpoints")
		m.Skip()
		return
	}
	clear(m.kinds[l.from:l.to])
	m.reported &^= 1<<l.to - 1<<l.from
	m.inside, m.index = l, i
	m.value(l.element)
	if !m.Failed() {
		m.addCheckpoint(l)
	}
	m.inside = nil
}

// raw returns the text of a value, which shares memory with the body unless
// escapes had to be resolved.
func (m *decoding) raw(n *node) string {
	at := m.spans[n.id]
	if m.kinds[n.id] == escaped {
		return jsontext.Unescape(m.body[at.start:at.end])
	}
	return unsafe.String(unsafe.SliceData(m.body[at.start:]), at.end-at.start)
}

// fault adds a fault at a path, which inside an element is relative to it. Past
// maxFaults it adds no more, because a body can have as many as it has elements.
func (m *decoding) fault(path, message string) {
	if len(m.faults)-m.kept >= maxFaults {
		return
	}
	if m.inside != nil {
		element := elementPath(m.inside.node.path, m.index)
		if path != "" && path[0] != '[' {
			element += "."
		}
		path = element + path
	}
	m.faults = append(m.faults, event.Fault{Path: path, Message: message})
}

// faultOn adds a fault at n unless there is one already.
func (m *decoding) faultOn(n *node, message string) {
	if m.reported&(1<<n.id) == 0 {
		m.reported |= 1 << n.id
		m.fault(n.path, message)
	}
}

// wrongKind is faultOn for a value of a type that is not wanted.
func (m *decoding) wrongKind(n *node, wanted string) {
	c := m.kinds[n.id]
	if c == escaped {
		c = '"'
	}
	m.faultOn(n, "must be "+wanted+", is "+jsontext.Kind(c))
}

// missingNode says that n is not there, or why it can't be.
func (m *decoding) missingNode(n *node) {
	for above := n.parent; above != nil; above = above.parent {
		if c := m.kinds[above.id]; c != 0 && c != 'n' && !above.fits(c) {
			m.wrongKind(above, above.wants())
			return
		}
	}
	m.faultOn(n, "is missing")
}
