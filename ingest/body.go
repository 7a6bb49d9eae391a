package ingest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/fincart/courier-gateway/ingest/address"
	"github.com/fincart/courier-gateway/ingest/connlimit"
	"github.com/fincart/courier-gateway/ingest/framing"
)

// Bodies are read here and not by fasthttp, which allocates a whole body as soon as its
// length is declared: senders of a few bytes each would take gigabytes. Here the memory
// grows with what has come, after the checks that need no body.
//
// With StreamRequestBody, fasthttp makes a stream of every body that has a length or
// comes in chunks (IsBodyStream does not say that something is missing). It calls the
// handler with the first 8 KiB of a body that has a length, or all of it if it is
// shorter, and with nothing of one that comes in chunks.
const (
	// prefetchedBytes is how much of a body with a length fasthttp waits for.
	prefetchedBytes = 8 << 10
	// shortBytes is how long a body may be without being counted: bodies up to there
	// cost no more than the buffers that every connection has, whose number is bounded.
	shortBytes = prefetchedBytes
	// firstShort is the memory that a body in chunks begins with.
	firstShort = 1 << 10
	// firstLong is the memory that a long body begins with; it doubles as it is filled,
	// up to what the body may have.
	firstLong = 16 << 10
	// paceWindow is the time in which a body has to make some progress.
	paceWindow = 2 * time.Second
	// paceGrace is the least time that a Read gets: one that finds its data there must
	// not fail only because this machine was late.
	paceGrace = 10 * time.Millisecond
)

