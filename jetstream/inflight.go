package jetstream

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// redeliverInFlight has the embedded broker hand out again at once what was in the
// hands of the process before this one, which is gone: nothing else uses the store.
// Left to itself the broker waits for the acknowledgement wait to pass. A nak in the
// name of that process does it, and keeps the count of deliveries, so that an attempt
// which ended with the process is spent as ever.
//
// An event that waits for its retry stays until its delay is over. It is known by the
// time from which its wait counts: a delivery in a worker's hands is kept alive, so
// that this was less than half the acknowledgement wait ago when the broker last wrote
// its state; a nak with a delay moves it further into the past, see [Broker.Settle].
//
// It must be called before anything pulls, and only once.
func (b *Broker) redeliverInFlight(ctx context.Context) error {
	for _, c := range []struct {
		stream, consumer string
		ackWait          time.Duration
	}{
		{eventsStream, processors, b.cfg.AckWait},
		{advisoriesStream, deadLetters, advisoryAckWait},
	} {
		left := b.left[c.stream+"/"+c.consumer]
		inHand := left.inHand(c.ackWait)
		for _, p := range inHand {
			if err := b.admin.Publish(ackSubjectOf(c.stream, c.consumer, p), wordNak); err != nil {
				return fmt.Errorf("have consumer %s deliver again: %w", c.consumer, err)
			}
		}
		if len(inHand) > 0 {
			b.log.Info("what an earlier process had in hand is delivered again at once", "consumer", c.consumer, "deliveries", len(inHand))
		}
	}
	b.left = nil
	return flushConnection(ctx, b.admin)
}

// inHand returns, in the order of the stream, the deliveries that were being worked on
// when the state was written.
func (l leftBehind) inHand(ackWait time.Duration) (ps []pendingDelivery) {
	const rounding = time.Second // of the times in a state
	for _, p := range l.pending {
		if l.written.Sub(p.since) <= ackWait/2+rounding {
			ps = append(ps, p)
		}
	}
	slices.SortFunc(ps, func(a, b pendingDelivery) int { return cmp.Compare(a.stream, b.stream) })
	return ps
}

// wordNak asks for a delivery to be made again.
var wordNak = []byte("-NAK")

// ackSubjectOf returns where a delivery is answered. Of the numbers in it the broker
// needs those of the delivery; how often it was made, when, and how many are waiting
// is said for the receiver's sake.
func ackSubjectOf(stream, consumer string, p pendingDelivery) string {
	return fmt.Sprintf("$JS.ACK.%s.%s.1.%d.%d.%d.0", stream, consumer, p.stream, p.consumer, p.since.UnixNano())
}
