package ingest

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

const (
	intakePath = "/v1/events/courier"
	healthPath = "/health"
)

// handle answers one request.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	c := s.begin(ctx)
	defer s.end(c)
	path, method := ctx.URI().PathOriginal(), ctx.Method()
	name, intake := courierIn(path)
	switch {
	case intake && string(method) == fasthttp.MethodPost:
		s.intake(c, name)
	case intake:
		s.handshake(c, name)
	case string(path) != healthPath:
		c.table, c.posted = s.couriers.active.Load(), string(method) == fasthttp.MethodPost
		if c.posted { // by a sender whose address is mistyped, as a rule: the record shows it
			s.bodies.readForRecord(c)
		}
		s.refusals.refuse(c, c.refuse(notFound, "events are sent to "+intakePath+"/{courier}"))
	case string(method) == fasthttp.MethodGet || string(method) == fasthttp.MethodHead:
		status, report := s.deps.Health()
		c.answer(status, "application/json", report)
	default:
		ctx.Response.Header.Set(fasthttp.HeaderAllow, "GET, HEAD")
		s.refusals.refuse(c, c.refuse(methodNotAllowed, "health is asked for by GET"))
	}
}

// courierIn returns the courier that a path of the intake names, "" for the
// default one. A slash at the end does not matter.
func courierIn(path []byte) (name []byte, ok bool) {
	rest, ok := bytes.CutPrefix(path, []byte(intakePath))
	if !ok || len(rest) > 0 && rest[0] != '/' {
		return nil, false
	}
	name = bytes.TrimSuffix(bytes.TrimPrefix(rest, []byte("/")), []byte("/"))
	return name, len(name) > 0 && bytes.IndexByte(name, '/') < 0 || len(rest) <= 1
}

// intake answers a posted event, and counts and records it.
func (s *Server) intake(c *call, name []byte) {
	c.posted = true
	c.table = s.couriers.active.Load()
	c.courier = c.table.find(name)
	if refusal := s.receive(c); refusal != nil {
		if refusal != replied {
			s.refusals.refuse(c, refusal)
		}
		return
	}
	if c.event.Ignored != "" {
		s.refusals.ignore(c)
		return
	}
	s.metrics.accepted.Observe(s.deps.Now().Sub(c.started).Seconds())
	s.metrics.bytes.Add(float64(len(c.body.Bytes)))
	outcome := &c.courier.accepted
	if c.receipt.Conflict {
		outcome = &c.courier.conflict
	} else if c.receipt.Duplicate {
		outcome = &c.courier.duplicate
	}
	outcome.counter.Inc()
	if len(c.event.LeftOut) > 0 {
		s.metrics.leftOut.WithLabelValues(c.courier.name).Inc()
	}
	c.answerAccepted()
	if c.observed.code != "" {
		s.refusals.observe(c)
		return
	}
	outcome.aggregate.Add(c.started, len(c.body.Bytes))
}
