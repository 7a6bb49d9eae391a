package jetstream

import (
	"context"
	"encoding/json"

	"github.com/fincart/courier-gateway/ingest/event"
)

// pullAdvisories is [Broker.PullAdvisories].
func (c *consumer) pullAdvisories(ctx context.Context, limit int) ([]event.Advisory, error) {
	for {
		messages, err := c.advisories.Take(ctx, limit)
		if err != nil {
			return nil, err
		}
		as := make([]event.Advisory, 0, len(messages))
		for _, m := range messages {
			a, kind := decodeAdvisory(m.Data)
			switch kind {
			case foreignAdvisory:
				c.m.foreign.Inc()
				_ = c.conn.Publish(m.Reply, answerAck) // comes again when it gets lost
				continue
			case maxDeliverAdvisory:
				c.givenUp()
			case terminatedAdvisory:
			}
			a.AckTo = m.Reply
			as = append(as, a)
		}
		if len(as) > 0 {
			c.m.advisories.Add(float64(len(as)))
			return as, nil
		}
	}
}

// settleAdvisory is [Broker.SettleAdvisory].
func (c *consumer) settleAdvisory(a event.Advisory, done bool) error {
	answer := answerAck
	if !done {
		answer = []byte(`-NAK {"delay":1000000000}`)
	}
	if err := c.conn.Publish(a.AckTo, answer); err != nil {
		return down("settle advisory", err)
	}
	return nil
}

// KeepAdvisoriesEvery is how often advisories that a caller holds are to be kept alive.
const KeepAdvisoriesEvery = advisoryAckWait / 5

// keepAdvisories is [Broker.KeepAdvisories].
func (c *consumer) keepAdvisories(held []event.Advisory) error {
	for i := range held {
		if err := c.conn.Publish(held[i].AckTo, answerInProgress); err != nil {
			return down("keep advisories", err)
		}
	}
	return nil
}

// advisoryKind distinguishes advisories.
type advisoryKind uint8

const (
	foreignAdvisory    advisoryKind = iota // not about an event of ours that ended
	maxDeliverAdvisory                     // the broker gave up: no worker answered the last attempt
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
		a.Unanswered = true
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
