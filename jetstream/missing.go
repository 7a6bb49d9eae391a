package jetstream

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/loss"
)

// How lost events are noticed. Nothing removes an event from EVENTS before it is
// verified, so of everything above the verified sequence
//
//	a sequence that the stream does not have     is missing: it was deleted, or its
//	                                             block is gone ([Broker.examine])
//	one that it has and can't read               is missing: the reconciler finds it
//	                                             where it reads ([Broker.PullSettled])
//	one at or below position.highest and above   is missing: the stream was cut
//	the stream's last, or of a stream made since ([Broker.examine])
//	one that is acknowledged a second time       the first event is missing
//	                                             ([publisher.receipt])
//
// What is missing goes on the list of losses, durably, before a new event can get
// its sequence. The reconciler then looks it up in the ledger: what has its outcome
// there leaves the list again, the rest is lost.
//
// An embedded stream that was cut goes on above the highest sequence that it had
// acknowledged ([Broker.continueAbove]), so that no sequence ever names two events.
// On an external broker others may publish at any time, so its sequences are used
// again.

// openState opens what is kept apart from the stream.
func (b *Broker) openState() error {
	dir, err := b.lockState()
	if err != nil {
		return err
	}
	var damaged bool
	if b.position, damaged, err = openPosition(dir); err != nil {
		return err
	}
	b.onStop("what is known of the queue", func(context.Context) error { return b.position.close() })
	if damaged {
		b.log.Warn("the file of what is known of the queue is damaged and begins again: an end of the queue that is lost can't be noticed by this start", "dir", dir)
	}
	var aside string
	if b.losses, aside, err = openLosses(dir); err != nil {
		return err
	}
	if aside != "" {
		b.log.Error("the list of losses can't be read, it was put aside and a new one begun", "file", aside)
	}
	b.countLosses()
	return nil
}

// maxSharedState bounds how many processes keep what they know side by side.
const maxSharedState = 16

// lockState takes a directory for this process alone. Several that share an external
// broker may share a data directory too; then each has its own beside the others'.
func (b *Broker) lockState() (dir string, err error) {
	for n := range maxSharedState {
		if dir = b.cfg.StateDir; n > 0 {
			dir = fmt.Sprint(b.cfg.StateDir, "-", n+1)
		}
		if err = os.MkdirAll(dir, 0o700); err != nil {
			return "", fmt.Errorf("make the directory of what is known of the queue: %w", err)
		}
		var unlock func() error
		if unlock, err = lockStore(dir); err == nil {
			b.onStop("lock of what is known of the queue", func(context.Context) error { return unlock() })
			return dir, nil
		}
		if b.server != nil {
			break
		}
	}
	return "", err
}

// fillerSubject is that of the messages which take up lost sequences. No courier
// has such a name.
const fillerSubject = subjectPrefix + "=lost="

// examineStart compares the stream with what is known of it before anything is
// accepted, and makes an embedded one go on above what it had acknowledged.
func (b *Broker) examineStart(ctx context.Context) error {
	s, err := b.seeStream(ctx, true)
	if err != nil {
		return err
	}
	b.reportUnreadable(s)
	same, err := b.sameEvents(ctx, s)
	if err != nil {
		return err
	}
	if same {
		b.log.Warn("the stream of the events has been defined again, and has the events that it had")
		b.position.update(func(p *position) { p.birth = s.birth() })
		if s, err = b.seeStream(ctx, true); err != nil {
			return err
		}
	}
	if s.end, err = b.unreadableEnd(ctx, s); err != nil {
		return err
	}
	if b.server == nil && b.cfg.Replicas > 1 && b.behind(s) {
		if s, err = b.seeAgain(ctx); err != nil {
			return err
		}
	}
	if err := b.nameMissing(s); err != nil {
		return err
	}
	if b.server != nil {
		if s, err = b.openDamagedAgain(ctx, s); err != nil {
			return err
		}
		if err := b.losses.notLost(s.birth(), loss.Hole, s.unacknowledged()); err != nil {
			return err
		}
		return b.continueAbove(ctx, s)
	}
	first, err := b.replacedSince(ctx, s)
	if err != nil || first == 0 {
		return err
	}
	return b.nameReused(s, first, s.known.highest)
}

