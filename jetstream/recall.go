package jetstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

// recall begins recent anew with what is stored within the duplicate window.
func (b *Broker) recall(ctx context.Context) error {
	last := b.topo.Load().events.CachedInfo().State.LastSeq
	first, ok, err := b.firstSince(ctx, time.Now().Add(-b.cfg.DuplicateWindow))
	if err != nil {
		return fmt.Errorf("look for events of the duplicate window: %w", err)
	}
	if !ok || first > last {
		b.recent.reset(last)
		return nil
	}
	start := time.Now()
	b.recent.reset(first - 1)
	b.recent.stored(last)
	if err := b.readIDs(ctx, first, last); err != nil {
		return fmt.Errorf("read the ids of the duplicate window: %w", err)
	}
	b.log.Info("ids of the duplicate window read", "events", last-first+1, "took", time.Since(start).Round(time.Millisecond))
	return b.fillHoles(ctx, last) // left by events that were removed
}

const (
	// recallBatch is how many messages one request brings, if that many bytes
	// hold them.
	recallBatch = 1 << 14
	recallBytes = 16 << 20
	// recallBodies is the mean size up to which messages are read with their
	// bodies: taking these off costs the broker more than sending them along.
	recallBodies = 8 << 10
)

// readIDs remembers the ids stored from first to last, of which there may be a
// million. So a consumer of its own brings the messages, which is the quickest of
// the broker's ways, and they are read off the wire as they are.
func (b *Broker) readIDs(ctx context.Context, first, last uint64) error {
	events := b.topo.Load().events
	state := events.CachedInfo().State
	consumer, err := events.CreateConsumer(ctx, natsjs.ConsumerConfig{
		AckPolicy: natsjs.AckNonePolicy, DeliverPolicy: natsjs.DeliverByStartSequencePolicy, OptStartSeq: first,
		HeadersOnly: state.Bytes/max(state.Msgs, 1) > recallBodies, MemoryStorage: true, InactiveThreshold: time.Minute,
	})
	if err != nil {
		return err
	}
	name := consumer.CachedInfo().Name
	defer func() { _ = events.DeleteConsumer(ctx, name) }()

	p := &pipe{dial: b.server.InProcessConn, name: b.cfg.Name + " recall", inbox: nats.NewInbox()}
	in, err := p.connect()
	if err != nil {
		return err
	}
	defer func() { _ = in.conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = in.conn.Close() })()
	for next, more, no := first, true, 1; more && next <= last; no++ {
		batch := min(last-next+1, recallBatch)
		inbox := fmt.Sprintf("%s.%d", p.inbox, no)
		request := fmt.Sprintf(`{"batch":%d,"max_bytes":%d,"no_wait":true}`, batch, max(recallBytes, 2*int64(b.cfg.MaxMessageBytes)))
		_, err := fmt.Fprintf(in.conn, "PUB $JS.API.CONSUMER.MSG.NEXT.%s.%s %s %d\r\n%s\r\n", eventsStream, name, inbox, len(request), request)
		if err != nil {
			return err
		}
		before := next
		if next, more, err = b.readBatchIDs(in, inbox, next, batch); err != nil {
			return err
		}
		if more && next == before {
			return errors.New("the broker brings nothing")
		}
	}
	return nil
}

// readBatchIDs remembers the ids that a request brings. It returns what to ask for
// next, and whether there may be more.
func (b *Broker) readBatchIDs(in *frames, inbox string, from, batch uint64) (next uint64, more bool, err error) {
	next = from
	for range batch {
		f, err := in.next()
		for err == nil && (f.kind != "MSG" || f.reply == nil && string(f.subject) != inbox) {
			f, err = in.next() // such as the status that ends an earlier request
		}
		if err != nil {
			return next, false, err
		}
		if f.reply == nil { // there is no more, or the bytes are used up
			return next, !bytes.HasPrefix(f.header, []byte("NATS/1.0 404")), nil
		}
		a, ok := parseAckSubject(string(f.reply))
		if !ok {
			return next, false, fmt.Errorf("the broker's subject for its answer is unknown: %q", f.reply)
		}
		b.learnOne(a.seq, headerOf(f.header, msgIDHeader), a.at)
		next = a.seq + 1
	}
	return next, true, nil
}

// headerOf returns the value of a header in a block of them, as we write it.
func headerOf(block []byte, name string) []byte {
	_, after, found := bytes.Cut(block, []byte("\r\n"+name+": "))
	if !found {
		return nil
	}
	value, _, _ := bytes.Cut(after, []byte("\r\n"))
	return value
}