// declaredBytes returns how long the body is said to be, -1 when it comes in chunks.
func (c *call) declaredBytes() int {
	if r := &c.ctx.Request; !r.IsBodyStream() { // there is none
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
	connlimit.Linger(ctx.Conn()) // it may be sending already
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
	case errors.Is(err, errNoBodyMemory):
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

var (
	// errNoBodyMemory says that other bodies take the memory that one needs.
	errNoBodyMemory = errors.New("no memory for the body")
	// errBodyTooSlow says that a body came slower than it has to.
	errBodyTooSlow = errors.New("the body comes too slowly")
)

// read reads at most limit bytes of the body.
func (s *Server) read(c *call, limit int) error {
	r := &c.ctx.Request
	if !r.IsBodyStream() {
		body := r.Body()
		c.body, c.whole = body[:min(len(body), limit)], len(body) <= limit
		return nil
	}
	declared := r.Header.ContentLength()
	var pace bodyPace
	if declared < 0 || declared > prefetchedBytes { // else all of it is there
		pace.begin(c, s.config.MinBodyBytesPerSecond)
		defer pace.end()
	}
	stream, in := r.BodyStream(), c.short[:0]
	if declared > shortBytes {
		in = nil
	}
	for {
		if len(in) == cap(in) {
			var ok bool
			if in, ok = s.widen(c, in, declared, limit+1); !ok {
				return errNoBodyMemory
			}
		}
		if err := pace.before(c); err != nil {
			return err
		}
		n, err := stream.Read(in[len(in):max(len(in), min(cap(in), limit+1))])
		in = in[:len(in)+n]
		c.body = in[:min(len(in), limit)]
		switch {
		case len(in) > limit:
			return nil
		case err == io.EOF && len(in) >= declared:
			if !c.loan.complete() {
				return errNoBodyMemory
			}
			c.whole = true
			return nil
		case err == io.EOF:
			return io.ErrUnexpectedEOF
		case err != nil:
			if fault := framing.FaultOf(c.ctx.Conn()); fault != nil {
				return fault
			}
			return pace.why(c, err)
		case !pace.keeps(n):
			return errBodyTooSlow
		}
	}
}

// widen returns the body that was read so far in more memory, but not in more than most
// bytes. A short one has memory of the call, a long one has memory that is counted.
func (s *Server) widen(c *call, in []byte, declared, most int) (wider []byte, ok bool) {
	switch {
	case c.long != nil:
		larger := min(2*cap(in), most)
		if !c.loan.grow(int64(larger), time.Now()) {
			return in, false
		}
		wider = append(make([]byte, 0, larger), in...)
		c.loan.shrink(int64(cap(in)))
		c.long.b = wider
		return wider, true
	case declared <= shortBytes && cap(in) <= shortBytes:
		size := max(declared, 2*cap(in), 1)
		if declared < 0 {
			size = max(size, firstShort)
		}
		c.short = append(make([]byte, 0, min(size, shortBytes+1)), in...) // where the end is seen only behind it
		return c.short, true
	}
	if !s.openLong(c, most) {
		return in, false
	}
	return append(c.long.b, in...), true
}

// openLong gets the call its first counted memory.
func (s *Server) openLong(c *call, most int) bool {
	buffer, ok := s.bodies.spare.Get().(*bodyBuffer)
	if !ok || cap(buffer.b) > most {
		buffer = &bodyBuffer{make([]byte, 0, min(firstLong, most))}
	}
	n, now := int64(cap(buffer.b)), time.Now()
	var reader interruptible
	if in := connlimit.Of(c.ctx.Conn()); in != nil {
		reader = in
	}
	if s.knows(c) && s.bodies.known.open(&c.loan, bodyHolder{courier: c.sender.name}, reader, n, now) ||
		s.bodies.unknown.open(&c.loan, bodyHolder{address: address.Group(s.from(c))}, reader, n, now) {
		c.long = buffer
		return true
	}
	return false
}

// closeLong takes back the counted memory of a call; spare says that nothing else can
// still look at it.
func (s *Server) closeLong(c *call, spare bool) {
	c.loan.close()
	if c.long == nil {
		return
	}
	if n := cap(c.long.b); spare && n >= firstLong && n <= keepBodyBytes {
		c.long.b = c.long.b[:0]
		s.bodies.spare.Put(c.long)
	}
	c.long = nil
}

// leaveBody closes the connection of a request of whose body too much may be left,
// once its sender has got the answer. A short rest fasthttp reads past.
func (c *call) leaveBody() {
	if declared := c.declaredBytes(); c.ctx.Request.IsBodyStream() && !c.whole && (declared < 0 || declared > prefetchedBytes) {
		c.ctx.SetConnectionClose()
		connlimit.Linger(c.ctx.Conn())
	}
}

// bodyPace holds the sender of a body to a least rate: in every paceWindow so many bytes
// have to come as that rate makes, whatever came before. The zero value holds nobody
// to anything.
type bodyPace struct {
	conn  *connlimit.Conn // nil for one that can't be held to it
	need  int             // bytes in a window
	ends  time.Time
	got   int       // bytes, in this window
	armed time.Time // the deadline that is set
}

func (p *bodyPace) begin(c *call, least int) {
	if p.conn = connlimit.Of(c.ctx.Conn()); p.conn != nil && least > 0 {
		p.need = least * int(paceWindow/time.Second)
		p.ends = time.Now().Add(paceWindow)
	}
}

// before sets the deadline of the next Read, and reports whether it may begin.
func (p *bodyPace) before(c *call) error {
	if p.need == 0 {
		return nil
	}
	due, now := p.ends, time.Now()
	if p.got >= p.need { // this window is kept already
		due = due.Add(paceWindow)
	}
	if soon := now.Add(paceGrace); due.Before(soon) {
		due = soon
	}
	if by := p.conn.ReadBy(); by != 0 && by < due.UnixNano() {
		due = time.Unix(0, by)
	}
	if !due.Equal(p.armed) {
		_ = p.conn.Conn.SetReadDeadline(due) // a connection that is closed fails to be read
		p.armed = due
	}
	if c.loan.gaveWay.Load() { // the deadline set may have come after the interruption
		return errNoBodyMemory
	}
	return nil
}

// keeps reports whether the body keeps the rate after n bytes more.
func (p *bodyPace) keeps(n int) bool {
	if p.need == 0 {
		return true
	}
	p.got += n
	now := time.Now()
	if now.Before(p.ends) {
		return true
	}
	kept := p.got >= p.need
	p.got, p.ends = 0, p.ends.Add(paceWindow)
	if p.ends.Before(now) {
		p.ends = now.Add(paceWindow)
	}
	return kept
}

// why returns what a failed Read means. Of a body in chunks fasthttp hides the cause.
func (p *bodyPace) why(c *call, err error) error {
	now := time.Now()
	switch {
	case c.loan.gaveWay.Load():
		return errNoBodyMemory
	case p.conn == nil || errors.Is(err, io.ErrUnexpectedEOF):
		return err
	case p.late(now):
		return os.ErrDeadlineExceeded
	case p.need > 0 && !now.Before(p.armed):
		return errBodyTooSlow
	}
	return err
}

// late reports whether the time for the whole request is over.
func (p *bodyPace) late(now time.Time) bool {
	by := p.conn.ReadBy()
	return by != 0 && now.UnixNano() >= by
}

// end sets the deadline of the request again.
func (p *bodyPace) end() {
	if p.armed.IsZero() {
		return
	}
	by := time.Time{}
	if nanos := p.conn.ReadBy(); nanos != 0 {
		by = time.Unix(0, nanos)
	}
	_ = p.conn.Conn.SetReadDeadline(by)
}

// tooSlowBody is what the sender of a body is told that came slower than it has to.
func (s *Server) tooSlowBody() string {
	return fmt.Sprintf("the body came slower than %d bytes per second", s.config.MinBodyBytesPerSecond)
}
