package ingest

import (
	"strings"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
)

// A courier in observe mode is being set up: it is not known yet whether its secret,
// scheme and mapping are right. Everything is checked as always, but what is wrong
// with the contents of a request is tolerated: its event is accepted, marked, and
// the record says what would have been refused. So everyone who reaches the intake
// can send events for such a courier. The limits on networks, rate, requests at
// once and size hold as always.

// keyIDObserved is the key id of an envelope whose courier is in observe mode.
const keyIDObserved = "observed"

// tolerate reports whether a request goes on in spite of a refusal. The first one is
// kept, which is what the answer would have said.
func (c *call) tolerate(refusal *refusal) bool {
	if c.courier == nil || !c.courier.observe {
		return false
	}
	if c.observed.code == "" {
		c.observed = *refusal
	}
	return true
}

// nameByBody names an event that the mapping can't read by its body, so that the
// same one is the same event. The worker will dead-letter it with all
// that is in it, to be replayed once the mapping is right.
func (c *call) nameByBody() {
	hash := event.BodyHash(c.env.Body)
	c.event = event.Event{ID: hash, Key: hash}
}

// observe counts, logs and records an accepted request of which something was tolerated.
func (r *refuser) observe(c *call) {
	refusal := &c.observed
	r.metrics.observed.WithLabelValues(c.courier.name, string(refusal.code)).Inc()
	if r.log.admit() {
		r.log.write("request accepted by a courier in observe mode", "code", refusal.code, "detail", refusal.detail,
			"courier", c.courier.name, "trace_id", strings.Clone(c.traceID), "remote", c.from().String())
	}
	r.records.note(c, ingestion.Observed, refusal, c.courier.success.Status)
}