// openDamagedAgain starts the embedded server once more when it has dropped a part of
// its files: what it counts by subject and hands out is wrong until then, because it
// has corrected its files under what it had read of them before (nats-server v2.15.2,
// server/filestore.go rebuildStateLocked).
func (b *Broker) openDamagedAgain(ctx context.Context, s sight) (sight, error) {
	if s.info.State.Lost == nil {
		return s, nil
	}
	b.server.stop()
	if err := b.startServer(); err != nil {
		return s, err
	}
	if err := b.waitConnected(ctx); err != nil {
		return s, err
	}
	if err := b.ensureTopology(ctx); err != nil {
		return s, err
	}
	again, err := b.seeStream(ctx, true)
	if err != nil {
		return s, err
	}
	return again, b.nameMissing(again)
}

// seeAgain looks once more at a cluster's stream that seems to end too early: a
// server that is no longer the leader may be the one that answered.
func (b *Broker) seeAgain(ctx context.Context) (s sight, err error) {
	for range confirmLooks {
		if err := sleep(ctx, confirmEvery); err != nil {
			return s, err
		}
		if s, err = b.seeStream(ctx, true); err != nil || !b.behind(s) {
			return s, err
		}
	}
	return s, nil
}

const (
	confirmLooks = 4
	confirmEvery = 500 * time.Millisecond
)

// sight is what is seen of the stream at one time, beside what was known before.
type sight struct {
	known    position // read before the stream was asked
	verified uint64   // read after, so that what was purged meanwhile is below it
	info     *natsjs.StreamInfo
	details  bool   // the info has the deleted sequences
	alone    bool   // nothing else publishes to it, so that known has all that was acknowledged
	end      ranges // that the stream counts at its end and can't read
}

func (b *Broker) seeStream(ctx context.Context, details bool) (s sight, err error) {
	s.known, s.details, s.alone = b.position.get(), details, b.server != nil
	var opts []natsjs.StreamInfoOpt
	if details {
		opts = append(opts, natsjs.WithDeletedDetails(true))
	}
	if s.info, err = b.topo.Load().events.Info(ctx, opts...); err != nil {
		return s, down("look at the stream", err)
	}
	s.verified, err = b.verifiedBeside(ctx, s)
	return s, err
}

// verifiedBeside returns the highest sequence that is known as verified. Where the
// broker of this process alone has no position, the one that was kept apart counts: the
// stream's first sequence, which stands in for it, may be where a loss ends.
func (b *Broker) verifiedBeside(ctx context.Context, s sight) (verified uint64, err error) {
	verified, err = b.verifiedUpTo(ctx)
	if !b.cfg.Consume {
		err = nil // a process that only publishes can do without
	}
	switch {
	case s.known.birth != s.birth():
	case b.server != nil && b.noPosition.Load():
		verified = s.known.verified
	default:
		verified = max(verified, s.known.verified)
	}
	return verified, err
}

func (s sight) birth() int64 { return s.info.Created.UnixNano() }

// maxUnreadableEnd bounds how many sequences unreadableEnd asks for.
const maxUnreadableEnd = 4096

// unreadableEnd returns the last sequences of the stream if they can't be read. No
// consumer and so no reconciler passes them before another event follows.
func (b *Broker) unreadableEnd(ctx context.Context, s sight) (end ranges, err error) {
	state := s.info.State
	for seq := state.LastSeq; seq > s.verified && seq >= state.FirstSeq && state.LastSeq-seq < maxUnreadableEnd; seq-- {
		_, err := b.Load(ctx, seq)
		if err == nil {
			break
		}
		if event.CodeOf(err) != event.NotFound {
			return nil, err
		}
		end = append(end, loss.Range{First: seq, Last: seq})
	}
	return rangesOf(end...), nil
}

// behind reports whether the stream has less than what was acknowledged.
func (b *Broker) behind(s sight) bool {
	return s.known.birth != 0 && (s.known.birth != s.birth() || s.info.State.LastSeq < s.known.highest)
}

// missing returns what the stream should have and doesn't.
func (s sight) missing() (found []missing) {
	state, known := s.info.State, s.known
	since, until := endedAfter(known), unixTime(known.at)
	if known.birth != 0 && known.birth != s.birth() {
		return []missing{{
			cause: loss.Recreated, birth: known.birth, endedAfter: since, receivedBefore: until,
			sequences: rangesOf(loss.Range{First: known.verified + 1, Last: known.highest}),
		}}
	}
	if from := max(state.LastSeq, s.verified) + 1; known.birth != 0 && from <= known.highest {
		found = append(found, missing{
			cause: loss.Cut, birth: s.birth(), endedAfter: since, receivedBefore: until,
			sequences: ranges{{First: from, Last: known.highest}},
		})
	}
	if holes := s.holes().without(s.unacknowledged()); len(holes) > 0 {
		found = append(found, missing{cause: loss.Hole, birth: s.birth(), endedAfter: since, sequences: holes})
	}
	if lost := state.Lost; lost != nil && known.birth == 0 {
		found = append(found, s.unknownEnd(lost)...)
	}
	return found
}

