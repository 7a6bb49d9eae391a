package jetstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/jetstream/embedded"
	"github.com/fincart/courier-gateway/jetstream/pull"
)

// consumer pulls deliveries and advisories, and answers them.
type consumer struct {
	cfg  Config
	conn *nats.Conn
	m    *metrics
	// givenUp is called when the broker has given up on an event.
	givenUp func()

	events, advisories *pull.Puller
}

// newConsumer returns a consumer, which pulls while events and advisories run.
func newConsumer(cfg Config, conn *nats.Conn, m *metrics, log *slog.Logger, givenUp func()) *consumer {
	puller := func(stream, name string, limit int, ackWait time.Duration) *pull.Puller {
		var warnings logLimiter
		return pull.New(pull.Config{
			Conn: conn, Stream: stream, Consumer: name, Limit: limit, AckWait: ackWait, Remote: !cfg.embedded(),
			Refused: func(why string) {
				if warnings.allow(why) {
					log.Warn("the broker ended a pull, the next one follows", "consumer", name, "status", why)
				}
			},
		})
	}
	c := &consumer{
		cfg: cfg, conn: conn, m: m, givenUp: givenUp,
		events:     puller(eventsStream, processors, cfg.PullBuffer, cfg.AckWait),
		advisories: puller(advisoriesStream, deadLetters, advisoriesPulled, advisoryAckWait),
	}
	conn.SetReconnectHandler(func(*nats.Conn) {
		c.events.Reconnected()
		c.advisories.Reconnected()
	})
	return c
}

// What the broker understands as an answer to a delivery.
var (
	answerAck        = []byte("+ACK")
	answerInProgress = []byte("+WPI")
	answerNak        = []byte("-NAK") // deliver it again
)

// pull is [Broker.Pull].
func (c *consumer) pull(ctx context.Context, limit int) ([]event.Delivery, error) {
	for {
		messages, err := c.events.Take(ctx, limit)
		if err != nil {
			return nil, err
		}
		ds := make([]event.Delivery, 0, len(messages))
		for _, m := range messages {
			if m.Subject == fillerSubject {
				_ = c.conn.Publish(m.Reply, answerAck) // comes again when it gets lost
				continue
			}
			ds = append(ds, delivered(m))
		}
		if len(ds) > 0 {
			c.m.deliveries.Add(float64(len(ds)))
			return ds, nil
		}
	}
}

// delivered makes a Delivery of a message that the broker delivers.
func delivered(m *nats.Msg) event.Delivery {
	a, ok := parseAckSubject(m.Reply)
	d := decode(m.Header, m.Data, a.seq)
	d.Attempt, d.AckTo = a.deliveries, m.Reply
	if !ok {
		d.Fault = fmt.Errorf("the broker's subject for its answer is unknown: %q", m.Reply)
	}
	return d
}

// stop is [Broker.StopPulling].
func (c *consumer) stop(ctx context.Context) error {
	advisories := make(chan error, 1)
	go func() { advisories <- c.advisories.Stop(ctx) }()
	return errors.Join(c.events.Stop(ctx), <-advisories)
}

// ackSubject is what the subject for answering a delivery has about it
// (nats-server, server/consumer.go, ackReplyInfo):
//
//	$JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>
//	$JS.ACK.<domain>.<account hash>.<stream>.<consumer>.<deliveries>.<stream seq>. ...
type ackSubject struct {
	deliveries int
	seq        uint64
	at         time.Time // when it was stored
}

func parseAckSubject(subject string) (a ackSubject, ok bool) {
	rest, ok := strings.CutPrefix(subject, "$JS.ACK.")
	if !ok {
		return a, false
	}
	skip := 2 // stream and consumer
	if strings.Count(rest, ".") >= 8 {
		skip = 4
	}
	for range skip {
		if _, rest, ok = strings.Cut(rest, "."); !ok {
			return a, false
		}
	}
	deliveries, rest, _ := strings.Cut(rest, ".")
	seq, rest, _ := strings.Cut(rest, ".")
	_, rest, _ = strings.Cut(rest, ".") // the consumer's own sequence
	nanos, _, _ := strings.Cut(rest, ".")
	n, err := strconv.ParseUint(deliveries, 10, 31)
	if err != nil {
		return a, false
	}
	a.deliveries = int(n)
	if a.seq, err = strconv.ParseUint(seq, 10, 64); err != nil {
		return a, false
	}
	at, err := strconv.ParseInt(nanos, 10, 64)
	a.at = time.Unix(0, at)
	return a, err == nil
}

