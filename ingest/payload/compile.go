package payload

import (
	"strconv"
	"strings"

	"github.com/fincart/courier-gateway/ingest/event"
)

// NewDecoder compiles a mapping. Its error is [event.Faults]: everything that is
// wrong with the mapping, by the paths of its keys, as in "checkpoints.time.zone".
func NewDecoder(m Mapping) (*Decoder, error) {
	canonical := m.Canonical()
	if canonical && len(m.Ignore) == 0 {
		return &Decoder{}, nil
	}
	c := compiler{nodes: 1}
	d := &Decoder{root: &node{path: "$"}, standard: canonical}
	c.into = d.root
	if canonical {
		d.kind = c.field("event_type", []string{"{eventType}"}, memberType, names)
	} else {
		c.event(d, &m)
	}
	c.into = d.root
	d.ignore = c.ignore(m.Ignore, d.kind.alternatives)
	if c.nodes > maxNodes {
		c.fault("$", "the paths go through %d members and elements, no more than %d are possible", c.nodes, maxNodes)
	}
	if err := c.faults.Err(); err != nil {
		return nil, err
	}
	return d, nil
}

// event compiles the places of what an event is made of.
func (c *compiler) event(d *Decoder, m *Mapping) {
	switch {
	case len(m.EventID) > 0:
		d.id = c.field("event_id", m.EventID, memberID, identifies)
		d.key = c.field("idempotency_key", m.Key, memberKey, identifies)
	case len(m.Key) > 0:
		d.id = c.field("idempotency_key", m.Key, memberID, identifies)
	default:
		c.fault("event_id", "is needed, or else idempotency_key")
	}
	d.kind = c.field("event_type", given(m.Type, []string{DefaultType}), memberType, names)
	d.source = c.field("source", m.Source, memberSource, names)
	d.shipment = c.field("shipment_id", m.ShipmentID, memberShipmentID, 0)
	if len(m.ShipmentID) == 0 {
		c.fault("shipment_id", "is needed")
	}
	d.order = c.field("order_id", m.OrderID, memberOrderID, 0)
	d.status = c.report("", m.Status, m.Substatus, m.States, nil)
	d.time = c.clock("time", m.Time, "")
	d.extra = c.extra(m.Single)
	d.list = c.list(m, d.status.states)
	if len(m.Time.From) == 0 && !m.Time.Received && d.list == nil {
		c.fault("time.from", "is needed, unless checkpoints have the time or time.received allows the time of receipt in its place")
	}
}

func (m *Mapping) zero() bool {
	templates := len(m.EventID) + len(m.Key) + len(m.Type) + len(m.Source) + len(m.ShipmentID) +
		len(m.OrderID) + len(m.Status) + len(m.Substatus) + len(m.States) + len(m.Single)
	return templates == 0 && m.Time.zero() && m.Checkpoints.zero()
}

func (t *TimeMapping) zero() bool {
	return len(t.From) == 0 && len(t.Formats) == 0 && t.Zone == "" && !t.Received
}

func (c *CheckpointMapping) zero() bool {
	return c.Path == "" && c.Time.zero() && len(c.Status)+len(c.Substatus)+len(c.States) == 0
}

func given(templates, otherwise []string) []string {
	if len(templates) > 0 {
		return templates
	}
	return otherwise
}

// use says what a template may be made of beside members, text among them, and
// what its members may hold.
type use uint8

const (
	identifies use = 1 << iota // headers and the body's hash too
	names                      // text alone too
	anyScalar                  // true and false too
)

// field is the place of one member of an event.
type field struct {
	alternatives []template
	member       member // whose rules the text must keep
}

// template is a compiled template.
type template struct {
	parts  []part
	path   string // by which faults call it
	scalar bool   // true and false are taken as text
}

// part is a placeholder or the text between two. One of its members is set.
type part struct {
	text   string
	node   *node
	header string
	hash   bool
}

type compiler struct {
	faults event.Faults
	into   *node // the root that paths start from
	nodes  int   // made so far
}

func (c *compiler) fault(key, format string, args ...any) {
	c.faults.Check(false, key, format, args...)
}

func (c *compiler) field(key string, templates []string, m member, u use) field {
	return field{alternatives: c.templates(key, templates, u), member: m}
}