// holes returns the sequences above the verified one at which the stream has nothing
// that can be read.
func (s sight) holes() ranges {
	state, found := s.info.State, ranges{}
	// A position that is unknown beside a stream that was never verified says nothing
	// of where the stream began.
	if begins := s.verified > 0 || s.known.birth != 0; begins && state.FirstSeq > s.verified+1 {
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
func (s sight) unacknowledged() ranges {
	if !s.alone || s.known.birth != s.birth() {
		return nil
	}
	return s.holes().without(ranges{{First: 0, Last: s.known.highest}})
}

// unknownEnd returns what the broker says it dropped when nothing else is known of
// the end of the stream, as at the first start with this file. It may be a torn
// record that was never acknowledged, too.
func (s sight) unknownEnd(lost *natsjs.LostStreamData) []missing {
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
func endedAfter(known position) time.Time {
	if known.verifiedAt == 0 {
		return time.Time{}
	}
	return unixTime(known.verifiedAt).Add(-clockSlack)
}

// unixTime is the time of a member of a position, the zero time for 0.
func unixTime(nanos int64) time.Time {
	if nanos == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanos)
}

// reportUnreadable logs what the broker itself found unreadable when it opened its
// files. What of that was acknowledged, nameMissing finds out.
func (b *Broker) reportUnreadable(s sight) {
	b.m.unreadable.Set(0)
	if lost := s.info.State.Lost; lost != nil {
		b.m.unreadable.Set(float64(lost.Bytes))
		b.log.Warn("the broker could not read a part of its files and dropped it", "bytes", lost.Bytes, "events", len(lost.Msgs))
	}
}

// nameMissing puts on the list of losses what is missing, and says it loudly.
func (b *Broker) nameMissing(s sight) error {
	var errs []error
	for _, m := range s.missing() {
		errs = append(errs, b.name(m))
	}
	return errors.Join(errs...)
}

// name puts one kind of what is missing on the list. It says what is new there.
func (b *Broker) name(m missing) error {
	id, added, err := b.losses.add(m, time.Now())
	if err != nil {
		b.log.Error("events are missing from the queue, and the list of losses can't be written",
			"cause", string(m.cause), "count", m.sequences.count(), "bytes", m.bytes, "sequences", m.sequences.String(), "error", err)
		return fmt.Errorf("%d events are missing from the queue (%s), which can't be noted down: %w", m.sequences.count(), m.sequences, err)
	}
	if id == "" {
		return nil
	}
	b.countLosses()
	b.m.missing.Add(float64(added.count()))
	b.log.Error("events are missing from the queue, those without an outcome in the ledger are lost",
		"loss", id, "cause", string(m.cause), "count", added.count(), "bytes", m.bytes, "sequences", added.String())
	return nil
}

// countLosses brings the figures up to date with the list.
func (b *Broker) countLosses() {
	all, open := b.losses.counts()
	b.m.lost.Set(float64(all))
	b.m.lostOpen.Set(float64(open))
}

// continueAbove makes the embedded stream go on above the highest sequence that it
// has acknowledged, which are all named by now: an empty stream by its first
// sequence, another one by messages that take up what is lost and are removed
// again. When there is no room for them the sequences are used again.
func (b *Broker) continueAbove(ctx context.Context, s sight) error {
	highest, events := s.known.highest, b.topo.Load().events
	if s.known.birth == 0 || s.info.State.LastSeq >= highest {
		return nil
	}
	if s.info.State.Msgs == 0 {
		if err := events.Purge(ctx, natsjs.WithPurgeSequence(highest+1)); err != nil {
			return down("go on above what was acknowledged", err)
		}
	} else if err := b.fill(ctx, s.info.State.LastSeq, highest); err != nil {
		if event.CodeOf(err) != event.IntakeUnavailable {
			return err
		}
		b.log.Warn("the stream has no room to go on above what it acknowledged, sequences are used again", "error", err)
	}
	if err := events.Purge(ctx, natsjs.WithPurgeSubject(fillerSubject)); err != nil {
		return down("remove the messages that took up lost sequences", err)
	}
	if _, err := events.Info(ctx); err != nil {
		return down("go on above what was acknowledged", err)
	}
	if s.known.birth != s.birth() {
		// It begins above highest, and has lost nothing below.
		return b.losses.notLost(s.birth(), loss.Recreated, ranges{{First: 1, Last: highest}})
	}
	return nil
}

// fillBatch is how many of fill's messages wait for one answer. The broker drops
// what is more than 10,000 behind.
const fillBatch = 1000

// fill stores messages until the stream ends at highest.
func (b *Broker) fill(ctx context.Context, last, highest uint64) error {
	for last < highest {
		for range min(highest-last, fillBatch) - 1 {
			if err := b.admin.Publish(fillerSubject, nil); err != nil {
				return down("take up lost sequences", err)
			}
		}
		answer, err := b.admin.RequestWithContext(ctx, fillerSubject, nil)
		if err != nil {
			return down("take up lost sequences", err)
		}
		a := parseAck(answer.Data)
		if a.err != nil {
			return a.err
		}
		if a.seq <= last || a.seq > highest {
			return event.Errorf(event.Internal, "take up lost sequences", "the stream went on at %d, behind %d and up to %d", a.seq, last, highest)
		}
		last = a.seq
	}
	return nil
}

// begin says that the stream is as it should be from now on: everything it has is
// durable, and what it lacks is named.
func (b *Broker) begin(ctx context.Context) error {
	s, err := b.seeStream(ctx, false)
	if err != nil {
		return err
	}
	b.position.update(func(p *position) {
		sameStream := p.birth == s.birth()
		p.birth, p.highest, p.at = s.birth(), s.info.State.LastSeq, time.Now().UnixNano()
		if !sameStream {
			p.verifiedAt = 0
		}
		p.verified = min(s.verified, p.highest)
		if !sameStream && s.known.birth != 0 && b.server != nil && b.noPosition.Load() {
			p.verified = 0 // what was lost with the other stream is no outcome
		}
		p.anchor, p.anchorAt = anchorOf(s.info)
	})
	b.seen.deleted = s.info.State.NumDeleted
	b.losses.forget(s.birth(), s.info.State.LastSeq+1)
	return b.position.sync()
}

// anchorOf returns an event by which the stream is known again.
func anchorOf(info *natsjs.StreamInfo) (seq uint64, at int64) {
	if info.State.Msgs == 0 {
		return 0, 0
	}
	return info.State.LastSeq, info.State.LastTime.UnixNano()
}

// noteVerified remembers how far events are verified, and when the event there
// was stored if that is known.
func (b *Broker) noteVerified(seq uint64, stored time.Time) {
	b.position.update(func(p *position) {
		if p.birth == b.birth() && seq > p.verified {
			p.verified = seq
			if !stored.IsZero() {
				p.verifiedAt = stored.UnixNano()
			}
		}
	})
}

// ReportMissing puts sequences on the list of losses that the stream should have
// and doesn't. The error's code is Internal when they can't be noted down.
func (b *Broker) ReportMissing(_ context.Context, seqs []uint64) error {
	return b.name(missing{
		cause: loss.Hole, birth: b.birth(), sequences: sequencesOf(seqs), endedAfter: endedAfter(b.position.get()),
	})
}

// Losses returns what the queue is known to have lost, the oldest first.
func (b *Broker) Losses() []loss.Loss { return b.losses.all() }

// AcknowledgeLoss marks a loss as known to an operator, for good; the note may be
// empty. The error's code is NotFound when there is no such loss.
func (b *Broker) AcknowledgeLoss(_ context.Context, id, note string) (loss.Loss, error) {
	l, err := b.losses.acknowledge(id, note, time.Now())
	if err == nil {
		b.countLosses()
		b.log.Info("loss acknowledged", "loss", id, "count", l.Events, "note", note)
	}
	return l, err
}

// MissingEvents returns some of the missing events that are to be looked up in the
// ledger; none when all were.
func (b *Broker) MissingEvents() []loss.Missing { return b.losses.unchecked() }

// MissingChecked takes over which of m have their outcome. The others are lost.
func (b *Broker) MissingChecked(m loss.Missing, ended []uint64) error {
	lost, err := b.losses.checked(m, ended)
	if err != nil {
		return err
	}
	b.countLosses()
	if len(lost) == 0 {
		b.log.Warn("missing events have their outcome in the ledger, they are not lost",
			"loss", m.LossID, "first_sequence", m.Sequence.First, "last_sequence", m.Sequence.Last)
		return nil
	}
	b.log.Error("accepted events are lost: they are not in the queue and have no outcome in the ledger",
		"loss", m.LossID, "count", lost.count(), "sequences", lost.String())
	return nil
}
