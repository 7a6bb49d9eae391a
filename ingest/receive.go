package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/netip"
	"os"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/fincart/courier-gateway/ingest/address"
	"github.com/fincart/courier-gateway/ingest/connlimit"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ingest/framing"
	"github.com/fincart/courier-gateway/ingest/payload"
	"github.com/fincart/courier-gateway/ingest/signature"
)

const (
	intakePath = "/v1/events/courier"
	healthPath = "/health"
	// keepBodyBytes is the largest memory of a body that is kept for another one.
	keepBodyBytes = 64 << 10
	// keepMoments is the most room for checkpoints that a call keeps.
	keepMoments = 128
)

// call is one request on its way, with all the memory that it needs. Calls are
// pooled. What a call holds shares memory with the request, which is valid until
// the handler returns.
type call struct {
	ctx      *fasthttp.RequestCtx
	started  time.Time
	posted   bool          // to the intake, so that it is recorded
	table    *table        // that sender is of
	sender   *sender       // nil while, or because, it is unknown
	counted  *atomic.Int64 // by which it is counted as in work; nil for not
	traceID  string
	verified bool // the signature is valid
	event    event.Event
	env      event.Envelope
	faults   event.Faults
	observed refusal // what was overlooked, see overlook

	body      []byte // as far as it was read
	whole     bool   // all of it was
	bodyBytes int    // how long it is, as far as is known

	address netip.Addr                  // who has sent it; see Server.from
	short   []byte                      // memory for a short body
	long    *bodyBuffer                 // memory for a long one, nil for none
	loan    bodyLoan                    // by which long is counted
	moments []event.Moment              // for checkpoints
	trace   [len(tracePrefix) + 32]byte // for a trace id of our own
	stamp   [64]byte                    // for the envelope's stamp
	out     []byte                      // for the answer
}

func (s *Server) begin(ctx *fasthttp.RequestCtx) *call {
	c := s.calls.Get().(*call)
	c.ctx, c.started = ctx, s.deps.Now()
	c.traceID = c.findTrace()
	s.metrics.inFlight.Inc()
	return c
}

// end is deferred: no defect that one request meets may end the process.
func (s *Server) end(c *call) {
	fault := recover()
	if fault != nil {
		s.failures.warn("request met a defect", "trace_id", strings.Clone(c.traceID),
			"error", fmt.Sprint(fault), "stack", string(debug.Stack()))
		s.refuse(c, refusal{problem: defect, detail: "the appliance failed on this request; send it again"})
	}
	s.metrics.inFlight.Dec()
	c.leave()
	c.leaveBody()
	if s.draining.Load() {
		c.ctx.SetConnectionClose()
	}
	c.ctx.Request.ReleaseBody(keepBodyBytes)
	sound := fault == nil // else somebody may still hold the call
	s.closeLong(c, sound)
	if sound {
		if cap(c.moments) > keepMoments {
			c.moments = nil
		}
		clear(c.moments) // their texts are the request's
		*c = call{faults: c.faults[:0], moments: c.moments[:0], out: c.out[:0], short: c.short[:0]}
		s.calls.Put(c)
	}
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

// Body returns the raw body, as far as it was read.
func (c *call) Body() []byte { return c.body }

// Method returns the method as it was sent.
func (c *call) Method() []byte { return c.ctx.Method() }

// Path returns the path as it was sent, without the query.
func (c *call) Path() []byte { return c.ctx.URI().PathOriginal() }

// Query returns the query as it was sent.
func (c *call) Query() []byte { return c.ctx.URI().QueryString() }

// handle answers one request.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	c := s.begin(ctx)
	defer s.end(c)
	path, method := ctx.URI().PathOriginal(), ctx.Method()
	courier, intake := courierIn(path)
	switch {
	case intake && string(method) == fasthttp.MethodPost:
		s.intake(c, courier)
	case intake:
		s.greet(c, courier)
	case string(path) != healthPath:
		s.refuse(c, refusal{problem: notFound, detail: "events are sent to " + intakePath + "/{courier}"})
	case string(method) == fasthttp.MethodGet || string(method) == fasthttp.MethodHead:
		status, body := s.deps.Health()
		c.answer(status, "application/json", body)
	default:
		ctx.Response.Header.Set(fasthttp.HeaderAllow, "GET, HEAD")
		s.refuse(c, refusal{problem: methodNotAllowed, detail: "health is asked for by GET"})
	}
}

