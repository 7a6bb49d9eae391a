package event

import (
	"strconv"
	"time"
	"unsafe"
)

// reading is one decode by a mapping. First it goes through the body and notes
// what stands where a path leads; then it fills the event from its notes.
type reading struct {
	scanner
	plan     *Decoder
	event    *Event
	headers  Headers
	received time.Time
	queued   bool // the envelope tells id and key
	faults   []Fault
	kept     int // of the faults, those that were there before

	kinds  [maxNodes]byte // by node id: how its value starts, 0 while it is not met
	spans  [maxNodes]span // by node id: the values that templates ask for
	blamed uint64         // by node id: a fault names it already
	inside *list          // while an element is read: its list
	index  int            // and its place there
}

// span is a value's place in the body, without the quotes of a string.
type span struct{ start, end int }

// maxFaults bounds the faults of one body.
const maxFaults = 100

// escaped is the kind of a string that holds escapes.
const escaped = '\\'

// run decodes the body.
func (m *reading) run() []Fault {
	m.kept = len(m.faults)
	*m.event = Event{Checkpoints: m.event.Checkpoints[:0]}
	m.space()
	c := m.peek()
	m.value(m.plan.root)
	m.space()
	if !m.failed() && m.pos < len(m.src) {
		m.fail("the end of the body")
	}
	switch {
	case m.failed():
		return append(m.faults[:m.kept], Fault{Path: "$", Message: m.problem()})
	case !m.plan.root.fits(c):
		return append(m.faults[:m.kept], Fault{Path: "$", Message: "must be " + m.plan.root.wants() + ", is " + kind(c)})
	}
	m.fill()
	return m.faults
}

// value consumes the value of n and notes it.
func (m *reading) value(n *node) {
	if m.kinds[n.id] != 0 {
		m.blame(n, "appears more than once")
		m.skip()
		return
	}
	c := m.peek()
	m.kinds[n.id] = c
	switch {
	case c == '{' && len(n.members) > 0:
		m.object(n)
	case c == '[' && n.isArray():
		m.array(n)
	case c == '"' && n.wanted:
		raw, escapes := m.quoted()
		m.spans[n.id] = span{m.pos - 1 - len(raw), m.pos - 1}
		if escapes {
			m.kinds[n.id] = escaped
		}
	default:
		start := m.pos
		m.skip()
		m.spans[n.id] = span{start, m.pos}
	}
}

func (m *reading) object(n *node) {
	for ok := m.enter('}'); ok; ok = m.more('}') {
		if child := n.memberNamed(m.key()); child != nil {
			m.value(child)
		} else {
			m.skip()
		}
	}
}

func (m *reading) array(n *node) {
	last := m.pos
	i := 0
	for ok := m.enter(']'); ok; ok = m.more(']') {
		last = m.pos
		child := n.element(i)
		switch {
		case n.list != nil:
			m.checkpoint(n.list, i)
			if child != nil {
				m.again(child, last)
			}
		case child != nil:
			m.value(child)
		default:
			m.skip()
		}
		i++
	}
	if n.last != nil && i > 0 {
		m.again(n.last, last)
	}
}

// again notes for n what an element at pos holds that has been consumed already.
func (m *reading) again(n *node, pos int) {
	if m.failed() {
		return
	}
	end := m.pos
	m.pos = pos
	m.value(n)
	m.pos = end
}

// checkpoint consumes element i of the list and adds what it tells.
func (m *reading) checkpoint(l *list, i int) {
	if i >= MaxCheckpoints {
		m.blame(l.node, "must not hold more than "+strconv.Itoa(MaxCheckpoints)+" checkpoints")
		m.skip()
		return
	}
	clear(m.kinds[l.from:l.to])
	m.blamed &^= 1<<l.to - 1<<l.from
	m.inside, m.index = l, i
	m.value(l.element)
	if !m.failed() {
		m.addCheckpoint(l)
	}
	m.inside = nil
}

// raw returns the text of a value, which shares memory with the body unless
// escapes had to be resolved.
func (m *reading) raw(n *node) string {
	at := m.spans[n.id]
	if m.kinds[n.id] == escaped {
		return unescape(m.src[at.start:at.end])
	}
	return unsafe.String(unsafe.SliceData(m.src[at.start:]), at.end-at.start)
}

// fault adds a fault at a path, which inside an element is relative to it. Past
// maxFaults it adds no more, because a body can have as many as it has elements.
func (m *reading) fault(path, message string) {
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
	m.faults = append(m.faults, Fault{Path: path, Message: message})
}

// blame adds a fault at n unless there is one already.
func (m *reading) blame(n *node, message string) {
	if m.blamed&(1<<n.id) == 0 {
		m.blamed |= 1 << n.id
		m.fault(n.path, message)
	}
}

// blameKind is blame for a value of a type that is not wanted.
func (m *reading) blameKind(n *node, wanted string) {
	c := m.kinds[n.id]
	if c == escaped {
		c = '"'
	}
	m.blame(n, "must be "+wanted+", is "+kind(c))
}

// blameMissing says that n is not there, or why it can't be.
func (m *reading) blameMissing(n *node) {
	for above := n.parent; above != nil; above = above.parent {
		if c := m.kinds[above.id]; c != 0 && c != 'n' && !above.fits(c) {
			m.blameKind(above, above.wants())
			return
		}
	}
	m.blame(n, "is missing")
}
