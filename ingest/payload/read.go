package payload

import (
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/jsontext"
)

// decoding is one decode by a mapping. First it goes through the body and records
// for each node of the plan which value the body has there; then it fills the event
// from these.
type decoding struct {
	jsontext.Scanner
	plan     *Decoder
	event    *event.Event
	received time.Time
	queued   bool // the envelope has id and key
	tooMany  bool // there are more checkpoints than are kept
	values   values
	faults   reporter
}

// values are what a request has at the nodes of a plan, and in its headers.
type values struct {
	body    []byte // the JSON text
	sent    []byte // the body that has it
	headers Headers
	kinds   [maxNodes]byte // by node id: how its value starts, 0 while it is not met
	spans   [maxNodes]span // by node id: the values that templates ask for
}

// span is a value's place in the body, without the quotes of a string.
type span struct{ start, end int }

// The kinds of strings that hold escapes: one is half a surrogate pair, or none is.
const (
	halved  = 'u'
	escaped = '\\'
)

// run decodes the body.
func (m *decoding) run() event.Faults {
	m.faults.kept = len(m.faults.all)
	*m.event = event.Event{Checkpoints: m.event.Checkpoints[:0]}
	m.Space()
	c := m.Peek()
	m.value(m.plan.root)
	m.End()
	switch {
	case m.Failed():
		return append(m.faults.all[:m.faults.kept], event.Fault{Path: "$", Message: m.Problem()})
	case !m.plan.root.fits(c):
		return append(m.faults.all[:m.faults.kept], event.Fault{Path: "$", Message: "must be " + m.plan.root.wants() + ", is " + jsontext.Kind(c)})
	}
	if why := m.ignored(); why != "" && len(m.faults.all) == m.faults.kept && !m.queued {
		m.event.Type, _, _ = m.values.first(m.plan.kind.alternatives)
		m.event.Ignored = why
		return m.faults.all
	}
	if m.plan.standard {
		return DecodeCanonical(m.values.body, m.event, m.faults.all[:m.faults.kept])
	}
	m.fill()
	m.event.LeftOut = m.faults.leftOut
	return m.faults.all
}

// value consumes the value of n and records it.
func (m *decoding) value(n *node) {
	if m.values.kinds[n.id] != 0 {
		m.faults.at(n, doubled)
		m.Skip()
		return
	}
	c := m.Peek()
	m.values.kinds[n.id] = c
	switch {
	case c == '{' && len(n.members) > 0:
		m.object(n)
	case c == '[' && n.isArray():
		m.array(n)
	case c == '"' && n.wanted:
		raw, escapes := m.Quoted()
		m.values.spans[n.id] = span{m.Pos() - 1 - len(raw), m.Pos() - 1}
		switch {
		case escapes && jsontext.HalfPair(raw):
			m.values.kinds[n.id] = halved
		case escapes:
			m.values.kinds[n.id] = escaped
		}
	default:
		start := m.Pos()
		m.Skip()
		m.values.spans[n.id] = span{start, m.Pos()}
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

// checkpoint consumes element i of the list and adds its checkpoint, unless it can't be
// read.
func (m *decoding) checkpoint(l *list, i int) {
	clear(m.values.kinds[l.from:l.to])
	m.faults.noted &^= 1<<l.to - 1<<l.from
	m.faults.inside, m.faults.index, m.faults.unfit = l, i, false
	m.value(l.element)
	if !m.Failed() && !m.faults.unfit {
		m.addCheckpoint(l)
	}
	m.faults.inside = nil
}
