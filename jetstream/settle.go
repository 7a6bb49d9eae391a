package jetstream

import (
	"fmt"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// What the broker understands as an answer to a delivery.
var (
	wordAck        = []byte("+ACK")
	wordInProgress = []byte("+WPI")
)

// Settle tells the broker the verdict on d. It returns when the word is on its
// way, not when the broker has it: a verdict that gets lost means one more
// delivery, so outcomes must be idempotent. The error's code is DependencyDown.
//
// A Retry is redelivered v.Delay after this call, never earlier, although the
// consumer has a BackOff schedule. The broker redelivers a message with the nth
// attempt behind it (n counts from 1) once
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
// the stored ack floor behind (see [Broker.settledFloor]); so it is left for
// those attempts that end in silence.
func (b *Broker) Settle(d event.Delivery, v event.Verdict) error {
	if d.AckTo == "" {
		return event.Errorf(event.Internal, "settle", "the delivery of sequence %d was not pulled", d.Sequence)
	}
	word, action := wordAck, "ack"
	switch {
	case v.Action == event.Ack:
	case v.Action == event.Dead:
		word, action = terminate(v.Code), "dead"
	case d.Attempt >= b.cfg.MaxDeliver:
		word, action = terminate(event.AttemptsExhausted), "exhausted"
	default:
		word, action = b.retryWord(d.Attempt, v.Delay), "retry"
	}
	if err := b.consume.Publish(d.AckTo, word); err != nil {
		return down("settle", err)
	}
	b.m.settled.WithLabelValues(action).Inc()
	return nil
}

func terminate(c event.Code) []byte { return []byte("+TERM " + string(c)) }

// retryWord returns the nak after which the given attempt is followed by the
// next in delay.
func (b *Broker) retryWord(attempt int, delay time.Duration) []byte {
	waits := b.cfg.backOff()
	grown := waits[max(attempt, 1)-1] - waits[0]
	return fmt.Appendf(nil, `-NAK {"delay":%d}`, delay-grown)
}

// KeepAlive tells the broker that the deliveries are still being worked on, so
// that none of them is taken for a failed attempt. Call it for what is held as
// often as [KeepAliveEvery] says. The error's code is DependencyDown.
func (b *Broker) KeepAlive(held []event.Delivery) error {
	for i := range held {
		if err := b.consume.Publish(held[i].AckTo, wordInProgress); err != nil {
			return down("keep alive", err)
		}
	}
	return nil
}
