package jetstream

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/fincart/courier-gateway/ingest/event"
)

// Pull returns between 1 and limit deliveries, oldest first, as soon as there is
// one, without waiting for more. Their bytes are the caller's. It returns
// [event.ErrStopped] when [Broker.StopPulling] was called and nothing is left, and the
// cause of ctx when that ends. A lost connection only makes it wait.
//
// Deliveries that came ahead and wait for the next Pull are kept alive: a worker
// that doesn't call Pull for a while, because its database is down, costs no
// event an attempt. What it holds itself it keeps alive with
// [Broker.KeepAlive]. While nobody pulls, exhausted events are not announced
// either; that follows when pulling goes on.
func (b *Broker) Pull(ctx context.Context, limit int) ([]event.Delivery, error) {
	for {
		messages, err := b.events.take(ctx, limit)
		if err != nil {
			return nil, err
		}
		ds := make([]event.Delivery, 0, len(messages))
		for _, m := range messages {
			if m.Subject == fillerSubject {
				_ = b.consume.Publish(m.Reply, wordAck) // comes again when it gets lost
				continue
			}
			ds = append(ds, delivered(m))
		}
		if len(ds) > 0 {
			b.m.deliveries.Add(float64(len(ds)))
			return ds, nil
		}
	}
}

// delivered makes a Delivery of a message that the broker hands out.
func delivered(m *nats.Msg) event.Delivery {
	a, ok := parseAckSubject(m.Reply)
	d := decode(m.Header, m.Data, a.seq)
	d.Attempt, d.AckTo = a.deliveries, m.Reply
	if !ok {
		d.Fault = fmt.Errorf("the broker's subject for its answer is unknown: %q", m.Reply)
	}
	return d
}

// StopPulling asks the broker for no more deliveries and advisories. [Broker.Pull]
// and [Broker.PullAdvisories] still return what has come already, each of which
// has spent an attempt, and then [event.ErrStopped]. It returns when nothing more will
// come, or when ctx ends.
func (b *Broker) StopPulling(ctx context.Context) error {
	if !b.cfg.Consume {
		return nil
	}
	return errors.Join(b.events.stop(ctx), b.advisories.stop(ctx))
}
