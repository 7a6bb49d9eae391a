package ingest

import (
	"strings"

	"github.com/fincart/courier-gateway/ingest/event"
)

// A courier in observe mode is being set up: nobody knows yet whether its secret,
// scheme and mapping are right. Everything is checked as always, but what is wrong
// with the contents of a request is overlooked: its event is taken in, marked, and
// the record says what would have been refused. So anybody who reaches the intake
// can send events for such a courier. The limits on networks, rate, requests at
// once and size hold as always.

// keyIDObserved is the key id of an envelope whose courier is in observe mode.
const keyIDObserved = "observed"

// overlook reports whether a request goes on in spite of what is wrong with it.
// The first thing is noted, which is what the sender would have been told.
func (c *call) overlook(no refusal) bool {
	if c.sender == nil || !c.sender.observe {
		return false
	}
	if c.observed.code == "" {
		c.observed = no
	}
	return true
}

// nameByBody names an event that the mapping can't read by its body, so that the
// same one is the same event. The worker will keep it as a dead letter with all
// that is in it, to be replayed once the mapping is right.
func (c *call) nameByBody() {
	hash := event.BodyHash(c.env.Body)
	c.event = event.Event{ID: hash, Key: hash}
}

// tellObserved counts and logs a request that was overlooked.
func (s *Server) tellObserved(c *call) {
	no := &c.observed
	s.metrics.observed.WithLabelValues(c.sender.name, string(no.code)).Inc()
	if s.refusals.admit() {
		s.refusals.write("request accepted by a courier in observe mode", "code", no.code, "detail", no.detail,
			"courier", c.sender.name, "trace_id", strings.Clone(c.traceID), "remote", s.from(c).String())
	}
}
