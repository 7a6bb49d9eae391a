package ingest

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/valyala/fasthttp"

	"github.com/fincart/courier-gateway/ingest/address"
	"github.com/fincart/courier-gateway/ingest/body"
	"github.com/fincart/courier-gateway/ingest/connlimit"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ingest/framing"
	"github.com/fincart/courier-gateway/ingest/record"
)

// declaredBytes returns how long the body is said to be, -1 when it comes in chunks.
func (c *call) declaredBytes() int {
	if r := &c.ctx.Request; !r.IsBodyStream() { // there is none
		return len(r.Body())
	}
	return c.ctx.Request.Header.ContentLength()
}

// bodies reads the bodies of calls, within the limits of the listener and the couriers.
type bodies struct {
	reader      *body.Reader
	maxBytes    int    // of the listener
	tooLarge    string // what the answer to a larger one says
	recordBytes int    // how much is read of a body that is only for a record
}

// limit returns how large a body may be, and what the answer to a larger one says;
// courier is nil for no courier of ours.
func (b *bodies) limit(courier *courier) (bytes int, tooLarge string) {
	if courier == nil {
		return b.maxBytes, b.tooLarge
	}
	return courier.maxBodyBytes, courier.tooLarge
}

// readForRecord reads what a record keeps of the body of a request that is refused already.
func (b *bodies) readForRecord(c *call) {
	limit, _ := b.limit(c.courier)
	_ = b.read(c, min(limit, b.recordBytes)) // the first refusal is the answer
}

// readBody reads the body. Of a request for no courier of ours it reads no more than a
// record keeps, which is all that is verified then.
func (s *Server) readBody(c *call) *refusal {
	limit, detail := s.bodies.limit(c.courier)
	if c.courier == nil {
		limit = min(limit, s.bodies.recordBytes)
	}
	err := s.bodies.read(c, limit)
	switch {
	case errors.Is(err, body.ErrNoMemory):
		return c.refuse(unavailable, "too many long bodies are on their way; send the event again")
	case err != nil && s.draining.Load():
		return s.checkRunning(c)
	case err != nil:
		return s.chargeRefused(c, c.refuse(s.config.unreadable(err)))
	case !c.body.Whole && c.courier != nil:
		return s.chargeRefused(c, c.refuse(tooLarge, detail))
	}
	if c.body.Length > body.PrefetchedBytes {
		c.started = s.deps.Now() // it may have taken its time
	}
	return nil
}

// read reads at most limit bytes of the body.
func (b *bodies) read(c *call, limit int) error {
	r := &c.ctx.Request
	if !r.IsBodyStream() {
		return b.reader.Read(c.body, &body.Source{Whole: r.Body()}, limit)
	}
	src := body.Source{Stream: r.BodyStream(), Declared: r.Header.ContentLength(), Conn: c.ctx.Conn()}
	if src.MayBeLong() {
		src.Address = address.Group(c.from())
		if c.known() {
			src.Courier = c.courier.name
		}
	}
	return b.reader.Read(c.body, &src, limit)
}

// leaveBody closes the connection of a request of whose body too much may be left,
// once its sender has got the answer. A short rest fasthttp reads past.
func (c *call) leaveBody() {
	if declared := c.declaredBytes(); c.ctx.Request.IsBodyStream() && !c.body.Whole && (declared < 0 || declared > body.PrefetchedBytes) {
		c.ctx.SetConnectionClose()
		connlimit.Linger(c.ctx.Conn())
	}
}

// expect answers a sender that asks before it sends its body (RFC 9110, section
// 10.1.1): one that is too large need not be sent.
func (s *Server) expect(ctx *fasthttp.RequestCtx) int {
	table, declared := s.couriers.active.Load(), ctx.Request.Header.ContentLength()
	var courier *courier
	name, intake := courierIn(ctx.URI().PathOriginal())
	if intake {
		courier = table.find(name)
	}
	limit, detail := s.bodies.limit(courier)
	if declared <= limit {
		return fasthttp.StatusContinue
	}
	c := s.begin(ctx)
	defer s.end(c)
	c.table, c.courier, c.posted, c.body.Length = table, courier, intake && ctx.IsPost(), declared
	refusal := c.refuse(tooLarge, detail)
	s.refusals.refuse(c, refusal)
	connlimit.Linger(ctx.Conn()) // it may be sending already
	return refusal.status
}

// handleBroken answers what never became a request: it was too large, too slow
// or not HTTP. The connection is closed after it.
func (s *Server) handleBroken(ctx *fasthttp.RequestCtx, err error) {
	c := s.begin(ctx)
	defer s.end(c)
	connlimit.Linger(ctx.Conn())
	refusal := s.checkRunning(c)
	if refusal == nil {
		refusal = c.refuse(s.config.unreadable(err))
	}
	s.refusals.refuse(c, refusal)
	s.records.count(record.Key{Outcome: ingestion.Refused, Code: refusal.code}, c.started)
}

// unreadable says what is wrong with a request that could not be read.
func (c *Config) unreadable(err error) (kind problem, detail string) {
	_, smallBuffer := errors.AsType[*fasthttp.ErrSmallBuffer](err)
	fault, misframed := errors.AsType[*framing.Fault](err)
	switch {
	case misframed:
		return badRequest, fault.Error()
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		return tooLarge, largerThan(c.MaxBodyBytes)
	case smallBuffer:
		return headerTooLarge, fmt.Sprintf("request line and headers are larger than %d bytes", c.MaxHeaderBytes)
	case errors.Is(err, body.ErrTooSlow):
		return tooSlow, fmt.Sprintf("the body came slower than %d bytes per second", c.MinBodyBytesPerSecond)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return tooSlow, fmt.Sprintf("the request did not arrive within %v", c.ReadTimeout)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return badRequest, "the request ends early"
	default:
		return badRequest, "the request is not valid HTTP/1.1"
	}
}

// largerThan is what the answer to a body beyond a limit says.
func largerThan(limit int) string { return fmt.Sprintf("the body is larger than %d bytes", limit) }
