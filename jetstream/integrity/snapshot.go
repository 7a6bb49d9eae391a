package integrity

import (
	"slices"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/fincart/courier-gateway/ingest/event/loss"
)

// snapshot is what the stream has at one time, beside what was known before.
type snapshot struct {
	known    Position // read before the stream was asked
	verified uint64   // read after, so that what was purged meanwhile is below it
	info     *natsjs.StreamInfo
	details  bool   // the info has the deleted sequences
	embedded bool   // nothing else publishes to it, so that known has all that was acknowledged
	end      ranges // that the stream counts at its end and can't read
	// noPosition is set when the broker has no position of the reconciler.
	noPosition bool
}

func (s snapshot) birth() int64 { return s.info.Created.UnixNano() }

// recreated reports whether the stream is another one than the known one.
func (s snapshot) recreated() bool { return s.known.Birth != 0 && s.known.Birth != s.birth() }

// behind reports whether the stream has less than what was acknowledged.
func (s snapshot) behind() bool {
	return s.recreated() || s.known.Birth != 0 && s.info.State.LastSeq < s.known.Highest
}

// missing returns what the stream should have and doesn't.
func (s snapshot) missing() (found []missing) {
	state, known := s.info.State, s.known
	since, until := endedAfter(known), unixTime(known.At)
	if s.recreated() {
		return []missing{{
			cause: loss.Recreated, birth: known.Birth, endedAfter: since, receivedBefore: until,
			sequences: rangesOf(loss.Range{First: known.Verified + 1, Last: known.Highest}),
		}}
	}
	if from := max(state.LastSeq, s.verified) + 1; known.Birth != 0 && from <= known.Highest {
		found = append(found, missing{
			cause: loss.Cut, birth: s.birth(), endedAfter: since, receivedBefore: until,
			sequences: ranges{{First: from, Last: known.Highest}},
		})
	}
	if holes := s.holes().without(s.unacknowledged()); len(holes) > 0 {
		found = append(found, missing{cause: loss.Hole, birth: s.birth(), endedAfter: since, sequences: holes})
	}
	if lost := state.Lost; lost != nil && known.Birth == 0 {
		found = append(found, s.unknownEnd(lost)...)
	}
	return found
}

// holes returns the sequences above the verified one at which the stream has nothing
// that can be read.
func (s snapshot) holes() ranges {
	state, found := s.info.State, ranges{}
	// A position that is unknown beside a stream that was never verified says nothing
	// of where the stream began.
	if begins := s.verified > 0 || s.known.Birth != 0; begins && state.FirstSeq > s.verified+1 {
		found = append(found, loss.Range{First: s.verified + 1, Last: min(state.FirstSeq-1, max(state.LastSeq, s.verified))})
	}
	for _, seq := range state.Deleted {
		if seq > s.verified && seq >= state.FirstSeq && seq <= state.LastSeq {
			found = append(found, loss.Range{First: seq, Last: seq})
		}
	}
	return rangesOf(slices.Concat(found, s.end)...)
}

// unacknowledged returns the holes at which nothing was ever acknowledged. An embedded
// broker counts a sequence for an event before it fails to write it, as on a full disk.
func (s snapshot) unacknowledged() ranges {
	if !s.embedded || s.known.Birth != s.birth() {
		return nil
	}
	return s.holes().without(ranges{{First: 0, Last: s.known.Highest}})
}

// unknownEnd returns what the broker reports as dropped when nothing else is known of
// the end of the stream, as at the first start with this file. It may be a torn
// record that was never acknowledged, too.
func (s snapshot) unknownEnd(lost *natsjs.LostStreamData) []missing {
	m := missing{cause: loss.Cut, birth: s.birth(), bytes: lost.Bytes}
	for _, seq := range lost.Msgs {
		if seq > max(s.info.State.LastSeq, s.verified) {
			m.sequences = append(m.sequences, loss.Range{First: seq, Last: seq})
		}
	}
	if m.sequences = rangesOf(m.sequences...); len(m.sequences) > 0 {
		m.bytes = 0 // the sequences say more
	}
	if len(m.sequences) == 0 && m.bytes == 0 || len(lost.Msgs) > 0 && len(m.sequences) == 0 {
		return nil
	}
	return []missing{m}
}

// clockSlack is how far the broker's clock may be ahead of a worker's.
const clockSlack = 10 * time.Minute

// endedAfter returns a time before which no event above the verified one can have
// ended: none was in the stream yet. The zero time when that is not known.
func endedAfter(known Position) time.Time {
	if known.VerifiedAt == 0 {
		return time.Time{}
	}
	return unixTime(known.VerifiedAt).Add(-clockSlack)
}

// unixTime is the time of a member of a position, the zero time for 0.
func unixTime(nanos int64) time.Time {
	if nanos == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanos)
}

// anchorOf returns an event by which the stream is known again.
func anchorOf(info *natsjs.StreamInfo) (seq uint64, at int64) {
	if info.State.Msgs == 0 {
		return 0, 0
	}
	return info.State.LastSeq, info.State.LastTime.UnixNano()
}
