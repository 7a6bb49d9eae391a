package jetstream

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/fincart/courier-gateway/ingest/event"
)

// PullSettled returns up to limit events, in the order of the stream, that are
// settled and not verified yet: every one of them should have a terminal row in
// the ledger. It returns none when there are none, without waiting. They carry
// neither Attempt nor AckTo. The same events are returned until
// [Broker.Verified] passes them, to every process that asks.
//
// A sequence at which the stream has nothing that can be read is returned as a gap.
//
// Settled is what lies at or below the processors' ack floor, has no advisory
// waiting to be handled, and has been so for a second. The error's code is
// DependencyDown.
func (b *Broker) PullSettled(ctx context.Context, limit int) ([]event.Delivery, error) {
	floor, err := b.settledFloor(ctx)
	if err != nil {
		return nil, err
	}
	verified, err := b.verifiedUpTo(ctx)
	if err != nil || verified >= floor {
		return nil, err
	}
	return b.readRun(ctx, verified+1, floor, max(limit, 1))
}

// Verified says that every event up to lastSeq has been found terminal or put
// back on the queue. It is remembered on the broker, for all processes; a call
// that gets lost, or a lower number that overtakes a higher one, only makes some
// events be verified again. The error's code is DependencyDown.
func (b *Broker) Verified(ctx context.Context, lastSeq uint64) error {
	if lastSeq <= b.verified.Load() {
		return nil
	}
	if err := b.storeVerified(ctx, lastSeq); err != nil {
		return err
	}
	b.noteVerified(lastSeq, b.storedAt.find(lastSeq))
	return nil
}

// storeVerified keeps the position, and makes sure of it if there was none.
func (b *Broker) storeVerified(ctx context.Context, seq uint64) error {
	missing := b.noPosition.Load()
	if err := b.publishPosition(ctx, seq); err != nil || !missing {
		return err
	}
	return b.confirmPosition(ctx, seq)
}

// publishPosition keeps the position as "<the stream's birth> <sequence>": a
// stream that was made again counts from 1 again.
func (b *Broker) publishPosition(ctx context.Context, seq uint64) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	if _, err := b.js.Publish(ctx, progressSubject, fmt.Appendf(nil, "%d %d", b.birth(), seq)); err != nil {
		return down("verified", err)
	}
	b.verified.Store(seq)
	return nil
}

// verifiedUpTo returns the position that any process reached last, and holds it: also
// one that is lower than what was held, because somebody has taken the position back
// or removed it, and what Verified takes for known has to be stored once more then.
func (b *Broker) verifiedUpTo(ctx context.Context) (uint64, error) {
	return b.verifiedOf(ctx, b.topo.Load().events)
}

// verifiedOf is verifiedUpTo for a stream that need not be part of the topology yet.
// Where the position is missing, or is that of another stream, it is derived.
func (b *Broker) verifiedOf(ctx context.Context, events natsjs.Stream) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	m, err := getDirect(ctx, b.admin, progressStream, []byte(`{"last_by_subj":"`+progressSubject+`"}`))
	if err != nil && event.CodeOf(err) != event.NotFound {
		return 0, err
	}
	var birth int64
	var seq uint64
	if err == nil {
		_, err = fmt.Sscanf(string(m.Data), "%d %d", &birth, &seq)
	}
	missing := err != nil || birth != birthOf(events)
	b.noPosition.Store(missing)
	if missing {
		if seq, err = b.provedOf(ctx, events); err != nil {
			return 0, err
		}
	}
	b.verified.Store(seq)
	return seq, nil
}

// provedOf returns a position for a stream that has none: what this process knows of
// the stream apart from it, or else the place before its first event. What was verified
// and isn't known is verified again, which costs time: the ledger proves it. What the
// stream has lost at its front must not count as verified only because it is not there.
func (b *Broker) provedOf(ctx context.Context, events natsjs.Stream) (uint64, error) {
	if known := b.position.get(); known.birth == birthOf(events) {
		return known.verified, nil
	}
	info, err := events.Info(ctx)
	if err != nil {
		return 0, down("verified", err)
	}
	return max(info.State.FirstSeq, 1) - 1, nil
}

