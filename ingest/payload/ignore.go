package payload

import (
	"slices"
	"strconv"
	"strings"
)

// IgnoreRule describes requests that say nothing of a shipment: the intake answers them
// as it answers an event, counts them and keeps a few samples. Is and IsNot compare as
// [Mapping.States] does; one that ends in * stands for all that begin like it. A rule with a
// place and without any of Is, IsNot and Absent is about all that have something at its
// place.
//
// A place that can't be filled is not IsNot, so an event that has lost its type is read
// and checked like any other.
type IgnoreRule struct {
	At     string   `koanf:"at"`     // a template, of headers too; "" is the event's type
	Is     []string `koanf:"is"`     // ignored when it says one of these
	IsNot  []string `koanf:"is_not"` // ignored when it says something else than one of these
	Absent bool     `koanf:"absent"` // ignored when it is not there, or null

	// Without names a member that every event about a shipment has: where it is there
	// nothing is ignored. A rule about a header that is not signed needs it, because
	// otherwise a program on the way that changes the header could have an event ignored.
	Without string `koanf:"without"`
}

// ignoreRule is a compiled rule.
type ignoreRule struct {
	at     []template
	one    *node    // what at names, when that is one member
	listed []string // folded
	mode   ignoreMode
	unless *node // a body that has it is not ignored; nil for none
	reason string
}

type ignoreMode uint8

const (
	ignorePresent ignoreMode = iota
	ignoreAbsent
	ignoreIs
	ignoreIsNot
)

// ignore compiles the rules; kind is where the event's type is.
func (c *compiler) ignore(rules []IgnoreRule, kind []template) []ignoreRule {
	out := make([]ignoreRule, len(rules))
	for i, rule := range rules {
		out[i] = c.ignoreRule("ignore["+strconv.Itoa(i)+"]", rule, kind)
	}
	return out
}

func (c *compiler) ignoreRule(key string, from IgnoreRule, kind []template) ignoreRule {
	r := ignoreRule{at: kind}
	what := "the event type"
	switch {
	case from.At != "":
		r.at, what = []template{c.template(key+".at", from.At, identifies|anyScalar)}, from.At
	case !slices.ContainsFunc(kind, template.varies):
		c.fault(key+".at", "is needed, because the event type is the same for every event")
	case len(from.Is)+len(from.IsNot) == 0:
		c.fault(key, "needs is or is_not, or the place that it is about: otherwise it is about every event")
	}
	if from.Is != nil && len(from.Is) == 0 || from.IsNot != nil && len(from.IsNot) == 0 {
		c.fault(key, "has an empty list")
	}
	if len(r.at) == 1 && len(r.at[0].parts) == 1 {
		r.one = r.at[0].parts[0].node
	}
	if slices.ContainsFunc(r.at, func(t template) bool { return slices.ContainsFunc(t.parts, func(p part) bool { return p.hash }) }) {
		c.fault(key+".at", "can't be the hash of the body")
	}
	switch {
	case len(from.Is) > 0:
		r.mode, r.listed, what = ignoreIs, c.folded(key+".is", from.Is), what+" is "+quotedList("", "one of ", from.Is)
	case len(from.IsNot) > 0:
		r.mode, r.listed, what = ignoreIsNot, c.folded(key+".is_not", from.IsNot), what+" is "+quotedList("not ", "none of ", from.IsNot)
	case from.Absent:
		r.mode, what = ignoreAbsent, what+" is not there"
	default:
		what += " is there"
	}
	if given := len(from.Is) + len(from.IsNot); given > max(len(from.Is), len(from.IsNot)) || from.Absent && given > 0 {
		c.fault(key, "has more than one of is, is_not and absent")
	}
	if from.Without != "" {
		t := c.template(key+".without", from.Without, anyScalar)
		if len(t.parts) == 1 {
			r.unless = t.parts[0].node
		}
		if r.unless == nil {
			c.fault(key+".without", "must be one member, as in {id}")
		}
		what += ", and " + from.Without + " is not there"
	}
	r.reason = key + ": " + what
	return r
}

// varies reports whether a template has a placeholder.
func (t template) varies() bool {
	return slices.ContainsFunc(t.parts, func(p part) bool { return p.text == "" })
}

func (c *compiler) folded(key string, texts []string) []string {
	out := make([]string, len(texts))
	for i, text := range texts {
		if out[i] = string(appendFolded(nil, text)); out[i] == "" {
			c.fault(key+"["+strconv.Itoa(i)+"]", "must not be empty")
		}
	}
	return out
}

// quotedList writes the first few texts of a list, behind single when it has but one.
func quotedList(single, several string, texts []string) string {
	const most = 4
	quoted := make([]string, 0, most+1)
	for i, text := range texts {
		if i == most {
			quoted = append(quoted, "…")
			break
		}
		quoted = append(quoted, strconv.Quote(text))
	}
	if len(texts) == 1 {
		return single + quoted[0]
	}
	return several + strings.Join(quoted, ", ")
}

// ignored returns why the body says nothing of a shipment, "" when it may.
func (m *decoding) ignored() string {
	for i := range m.plan.ignore {
		if r := &m.plan.ignore[i]; m.matches(r) {
			return r.reason
		}
	}
	return ""
}

// has reports whether the body has something at n.
func (v *values) has(n *node) bool { return v.kinds[n.id] != 0 && v.kinds[n.id] != 'n' }

func (m *decoding) matches(r *ignoreRule) bool {
	if r.unless != nil && m.values.has(r.unless) {
		return false
	}
	if r.one != nil && (r.mode == ignorePresent || r.mode == ignoreAbsent) {
		return m.values.has(r.one) == (r.mode == ignorePresent)
	}
	text, _, got := m.values.first(r.at)
	switch r.mode {
	case ignorePresent:
		return got == filled
	case ignoreAbsent:
		return got == absent
	case ignoreIs:
		return got == filled && lists(r.listed, text)
	default:
		return got == filled && !lists(r.listed, text)
	}
}

// lists reports whether text is one of those listed. It does not allocate for texts of
// usual length.
func lists(listed []string, text string) bool {
	var memory [MaxIDBytes]byte
	folded := appendFolded(memory[:0], text)
	for _, one := range listed {
		begin, prefix := strings.CutSuffix(one, "*")
		if prefix && len(folded) >= len(begin) && string(folded[:len(begin)]) == begin || !prefix && string(folded) == one {
			return true
		}
	}
	return false
}
