package jetstream

import (
	"context"
	"encoding/json"

	"github.com/fincart/courier-gateway/ingest/event"
)

// PullAdvisories returns between 1 and limit notices that an event will not be
// delivered again, as soon as there is one: its attempts ran out, or a Dead
// verdict ended it. The same one may come several times. It ends as
// [Broker.Pull] does.
//
// Advisories are kept in a stream of their own until settled, so that none is
// lost while nobody listens.
func (b *Broker) PullAdvisories(ctx context.Context, limit int) ([]event.Advisory, error) {
	for {
		messages, err := b.advisories.take(ctx, limit)
		if err != nil {
			return nil, err
		}
		as := make([]event.Advisory, 0, len(messages))
		for _, m := range messages {
			a, kind := decodeAdvisory(m.Data)
			switch kind {
			case foreignAdvisory:
				b.m.foreign.Inc()
				_ = b.consume.Publish(m.Reply, wordAck) // comes again when it gets lost
				continue
			case maxDeliverAdvisory:
				b.floorStale.Store(true)
			case terminatedAdvisory:
			}
			a.AckTo = m.Reply
			as = append(as, a)
		}
		if len(as) > 0 {
			b.m.advisories.Add(float64(len(as)))
			return as, nil
		}
	}
}

// SettleAdvisory tells the broker that a was dealt with for good, or, with done
// false, that it shall come again in a second. The error's code is
// DependencyDown.
func (b *Broker) SettleAdvisory(a event.Advisory, done bool) error {
	word := wordAck
	if !done {
		word = []byte(`-NAK {"delay":1000000000}`)
	}
	if err := b.consume.Publish(a.AckTo, word); err != nil {
		return down("settle advisory", err)
	}
	return nil
}

// KeepAdvisoriesEvery is how often advisories in somebody's hands are to be kept alive.
const KeepAdvisoriesEvery = advisoryAckWait / 5

// KeepAdvisories tells the broker that the advisories are still being dealt with, so
// that it hands them to nobody else. The error's code is DependencyDown.
func (b *Broker) KeepAdvisories(held []event.Advisory) error {
	for i := range held {
		if err := b.consume.Publish(held[i].AckTo, wordInProgress); err != nil {
			return down("keep advisories", err)
		}
	}
	return nil
}

// advisoryKind tells advisories apart.
type advisoryKind uint8

const (
	foreignAdvisory    advisoryKind = iota // not about an event of ours that ended
	maxDeliverAdvisory                     // the broker gave up, nobody having answered the last attempt
	terminatedAdvisory                     // we ended it
)

// decodeAdvisory reads an advisory (nats-server, server/jetstream_events.go).
// The broker also calls a delivery terminated when its message was deleted; its
// reason is then no code of ours.
func decodeAdvisory(b []byte) (event.Advisory, advisoryKind) {
	var v struct {
		Type       string `json:"type"`
		Stream     string `json:"stream"`
		Consumer   string `json:"consumer"`
		Sequence   uint64 `json:"stream_seq"`
		Deliveries int    `json:"deliveries"`
		Reason     string `json:"reason"`
	}
	if json.Unmarshal(b, &v) != nil || v.Stream != eventsStream || v.Consumer != processors || v.Sequence == 0 {
		return event.Advisory{}, foreignAdvisory
	}
	a := event.Advisory{Sequence: v.Sequence, Deliveries: v.Deliveries}
	switch {
	case v.Type == "io.nats.jetstream.advisory.v1.max_deliver":
		a.Silent = true
		return a, maxDeliverAdvisory
	case v.Type != "io.nats.jetstream.advisory.v1.terminated" || !isCode(v.Reason):
		return event.Advisory{}, foreignAdvisory
	case v.Reason == string(event.AttemptsExhausted):
		return a, terminatedAdvisory
	}
	a.Terminated, a.Reason = true, v.Reason
	return a, terminatedAdvisory
}

// isCode reports whether s looks like an [event.Code], which the reasons that
// the broker itself gives, being sentences, don't.
func isCode(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return s != ""
}
