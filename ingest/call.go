package ingest

import (
	"fmt"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"
	"unsafe"

	"github.com/valyala/fasthttp"

	"github.com/fincart/courier-gateway/ingest/address"
	"github.com/fincart/courier-gateway/ingest/body"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/limits"
)

const (
	// keepBodyBytes is the largest memory of a body of fasthttp that is kept for another one.
	keepBodyBytes = 64 << 10
	// keepCheckpoints is the most memory for checkpoints that a call keeps.
	keepCheckpoints = 128
)

// call is one request on its way, with all the memory that it needs. Calls are
// pooled. What a call holds shares memory with the request, which is valid until
// the handler returns.
type call struct {
	ctx      *fasthttp.RequestCtx
	trusted  []netip.Prefix // proxies
	started  time.Time
	posted   bool        // to the intake, so that it is recorded
	table    *table      // that courier is of
	courier  *courier    // nil while, or because, it is unknown
	slot     limits.Slot // of the requests that the courier may have in work
	traceID  string
	answerID string // the same in the answer, see findTrace
	body     *body.Body
	packed   bool       // the body is, by its content-encoding
	plain    *body.Body // what a packed body holds, once it is unpacked
	verified bool       // the signature is valid
	event    event.Event
	env      event.Envelope
	receipt  event.Receipt // of the published event
	faults   event.Faults
	refused  refusal // memory of the refusal, see refuse
	observed refusal // what was tolerated, see tolerate; without a code: nothing

	address     netip.Addr                  // who has sent it; see from
	checkpoints []event.Moment              // memory of the event's
	trace       [len(tracePrefix) + 32]byte // for a trace id of our own
	stamp       [64]byte                    // for the envelope's stamp
	out         []byte                      // for the answer
}

func (s *Server) begin(ctx *fasthttp.RequestCtx) *call {
	c := s.calls.Get().(*call)
	c.ctx, c.started, c.trusted = ctx, s.deps.Now(), s.trusted
	c.findTrace(s.couriers.active.Load().redactor)
	s.metrics.inFlight.Inc()
	return c
}

// end is deferred: no defect that one request meets may end the process.
func (s *Server) end(c *call) {
	fault := recover()
	if fault != nil {
		s.failures.Warn("request met a defect", "trace_id", strings.Clone(c.traceID),
			"error", fmt.Sprint(fault), "stack", string(debug.Stack()))
		s.refusals.refuse(c, c.refuse(defect, "the appliance failed on this request; send it again"))
	}
	s.metrics.inFlight.Dec()
	c.slot.Leave()
	c.leaveBody()
	if s.draining.Load() {
		c.ctx.SetConnectionClose()
	}
	c.ctx.Request.ReleaseBody(keepBodyBytes)
	sound := fault == nil // else something may still hold the call
	s.bodies.reader.Close(c.body, sound)
	s.bodies.reader.Close(c.plain, sound)
	if sound {
		c.reset()
		s.calls.Put(c)
	}
}

// reset leaves a call with nothing but its memory; its body was closed.
func (c *call) reset() {
	if cap(c.checkpoints) > keepCheckpoints {
		c.checkpoints = nil
	}
	clear(c.checkpoints) // their texts are the request's
	*c = call{faults: c.faults[:0], checkpoints: c.checkpoints[:0], out: c.out[:0], body: c.body, plain: c.plain}
}

// Header, and what follows it, make a call the [signature.Request] that its scheme
// verifies.
func (c *call) Header(name string) (value []byte, count int) {
	values := c.ctx.Request.Header.PeekAll(name)
	if len(values) == 0 {
		return nil, 0
	}
	return values[0], len(values)
}

// mappedHeaders are those of a call, for a mapping that names the event by them.
type mappedHeaders call

// Header is [signature.Scheme.Header].
func (h *mappedHeaders) Header(name string) (value []byte, count int) {
	return h.courier.scheme.Header((*call)(h), name)
}

// Body returns the raw body, as far as it was read.
func (c *call) Body() []byte { return c.body.Bytes }

// Method returns the method as it was sent.
func (c *call) Method() []byte { return c.ctx.Method() }

// Path returns the path as it was sent, without the query.
func (c *call) Path() []byte { return c.ctx.URI().PathOriginal() }

// Query returns the query as it was sent.
func (c *call) Query() []byte { return c.ctx.URI().QueryString() }

// from returns who has sent a request: the peer of its connection or, when that
// is a trusted proxy, the last one in X-Forwarded-For that is none. What a sender
// writes into that header itself is in front of what the proxies add, so it can't use
// the address of another. Without such an address, or when one of those behind it can't
// be read, it is the peer.
func (c *call) from() netip.Addr {
	if c.address.IsValid() {
		return c.address
	}
	c.address = address.Of(c.ctx.RemoteAddr())
	if address.In(c.trusted, c.address) {
		if sender, ok := address.Forwarded(c.ctx.Request.Header.PeekAll("X-Forwarded-For"), c.trusted); ok {
			c.address = sender
		}
	}
	return c.address
}

// known reports whether a request comes from an address from which its courier's
// requests were verified of late.
func (c *call) known() bool {
	return c.courier != nil && c.courier.limits.Knows(c.from(), c.started)
}

// alias returns b as a string that shares its memory.
func alias(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b))
}