// settle is [Broker.Settle].
//
// The broker redelivers a message with the nth attempt behind it (n counts from 1) once
//
//	now - timestamp >= BackOff[n-1]
//
// and a nak with delay d sets timestamp = now - BackOff[0] + d, so that it
// takes d + BackOff[n-1] - BackOff[0] (nats-server v2.15.2, server/consumer.go,
// processNak and checkPending). We send v.Delay less that difference, which may
// well be negative.
//
// A Retry after the last attempt ends the event with the reason
// ATTEMPTS_EXHAUSTED, and its advisory goes out at once. A nak would lead to the
// broker's max-deliveries advisory, but that waits for an open pull, and leaves
// the stored ack floor behind (see progress.refreshFloor); so it is left for
// those attempts that end in silence.
func (c *consumer) settle(d event.Delivery, v event.Verdict) error {
	if d.AckTo == "" {
		return event.Errorf(event.Internal, "settle", "the delivery of sequence %d was not pulled", d.Sequence)
	}
	answer, action := answerAck, "ack"
	switch {
	case v.Action == event.Ack:
	case v.Action == event.Dead:
		answer, action = terminate(v.Code), "dead"
	case d.Attempt >= c.cfg.MaxDeliver:
		answer, action = terminate(event.AttemptsExhausted), "exhausted"
	default:
		answer, action = c.retryAnswer(d.Attempt, v.Delay), "retry"
	}
	if err := c.conn.Publish(d.AckTo, answer); err != nil {
		return down("settle", err)
	}
	c.m.settled.WithLabelValues(action).Inc()
	return nil
}

func terminate(c event.Code) []byte { return []byte("+TERM " + string(c)) }

// retryAnswer returns the nak after which the given attempt is followed by the
// next in delay.
func (c *consumer) retryAnswer(attempt int, delay time.Duration) []byte {
	waits := c.cfg.backOff()
	grown := waits[max(attempt, 1)-1] - waits[0]
	return fmt.Appendf(nil, `-NAK {"delay":%d}`, delay-grown)
}

// keepAlive is [Broker.KeepAlive].
func (c *consumer) keepAlive(held []event.Delivery) error {
	for i := range held {
		if err := c.conn.Publish(held[i].AckTo, answerInProgress); err != nil {
			return down("keep alive", err)
		}
	}
	return nil
}

// redeliver has the embedded broker deliver again at once what was in flight with the
// process before this one, which is gone: nothing else uses the store.
// Without that the broker waits for the acknowledgement wait to pass. A nak in the
// name of that process does it, and keeps the count of deliveries, so that an attempt
// which ended with the process is spent as always.
//
// An event that waits for its retry stays until its delay is over. It is known by the
// time from which its wait counts: a delivery that a worker holds is kept alive, so
// that this was less than half the acknowledgement wait ago when the broker last wrote
// its state; a nak with a delay moves it further into the past, see settle.
//
// It must be called before anything pulls, and only once.
func (c *consumer) redeliver(ctx context.Context, server *embedded.Server, log *slog.Logger) error {
	for _, of := range []struct {
		stream, consumer string
		ackWait          time.Duration
	}{
		{eventsStream, processors, c.cfg.AckWait},
		{advisoriesStream, deadLetters, advisoryAckWait},
	} {
		inFlight := inFlightOf(server.Left(of.stream, of.consumer), of.ackWait)
		for _, p := range inFlight {
			if err := c.conn.Publish(ackSubjectOf(of.stream, of.consumer, p), answerNak); err != nil {
				return fmt.Errorf("have consumer %s deliver again: %w", of.consumer, err)
			}
		}
		if len(inFlight) > 0 {
			log.Info("what an earlier process had in flight is delivered again at once", "consumer", of.consumer, "deliveries", len(inFlight))
		}
	}
	return flushConnection(ctx, c.conn)
}

// inFlightOf returns, in the order of the stream, the deliveries that a worker held when
// the state was written.
func inFlightOf(left embedded.Left, ackWait time.Duration) (ps []embedded.PendingDelivery) {
	const rounding = time.Second // of the times in a state
	for _, p := range left.Pending {
		if left.Written.Sub(p.Since) <= ackWait/2+rounding {
			ps = append(ps, p)
		}
	}
	slices.SortFunc(ps, func(a, b embedded.PendingDelivery) int { return cmp.Compare(a.Stream, b.Stream) })
	return ps
}

// ackSubjectOf returns where a delivery is answered. Of the numbers in it the broker
// needs those of the delivery; how often it was made, when, and how many are waiting
// is for the receiver.
func ackSubjectOf(stream, consumer string, p embedded.PendingDelivery) string {
	return fmt.Sprintf("$JS.ACK.%s.%s.1.%d.%d.%d.0", stream, consumer, p.Stream, p.Consumer, p.Since.UnixNano())
}
