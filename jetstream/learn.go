package jetstream

import (
	"context"
	"time"
)

// Who knows duplicates of an embedded broker:
//
//	the broker itself    what it stored less than brokerWindow ago
//	[Broker.recent]      what was stored within the duplicate window
//
// An id enters recent when the answer to its publish is read, moments after it
// was stored. If no answer is read, since the publish was given up or the
// connection broke, the store itself tells: learn finds such sequences and reads
// their ids, within two rounds, long before the broker forgets. So at any time
// one of the two knows an id, and neither has to remember a million of them at
// the broker's price.
const (
	brokerWindow = 3 * time.Second
	learnEvery   = 500 * time.Millisecond
	learnBatch   = 4096
)

// remember keeps recent complete and small until ctx ends.
func (b *Broker) remember(ctx context.Context) {
	for sleep(ctx, learnEvery) == nil {
		if !b.admin.IsConnected() {
			continue
		}
		if err := b.learn(ctx); err != nil && ctx.Err() == nil {
			b.log.Warn("can't read what was stored without an answer, trying again", "error", err)
		}
	}
}

// learn asks the broker how far it has stored, and reads what an earlier round
// or an answer has shown to be stored and nothing has been heard of since.
func (b *Broker) learn(ctx context.Context) error {
	info, err := b.topo.Load().events.Info(ctx)
	if err != nil {
		return down("learn", err)
	}
	before := b.recent.stored(info.State.LastSeq)
	err = b.fillHoles(ctx, before)
	b.m.remembered.Set(float64(b.recent.expire(time.Now())))
	return err
}

// fillHoles reads what is stored at sequences up to upTo that recent has not
// heard of.
func (b *Broker) fillHoles(ctx context.Context, upTo uint64) error {
	for {
		from, to, ok := b.recent.hole(upTo)
		if !ok {
			return nil
		}
		messages, err := b.readFrom(ctx, eventsStream, from, int(min(to-from+1, learnBatch)))
		if err != nil {
			return err
		}
		next := from
		for _, m := range messages {
			seq, _ := storedSequence(m)
			for ; next < min(seq, to+1); next++ {
				b.recent.skip(next) // removed
			}
			if seq > to {
				break
			}
			at, _ := time.Parse(time.RFC3339Nano, generated(m.Header, "Nats-Time-Stamp"))
			b.learnOne(seq, []byte(m.Header.Get(msgIDHeader)), at)
			next = seq + 1
		}
		if len(messages) == 0 {
			for ; next <= to; next++ {
				b.recent.skip(next)
			}
		}
	}
}

// learnOne remembers a message as it is stored.
func (b *Broker) learnOne(seq uint64, id []byte, at time.Time) {
	if len(id) == 0 {
		b.recent.skip(seq)
		return
	}
	b.recent.put(b.recent.markOf(id), seq, at)
}
