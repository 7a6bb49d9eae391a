package integrity

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/fincart/courier-gateway/ingest/event/loss"
)

// ranges is a set of sequences: ascending, with a gap between each two.
type ranges []loss.Range

// rangesOf returns the set of all that list has, in any order and overlapping.
func rangesOf(list ...loss.Range) ranges {
	list = slices.DeleteFunc(slices.Clone(list), func(r loss.Range) bool { return r.First > r.Last })
	slices.SortFunc(list, func(a, b loss.Range) int { return cmp.Compare(a.First, b.First) })
	var set ranges
	for _, r := range list {
		if last := len(set) - 1; last >= 0 && r.First <= set[last].Last+1 {
			set[last].Last = max(set[last].Last, r.Last)
			continue
		}
		set = append(set, r)
	}
	return set
}

// sequencesOf returns the set of single sequences.
func sequencesOf(seqs []uint64) ranges {
	list := make([]loss.Range, len(seqs))
	for i, seq := range seqs {
		list[i] = loss.Range{First: seq, Last: seq}
	}
	return rangesOf(list...)
}

// count returns how many sequences the set has.
func (rs ranges) count() (n uint64) {
	for _, r := range rs {
		n += r.Count()
	}
	return n
}

// union returns what is in either set.
func (rs ranges) union(other ranges) ranges { return rangesOf(slices.Concat(rs, other)...) }

// without returns what is in rs and not in other.
func (rs ranges) without(other ranges) (left ranges) {
	i := 0
	for _, r := range rs {
		for i > 0 && other[i-1].Last >= r.First { // reaches from the range before
			i--
		}
		for ; i < len(other) && other[i].First <= r.Last; i++ {
			if other[i].Last < r.First {
				continue
			}
			if other[i].First > r.First {
				left = append(left, loss.Range{First: r.First, Last: other[i].First - 1})
			}
			r.First = other[i].Last + 1
			if r.First > r.Last {
				break
			}
		}
		if r.First <= r.Last {
			left = append(left, r)
		}
	}
	return left
}

// end returns the last sequence of the run that seq is in; ok is false when it is
// in none.
func (rs ranges) end(seq uint64) (last uint64, ok bool) {
	i, _ := slices.BinarySearchFunc(rs, seq, func(r loss.Range, seq uint64) int { return cmp.Compare(r.Last, seq) })
	if i == len(rs) || rs[i].First > seq {
		return 0, false
	}
	return rs[i].Last, true
}

// shownRanges bounds how many ranges a line of the log has.
const shownRanges = 20

// String shows the set as "3, 5-9", the first ranges of it.
func (rs ranges) String() string {
	var b strings.Builder
	for i, r := range rs[:min(len(rs), shownRanges)] {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprint(&b, r.First)
		if r.Last > r.First {
			fmt.Fprint(&b, "-", r.Last)
		}
	}
	if more := len(rs) - shownRanges; more > 0 {
		fmt.Fprintf(&b, " and %d more ranges", more)
	}
	return b.String()
}
