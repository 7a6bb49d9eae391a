package ingest

import (
	"math"
	"strconv"

	"github.com/valyala/fasthttp"
)

const (
	// maxEchoBytes bounds what is sent back in a handshake.
	maxEchoBytes = 1024
	// maxOriginBytes bounds the name of a sender: that of a host has 253 at most.
	maxOriginBytes = 255
)

// Handshake is what a sender asks before it posts, to see that it is wanted.
type Handshake struct {
	// EchoQuery is a query parameter: a GET with it is answered with its value, as
	// plain text. "" for none.
	EchoQuery string
	// CloudEvents grants senders that ask by OPTIONS the right to post at the
	// courier's rate (HTTP 1.1 Web Hooks for Event Delivery 1.0, section 4).
	CloudEvents bool
}

// handshake answers a request to the intake that is no POST: a handshake of its
// courier, or nothing that is expected here.
func (s *Server) handshake(c *call, name []byte) {
	c.table = s.couriers.active.Load()
	c.courier = c.table.find(name)
	answer := handshakeOf(c)
	if answer == nil {
		c.ctx.Response.Header.Set(fasthttp.HeaderAllow, "POST")
		s.refusals.refuse(c, c.refuse(methodNotAllowed, "events are sent by POST"))
		return
	}
	for _, next := range [...]step{(*Server).admit, (*Server).chargeUnverified, (*Server).takeSlot, answer} {
		if refusal := next(s, c); refusal != nil {
			s.refusals.refuse(c, refusal)
			return
		}
	}
	s.metrics.count(c.courier, codeHandshake)
}

// handshakeOf returns what answers the handshake that a request is, nil when it is
// none that its courier makes.
func handshakeOf(c *call) step {
	if c.courier == nil {
		return nil
	}
	h := &c.courier.handshake
	switch string(c.ctx.Method()) {
	case fasthttp.MethodGet:
		if h.EchoQuery != "" && c.ctx.QueryArgs().Has(h.EchoQuery) {
			return echo
		}
	case fasthttp.MethodOptions:
		if h.CloudEvents && len(c.ctx.Request.Header.Peek("WebHook-Request-Origin")) > 0 {
			return grant
		}
	}
	return nil
}

// echo sends back what the sender has put into the query. It is for a program:
// nothing that shows it may treat it as a page or a script.
func echo(_ *Server, c *call) *refusal {
	values := c.ctx.QueryArgs().PeekMulti(c.courier.handshake.EchoQuery)
	if len(values) != 1 || len(values[0]) > maxEchoBytes {
		return c.refuse(badRequest, "the value to send back has to be there once, with at most "+strconv.Itoa(maxEchoBytes)+" bytes")
	}
	c.ctx.Response.Header.Set(fasthttp.HeaderXContentTypeOptions, "nosniff")
	c.answer(fasthttp.StatusOK, plainText, values[0])
	return nil
}

// grant permits the sender to post.
func grant(_ *Server, c *call) *refusal {
	origins := c.ctx.Request.Header.PeekAll("WebHook-Request-Origin")
	if len(origins) != 1 || len(origins[0]) > maxOriginBytes || !visible(origins[0]) {
		return c.refuse(badRequest, "the header webhook-request-origin has to be there once and hold the name of a host")
	}
	rate := "*"
	if perSecond, limited := c.courier.limits.PerSecond(); limited {
		rate = strconv.FormatInt(int64(min(max(perSecond*60, 1), math.MaxInt32)), 10)
	}
	h := &c.ctx.Response.Header
	h.SetBytesV("WebHook-Allowed-Origin", origins[0])
	h.Set("WebHook-Allowed-Rate", rate)
	h.Set(fasthttp.HeaderAllow, "POST")
	c.answer(fasthttp.StatusOK, "", nil)
	return nil
}