// courierIn returns the courier that a path of the intake names, "" for the
// default one.
func courierIn(path []byte) (courier []byte, ok bool) {
	rest, ok := bytes.CutPrefix(path, []byte(intakePath))
	if !ok || len(rest) == 0 {
		return nil, ok
	}
	if rest[0] != '/' || len(rest) == 1 || bytes.IndexByte(rest[1:], '/') >= 0 {
		return nil, false
	}
	return rest[1:], true
}

func (s *Server) intake(c *call, courier []byte) {
	c.posted = true
	receipt, no := s.receive(c, courier)
	if no.code != "" {
		s.refuse(c, no)
		return
	}
	s.metrics.accepted.Observe(s.deps.Now().Sub(c.started).Seconds())
	s.metrics.bytes.Add(float64(len(c.env.Body)))
	by := c.sender
	outcome := &by.accepted
	if receipt.Conflict {
		outcome = &by.conflict
	} else if receipt.Duplicate {
		outcome = &by.duplicate
	}
	outcome.Inc()
	c.answerAccepted(receipt)
	if c.observed.code != "" {
		s.tellObserved(c)
		s.note(c, ingestion.Observed, c.observed, by.success.Status)
		return
	}
	outcome.add(c.started, len(c.env.Body))
}

// receive takes an event from the request to the queue. The refusal is empty when
// the event is kept.
func (s *Server) receive(c *call, courier []byte) (r event.Receipt, no refusal) {
	c.table = s.couriers.Load()
	c.sender = c.table.find(courier)
	if s.draining.Load() {
		return r, refusal{problem: unavailable, detail: "the appliance is stopping; send the event again"}
	}
	if no = s.admit(c); no.code != "" && !no.telling() {
		return r, no
	}
	if no = s.readBody(c, no); no.code != "" {
		if no.telling() {
			no = s.chargeUnverified(c, no)
		}
		return r, no
	}
	if no = s.authenticate(c); no.code != "" {
		return r, no
	}
	if no = c.crowd(); no.code != "" {
		return r, no
	}
	if no = c.decode(); no.code != "" && !c.overlook(no) {
		return r, no
	}
	c.env.TraceID, c.env.ReceivedAt = c.traceID, c.started.UTC()
	s.wrap(&c.env, c.sender, &c.event, c.stamp[:0])
	r, err := s.deps.Publisher.Publish(s.hard, &c.env)
	if err != nil {
		return r, unkept(err)
	}
	return r, refusal{}
}

// unkept is the refusal of an event that the queue did not take: for what sending
// it again can't cure it says so.
func unkept(err error) refusal {
	switch event.CodeOf(err) {
	case event.PayloadTooLarge:
		return refusal{problem: tooLarge, detail: "the event is larger than the queue takes", cause: err}
	case event.InvalidPayload:
		return refusal{problem: badPayload, detail: "a member of the event can't be kept with it", cause: err}
	default:
		return refusal{problem: unavailable, detail: "the event could not be stored; send it again", cause: err}
	}
}

// nobody says why no courier was found.
func (c *call) nobody() string {
	if len(c.Path()) == len(intakePath) {
		return "the path names no courier, and there is no default one: post to " + intakePath + "/{courier}"
	}
	return "there is no courier of this name"
}

// authenticate verifies the request and charges it to whom that says it comes from. A
// body of the wrong type is what the sender is told of first, but the signature decides
// who is charged.
func (s *Server) authenticate(c *call) refusal {
	media := c.mediaFault()
	unsigned := s.verify(c)
	first := media
	if first.code == "" {
		first = unsigned
	}
	no := s.charge(c, first)
	if no.code == "" {
		return no
	}
	if no.code != first.code || !c.overlook(no) {
		return no
	}
	return c.chargeObserved()
}

