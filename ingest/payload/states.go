package payload

import (
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/fincart/courier-gateway/ingest/event/shipment"
)

// report is where a sender's status is, and what it means.
type report struct {
	status, substatus []template
	states            states
}

// NoState is the place in [Mapping.States] of statuses that say nothing of where the
// parcel is: another date of delivery, a changed address. What they report is an event without
// a status.
const NoState shipment.State = "none"

// states maps a sender's statuses, and "status/substatus", both folded, onto ours.
type states map[string]shipment.State

// report compiles a report; otherwise is the table used when it has none itself.
func (c *compiler) report(prefix string, from, sub []string, table map[shipment.State][]string, otherwise states) report {
	r := report{
		status:    c.templates(prefix+"status", from, anyScalar),
		substatus: c.templates(prefix+"substatus", sub, anyScalar),
		states:    c.states(prefix+"states", table),
	}
	if len(r.states) == 0 {
		r.states = otherwise
	}
	if len(from) == 0 && len(sub)+len(table) > 0 {
		c.fault(prefix+"status", "is needed for substatus and states")
	}
	return r
}

func (c *compiler) states(key string, table map[shipment.State][]string) states {
	out := make(states, len(table))
	known := append(slices.Clone(shipment.States), NoState)
	for _, state := range known {
		for _, status := range table[state] {
			folded := string(appendFolded(nil, status))
			switch other, twice := out[folded]; {
			case folded == "":
				c.fault(key+"."+string(state), "an empty status can't be listed")
			case twice && other != state:
				c.fault(key+"."+string(state), "%q is listed as %s too", status, other)
			default:
				out[folded] = state
			}
		}
	}
	for _, state := range slices.Sorted(maps.Keys(table)) {
		if !slices.Contains(known, state) {
			c.fault(key+"."+string(state), "%q is none of %v", state, known)
		}
	}
	return out
}

// lists reports whether the table has status; without one our own words count.
func (s states) lists(status string) bool {
	folded := string(appendFolded(nil, status))
	if len(s) == 0 {
		return folded == string(shipment.Unknown) || shipment.ParseState(status) != shipment.Unknown
	}
	_, ok := s[folded]
	return ok
}

// listsPair reports whether the table has status with substatus.
func (s states) listsPair(status, substatus string) bool {
	var memory [128]byte
	_, ok := s[string(appendPair(memory[:0], status, substatus))]
	return ok
}

// of returns what a sender's status means. It does not allocate for texts of
// usual length.
func (s states) of(status, substatus string) shipment.State {
	if len(s) == 0 {
		return shipment.ParseState(status)
	}
	var memory [128]byte
	if substatus != "" {
		if state, ok := s[string(appendPair(memory[:0], status, substatus))]; ok {
			return state
		}
	}
	if state, ok := s[string(appendFolded(memory[:0], status))]; ok {
		return state
	}
	return shipment.Unknown
}

// appendPair appends status and substatus as the table has them.
func appendPair(b []byte, status, substatus string) []byte {
	return appendFolded(append(appendFolded(b, status), '/'), substatus)
}

// appendFolded appends s in lower case, without white space around it, and with a space
// for "_" and "-": senders write one status in several ways.
func appendFolded(b []byte, s string) []byte {
	for _, r := range strings.TrimSpace(s) {
		if r == '_' || r == '-' {
			r = ' '
		}
		b = utf8.AppendRune(b, unicode.ToLower(r))
	}
	return b
}

// Mapped reports whether a status, as [event.FullStatus] has it, means something by the
// mapping, if only "unknown": for a scan of a history, or for an event of its own.
func (d *Decoder) Mapped(status string, scan bool) bool {
	switch {
	case d == nil || d.root == nil || d.standard:
		return states(nil).lists(status)
	case scan:
		return d.list != nil && d.list.status.means(status)
	default:
		return d.status.means(status)
	}
}

// means reports whether the table has a status with its substatus, or the status alone.
func (r *report) means(status string) bool {
	if len(r.status) == 0 {
		return false
	}
	if r.states.lists(status) {
		return true
	}
	for i := range status {
		if status[i] == '/' && len(r.substatus) > 0 && r.states.lists(status[:i]) {
			return true
		}
	}
	return false
}