// birth tells streams of the same name apart.
func (b *Broker) birth() int64 { return birthOf(b.topo.Load().events) }

func birthOf(s natsjs.Stream) int64 { return s.CachedInfo().Created.UnixNano() }

// settledFloor returns the sequence up to which events are settled for good.
//
// The ack floor passes an ended event at the moment its advisory is sent, and the
// advisory is stored a little later. So a floor counts only once it has been seen
// settleLag ago, and the advisories are read after it.
func (b *Broker) settledFloor(ctx context.Context) (uint64, error) {
	if err := b.refreshFloor(ctx); err != nil {
		return 0, err
	}
	info, err := b.topo.Load().processors.Info(ctx)
	if err != nil {
		return 0, down("ack floor", err)
	}
	floor := b.floors.settled(ackFloor(info), time.Now())
	first, err := b.firstUnhandled(ctx)
	if err != nil {
		return 0, err
	}
	return min(floor, first-1), nil
}

// ackFloor returns the sequence up to which every event is settled: with nothing
// in flight that is all that was delivered, whatever the stored floor says.
func ackFloor(info *natsjs.ConsumerInfo) uint64 {
	if info.NumAckPending == 0 {
		return max(info.AckFloor.Stream, info.Delivered.Stream)
	}
	return info.AckFloor.Stream
}

// refreshFloor makes the broker store its ack floor after it has given up on an
// event.
//
// The consumer reports the floor it has stored. When the broker gives up on the
// event right behind that floor, it moves the floor in memory but not the stored
// one, which then stays until nothing at all is in flight (nats-server v2.15.2,
// server/consumer.go hasMaxDeliveries, server/filestore.go UpdateDelivered and
// UpdateAcks). Under steady load history would pile up behind it. A purge stores
// the floor from memory, also one up to but not including sequence 1, which
// removes nothing.
func (b *Broker) refreshFloor(ctx context.Context) error {
	if !b.floorStale.CompareAndSwap(true, false) {
		return nil
	}
	if err := b.topo.Load().events.Purge(ctx, natsjs.WithPurgeSequence(1)); err != nil {
		b.floorStale.Store(true)
		return down("refresh ack floor", err)
	}
	return nil
}

// lagged follows a number that may only be believed after a while.
type lagged struct {
	lag time.Duration

	mu       sync.Mutex
	believed uint64
	seen     uint64
	seenAt   time.Time
}

// settled takes the number as it is at now and returns the latest one that is at
// least lag old, or the present one if that is lower.
func (l *lagged) settled(number uint64, now time.Time) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seenAt.IsZero() {
		l.seen, l.seenAt = number, now
	}
	if now.Sub(l.seenAt) >= l.lag {
		l.believed = l.seen
		l.seen, l.seenAt = number, now
	}
	l.believed = min(l.believed, number) // one that has been taken back has to be seen again
	return l.believed
}

// scannedAdvisories bounds how many waiting advisories firstUnhandled reads.
const scannedAdvisories = 8192

// firstUnhandled returns the lowest sequence of an event whose advisory waits to
// be handled, the highest number there is when none waits, and 1 when more wait
// than it reads.
func (b *Broker) firstUnhandled(ctx context.Context) (uint64, error) {
	info, err := b.topo.Load().deadLetters.Info(ctx)
	if err != nil {
		return 0, down("advisories", err)
	}
	first := uint64(math.MaxUint64)
	waiting := unhandled(info)
	if waiting > scannedAdvisories {
		return 1, nil
	}
	for from := info.AckFloor.Stream + 1; waiting > 0; {
		messages, err := b.readFrom(ctx, advisoriesStream, from, 512)
		if err != nil || len(messages) == 0 {
			return first, err
		}
		for _, m := range messages {
			if a, kind := decodeAdvisory(m.Data); kind != foreignAdvisory {
				first = min(first, a.Sequence)
			}
			seq, _ := storedSequence(m)
			from = seq + 1
		}
	}
	return first, nil
}

// unhandled returns how many advisories wait, delivered or not.
func unhandled(info *natsjs.ConsumerInfo) uint64 {
	return info.NumPending + uint64(max(info.NumAckPending, 0))
}