func (c *compiler) templates(key string, texts []string, u use) []template {
	out := make([]template, len(texts))
	for i, text := range texts {
		at := key
		if len(texts) > 1 {
			at += "[" + strconv.Itoa(i) + "]"
		}
		out[i] = c.template(at, text, u)
	}
	return out
}

func (c *compiler) template(key, text string, u use) template {
	t := template{scalar: u&anyScalar != 0}
	var paths []string
	for rest := text; rest != ""; {
		before, after, open := strings.Cut(rest, "{")
		if before != "" {
			t.parts = append(t.parts, part{text: before})
		}
		if strings.Contains(before, "}") {
			c.fault(key, "%q has a } without a {", text)
			return t
		}
		if !open {
			break
		}
		inside := placeholder(after)
		if inside == len(after) {
			c.fault(key, "%q has a { without a }", text)
			return t
		}
		p, path := c.part(key, after[:inside], u)
		t.parts, paths = append(t.parts, p), append(paths, path)
		rest = after[inside+1:]
	}
	t.path = strings.Join(paths, "+")
	switch {
	case text == "":
		c.fault(key, "must not be empty")
	case len(paths) > 0:
	case u&names == 0:
		c.fault(key, "%q is the same for every event; a member is named as in {id}", text)
	case textFault(memberType, text) != "":
		c.fault(key, "%q %s", text, textFault(memberType, text))
	}
	return t
}

// placeholder returns the index of the closing brace of a placeholder, leaving out
// those between quotes; the length of s when there is none.
func placeholder(s string) int {
	quote := byte(0)
	for i := range len(s) {
		switch c := s[i]; {
		case quote == 0 && c == '}':
			return i
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == quote:
			quote = 0
		}
	}
	return len(s)
}

func (c *compiler) part(key, inside string, u use) (part, string) {
	special, of, ok := strings.Cut(inside, ":")
	switch {
	case !ok || strings.ContainsAny(special, `.[`):
		n := c.path(key, inside)
		n.wanted = true
		return part{node: n}, n.path
	case special != "header" && inside != "sha256:body":
		c.fault(key, `{%s} is neither {header:name} nor {sha256:body}; a member's name with a colon goes in brackets and quotes, as in {["a:b"]}`, inside)
	case u&identifies == 0:
		c.fault(key, "{%s} can be used for event_id and idempotency_key only", inside)
	case special == "sha256":
		return part{hash: true}, "$"
	case !validHeader(of):
		c.fault(key, "%q can't be the name of a header", of)
	}
	name := strings.ToLower(of)
	return part{header: name}, "header:" + name
}

// validHeader reports whether name is a token of RFC 9110.
func validHeader(name string) bool {
	const others = "!#$%&'*+-.^_`|~"
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z') && !strings.ContainsRune(others, r)
	})
}

// extra compiles the elements that arrays of a single one must not have.
func (c *compiler) extra(arrays []string) []*node {
	out := make([]*node, 0, len(arrays))
	for i, path := range arrays {
		key := "single[" + strconv.Itoa(i) + "]"
		if strings.ContainsAny(path, "{}") || path == "" {
			c.fault(key, "must be the path of an array, without braces, as in data.parcels")
			continue
		}
		out = append(out, c.path(key, path+"[1]"))
	}
	return out
}

// list is the array of checkpoints. The nodes of an element have the ids from up
// to, but not including, to.
type list struct {
	node     *node // of the array
	element  *node
	from, to int
	time     clock
	status   report
}

// list compiles the checkpoints, nil when there are none.
func (c *compiler) list(m *Mapping, states states) *list {
	from := &m.Checkpoints
	if from.zero() {
		return nil
	}
	if strings.ContainsAny(from.Path, "{}") || from.Path == "" {
		c.fault("checkpoints.path", "must be the path of an array, without braces, as in msg.checkpoints")
		return nil
	}
	l := &list{node: c.path("checkpoints.path", from.Path)}
	l.node.list = l
	l.from = c.nodes
	l.element = c.node(nil, "")
	c.into = l.element
	l.time = c.clock("checkpoints.time", from.Time, m.Time.Zone)
	if len(from.Time.From) == 0 {
		c.fault("checkpoints.time.from", "is needed")
	}
	if from.Time.Received {
		c.fault("checkpoints.time.received", "a checkpoint's time must be in the body")
	}
	l.status = c.report("checkpoints.", from.Status, from.Substatus, from.States, states)
	l.to = c.nodes
	return l
}