// verify proves the sender. For an unknown courier it does the work of a wrong
// signature, so that its answer takes the same time.
func (s *Server) verify(c *call) refusal {
	c.env.Body = c.Body()
	if c.sender == nil {
		s.pretend(c)
		return refusal{problem: unknownCourier, detail: c.nobody()}
	}
	keyID, err := c.sender.scheme.Verify(c, c.started)
	if err == nil {
		c.env.KeyID, c.verified = keyID, true
		c.sender.limits.known.add(address.Group(s.from(c)), c.started)
		return refusal{}
	}
	c.env.KeyID = keyIDObserved // if it goes on at all
	no := refusal{problem: badSignature, detail: err.Error()}
	if fail, ok := errors.AsType[*signature.Failure](err); ok {
		no.reason = fail.Kind.String()
		if fail.Kind == signature.NoKeys {
			no.problem = unavailable
		}
	}
	return no
}

// pretend computes a digest for nobody. It is always the one that most couriers'
// schemes need, HMAC-SHA256 over the body: those of the couriers there are may cost
// next to nothing, as a token in the address does.
func (s *Server) pretend(c *call) {
	digest := s.digests.Get().(hash.Hash)
	digest.Reset()
	_, _ = digest.Write(c.env.Body)
	digest.Sum(c.stamp[:0])
	s.digests.Put(digest)
}

// decode reads the event.
func (c *call) decode() refusal {
	c.event.Checkpoints = c.moments[:0]
	in := payload.Input{Body: c.env.Body, Headers: c, Received: c.started.UTC()}
	c.faults = c.sender.decoder.Decode(in, &c.event, c.faults[:0])
	if c.event.Checkpoints != nil {
		c.moments = c.event.Checkpoints
	}
	if len(c.faults) == 0 {
		return refusal{}
	}
	if c.sender.observe {
		c.nameByBody()
	}
	return refusal{problem: badPayload, detail: "the body is no valid event", faults: c.faults}
}

// wrap completes an envelope that has its body, its key id, its trace id and its
// time. No header of the request gets into it but the one that became the trace id
// and those that the courier's mapping names the event by. The stamp takes room.
func (s *Server) wrap(e *event.Envelope, by *sender, told *event.Event, room []byte) {
	e.Courier, e.Scheme = by.name, by.scheme.Name()
	e.EventID, e.Key = told.ID, told.Key
	e.Stamp = alias(s.deps.Stamper.AppendStamp(room, e))
}

// handleBroken answers what never became a request: it was too large, too slow
// or not HTTP. The connection is closed after it.
func (s *Server) handleBroken(ctx *fasthttp.RequestCtx, err error) {
	c := s.begin(ctx)
	defer s.end(c)
	connlimit.Linger(ctx.Conn())
	no := s.broken(err)
	s.refuse(c, no)
	s.records.sum(sumKey{outcome: ingestion.Refused, code: no.code}).add(c.started, 0)
}

func (s *Server) broken(err error) refusal {
	_, smallBuffer := errors.AsType[*fasthttp.ErrSmallBuffer](err)
	fault, misframed := errors.AsType[*framing.Fault](err)
	switch {
	case misframed:
		return refusal{problem: badRequest, detail: fault.Error()}
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		return refusal{problem: tooLarge, detail: s.tooLarge}
	case smallBuffer:
		return refusal{problem: headerTooLarge, detail: fmt.Sprintf("request line and headers are larger than %d bytes", s.config.MaxHeaderBytes)}
	case errors.Is(err, errBodyTooSlow):
		return refusal{problem: tooSlow, detail: s.tooSlowBody()}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return refusal{problem: tooSlow, detail: fmt.Sprintf("the request did not arrive within %v", s.config.ReadTimeout)}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return refusal{problem: badRequest, detail: "the request ends early"}
	default:
		return refusal{problem: badRequest, detail: "the request is not valid HTTP/1.1"}
	}
}
