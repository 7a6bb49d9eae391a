package jetstream

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/jetstream/integrity"
)

// progress knows how far the events are settled and verified.
//
//	verified sequence   a message on the broker, or derived where that is missing
//	settled floor       the processors' ack floor, counted after a while, and below
//	                    every event whose advisory waits
type progress struct {
	topo   *topology
	reader *reader
	record *integrity.Record
	js     natsjs.JetStream
	// confirm is called with a position that was stored when the broker had none.
	confirm func(ctx context.Context, seq uint64) error

	floors     delayedFloor
	floorStale atomic.Bool   // see refreshFloor
	verified   atomic.Uint64 // as last read or stored
	noPosition atomic.Bool   // the broker had no position when it was last read
}

// store stores the position, and makes sure of it if there was none.
func (p *progress) store(ctx context.Context, seq uint64) error {
	missing := p.noPosition.Load()
	if err := p.publish(ctx, seq); err != nil || !missing {
		return err
	}
	return p.confirm(ctx, seq)
}

// publish stores the position as "<the stream's birth> <sequence>": a
// stream that was made again counts from 1 again.
func (p *progress) publish(ctx context.Context, seq uint64) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	if _, err := p.js.Publish(ctx, progressSubject, fmt.Appendf(nil, "%d %d", p.topo.birth(), seq)); err != nil {
		return down("verified", err)
	}
	p.verified.Store(seq)
	return nil
}

// verifiedUpTo returns the position that any process reached last, and holds it: also
// one that is lower than what was held, because another process has taken the position back
// or removed it, and what Verified takes for known has to be stored once more then.
func (p *progress) verifiedUpTo(ctx context.Context) (uint64, error) {
	return p.verifiedOf(ctx, p.topo.events())
}

// verifiedOf is verifiedUpTo for a stream that need not be part of the topology yet.
// Where the position is missing, or is that of another stream, it is derived.
func (p *progress) verifiedOf(ctx context.Context, events natsjs.Stream) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	m, err := getDirect(ctx, p.reader.conn, progressStream, []byte(`{"last_by_subj":"`+progressSubject+`"}`))
	if err != nil && event.CodeOf(err) != event.NotFound {
		return 0, err
	}
	var birth int64
	var seq uint64
	if err == nil {
		_, err = fmt.Sscanf(string(m.Data), "%d %d", &birth, &seq)
	}
	missing := err != nil || birth != birthOf(events)
	p.noPosition.Store(missing)
	if missing {
		if seq, err = p.derive(ctx, events); err != nil {
			return 0, err
		}
	}
	p.verified.Store(seq)
	return seq, nil
}

// derive returns a position for a stream that has none: what this process knows of
// the stream apart from it, or else the place before its first event. What was verified
// and isn't known is verified again, which costs time: the ledger proves it. What the
// stream has lost at its front must not count as verified only because it is not there.
func (p *progress) derive(ctx context.Context, events natsjs.Stream) (uint64, error) {
	if known := p.record.Position(); known.Birth == birthOf(events) {
		return known.Verified, nil
	}
	info, err := events.Info(ctx)
	if err != nil {
		return 0, down("verified", err)
	}
	return max(info.State.FirstSeq, 1) - 1, nil
}

// read returns the position as [integrity.Config] wants it.
func (p *progress) read(ctx context.Context) (seq uint64, known bool, err error) {
	seq, err = p.verifiedUpTo(ctx)
	return seq, !p.noPosition.Load(), err
}

// floorMoved says that the broker has given up on an event, see refreshFloor.
func (p *progress) floorMoved() { p.floorStale.Store(true) }

// resumeAt returns the sequence behind what is verified of a stream.
func (p *progress) resumeAt(ctx context.Context, events natsjs.Stream) (uint64, error) {
	verified, err := p.verifiedOf(ctx, events)
	return verified + 1, err
}

// settledFloor returns the sequence up to which events are settled for good.
//
// The ack floor passes an ended event at the moment its advisory is sent, and the
// advisory is stored a little later. So a floor counts only once it has been seen
// Deps.settleDelay ago, and the advisories are read after it.
func (p *progress) settledFloor(ctx context.Context) (uint64, error) {
	if err := p.refreshFloor(ctx); err != nil {
		return 0, err
	}
	info, err := p.topo.now().processors.Info(ctx)
	if err != nil {
		return 0, down("ack floor", err)
	}
	floor := p.floors.settled(ackFloor(info), time.Now())
	first, err := p.firstUnhandled(ctx)
	if err != nil {
		return 0, err
	}
	return min(floor, first-1), nil
}

// ackFloor returns the sequence up to which every event is settled: with nothing
// in flight that is all that was delivered, also when the stored floor is behind.
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
func (p *progress) refreshFloor(ctx context.Context) error {
	if !p.floorStale.CompareAndSwap(true, false) {
		return nil
	}
	if err := p.topo.now().events.Purge(ctx, natsjs.WithPurgeSequence(1)); err != nil {
		p.floorStale.Store(true)
		return down("refresh ack floor", err)
	}
	return nil
}

// delayedFloor follows a floor that counts once it has lasted.
type delayedFloor struct {
	delay time.Duration

	mu      sync.Mutex
	lasting uint64
	seen    uint64
	seenAt  time.Time
}

// settled takes the number as it is at now and returns the latest one that is at
// least delay old, or the present one if that is lower.
func (f *delayedFloor) settled(number uint64, now time.Time) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seenAt.IsZero() {
		f.seen, f.seenAt = number, now
	}
	if now.Sub(f.seenAt) >= f.delay {
		f.lasting = f.seen
		f.seen, f.seenAt = number, now
	}
	f.lasting = min(f.lasting, number) // one that has been taken back has to be seen again
	return f.lasting
}

// scannedAdvisories bounds how many waiting advisories firstUnhandled reads.
const scannedAdvisories = 8192

// firstUnhandled returns the lowest sequence of an event whose advisory waits to
// be handled, the highest number there is when none waits, and 1 when more wait
// than it reads.
func (p *progress) firstUnhandled(ctx context.Context) (uint64, error) {
	info, err := p.topo.now().deadLetters.Info(ctx)
	if err != nil {
		return 0, down("advisories", err)
	}
	first := uint64(math.MaxUint64)
	waiting := unhandled(info)
	if waiting > scannedAdvisories {
		return 1, nil
	}
	for from := info.AckFloor.Stream + 1; waiting > 0; {
		messages, err := p.reader.readFrom(ctx, advisoriesStream, from, 512)
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
