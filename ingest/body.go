package ingest

import (
	"errors"
	"io"

	"github.com/valyala/fasthttp"
)

// Bodies are read here and not by fasthttp, which makes room for a whole body as soon
// as its length is declared: senders of a few bytes each would take gigabytes. Here
// the room grows with what has come, after the checks that need no body, and the rooms
// of all are bounded together. fasthttp waits only for the first bytes of a body, which
// are the whole of a usual event.
const (
	// prefetchedBytes is how much of a body fasthttp waits for.
	prefetchedBytes = 8 << 10
	// firstRoom is the room that a body begins with; it doubles as it is filled, up to
	// what the body may have.
	firstRoom = 16 << 10
)

// declaredBytes returns how long the body is said to be, -1 when it comes in chunks.
func (c *call) declaredBytes() int {
	if r := &c.ctx.Request; !r.IsBodyStream() { // none, or all of it is there
		return len(r.Body())
	}
	return c.ctx.Request.Header.ContentLength()
}

// limitFor returns how large a body may be, and what the sender of a larger one is
// told; by is nil for no courier of ours.
func (s *Server) limitFor(by *sender) (limit int, tooLong refusal) {
	limit, tooLong = s.config.MaxBodyBytes, refusal{problem: tooLarge, detail: s.tooLarge}
	if by != nil {
		limit, tooLong.detail = by.limits.maxBytes, by.limits.tooLarge
	}
	return limit, tooLong
}

// expect answers a sender that asks before it sends its body (RFC 9110, section
// 10.1.1): one that is too large it can keep.
func (s *Server) expect(ctx *fasthttp.RequestCtx) int {
	table, declared := s.couriers.Load(), ctx.Request.Header.ContentLength()
	var by *sender
	courier, intake := courierIn(ctx.URI().PathOriginal())
	if intake {
		by = table.find(courier)
	}
	limit, tooLong := s.limitFor(by)
	if declared <= limit {
		return fasthttp.StatusContinue
	}
	c := s.begin(ctx)
	defer s.end(c)
	c.table, c.sender, c.posted, c.bodyBytes = table, by, intake && ctx.IsPost(), declared
	s.refuse(c, tooLong)
	linger(ctx.Conn()) // it may be sending already
	return tooLong.status
}

// readBody reads the body of a request that may come in. Of one that may not, it
// reads what a record keeps of a body; no says why not, and what it says comes back.
// Of one for no courier of ours it reads no more than that either, which is all that
// is verified then.
func (s *Server) readBody(c *call, no refusal) refusal {
	limit, tooLong := s.limitFor(c.sender)
	c.bodyBytes = max(c.declaredBytes(), 0)
	if no.code == "" && c.bodyBytes > limit {
		no = tooLong
	}
	if no.code != "" || c.sender == nil {
		limit = min(limit, s.config.Records.BodyBytes+maskAhead)
	}
	err := s.read(c, limit)
	if c.bodyBytes = max(c.bodyBytes, len(c.body)); !c.whole {
		c.bodyBytes = max(c.bodyBytes, len(c.body)+1) // at least
	}
	switch {
	case no.code != "":
		return no
	case errors.Is(err, errNoRoom):
		return refusal{problem: unavailable, detail: "too many long bodies are on their way; send the event again"}
	case err != nil:
		return s.broken(err)
	case !c.whole && c.sender != nil:
		return tooLong
	}
	if c.bodyBytes > prefetchedBytes {
		c.started = s.deps.Now() // it may have taken its time
	}
	return refusal{}
}

// errNoRoom says that other bodies take the memory that one needs.
var errNoRoom = errors.New("no room for the body")

// read reads at most limit bytes of the body.
func (s *Server) read(c *call, limit int) error {
	r := &c.ctx.Request
	if !r.IsBodyStream() {
		body := r.Body()
		c.body, c.whole = body[:min(len(body), limit)], len(body) <= limit
		return nil
	}
	declared := r.Header.ContentLength()
	stream := r.BodyStream()
	for {
		if (c.room == nil || len(c.room.b) == cap(c.room.b)) && !s.rooms.widen(c, limit+1) {
			return errNoRoom
		}
		in := c.room.b
		n, err := stream.Read(in[len(in):min(cap(in), limit+1)])
		in = in[:len(in)+n]
		c.room.b, c.body = in, in[:min(len(in), limit)]
		switch {
		case len(in) > limit:
			return nil
		case err == io.EOF && len(in) >= declared:
			c.whole = true
			return nil
		case err == io.EOF:
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
	}
}

// leaveBody closes the connection of a request of whose body too much may be left,
// once its sender has got the answer. A short rest fasthttp reads past.
func (c *call) leaveBody() {
	if declared := c.declaredBytes(); c.ctx.Request.IsBodyStream() && !c.whole && (declared < 0 || declared > prefetchedBytes) {
		c.ctx.SetConnectionClose()
		linger(c.ctx.Conn())
	}
}
