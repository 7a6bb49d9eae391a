package body

import (
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/fincart/courier-gateway/ingest/connlimit"
)

const (
	// paceWindow is the time in which a body has to make some progress.
	paceWindow = 2 * time.Second
	// paceGrace is the least time that a Read gets: one that finds its data there must
	// not fail only because this machine was late.
	paceGrace = 10 * time.Millisecond
)

// pace holds the sender of a body to a least rate: in every paceWindow so many bytes
// have to come as that rate makes, whatever came before. The zero value asks for
// no rate.
type pace struct {
	conn  *connlimit.Conn // nil for one that can't be held to it
	need  int             // bytes in a window
	ends  time.Time
	got   int       // bytes, in this window
	armed time.Time // the deadline that is set
}

func (p *pace) begin(conn net.Conn, least int) {
	if p.conn = connlimit.Of(conn); p.conn != nil && least > 0 {
		p.need = least * int(paceWindow/time.Second)
		p.ends = time.Now().Add(paceWindow)
	}
}

// before sets the deadline of the next Read, and reports whether it may begin.
func (p *pace) before(r *reservation) error {
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
	if nanos := p.conn.ReadDeadline(); nanos != 0 && nanos < due.UnixNano() {
		due = time.Unix(0, nanos)
	}
	if !due.Equal(p.armed) {
		_ = p.conn.Conn.SetReadDeadline(due) // a connection that is closed fails to be read
		p.armed = due
	}
	if r.evicted.Load() { // the deadline set may have come after the interruption
		return ErrNoMemory
	}
	return nil
}

// keeps reports whether the body keeps the rate after n bytes more.
func (p *pace) keeps(n int) bool {
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
func (p *pace) why(r *reservation, err error) error {
	now := time.Now()
	switch {
	case r.evicted.Load():
		return ErrNoMemory
	case p.conn == nil || errors.Is(err, io.ErrUnexpectedEOF):
		return err
	case p.late(now):
		return os.ErrDeadlineExceeded
	case p.need > 0 && !now.Before(p.armed):
		return ErrTooSlow
	}
	return err
}

// late reports whether the time for the whole request is over.
func (p *pace) late(now time.Time) bool {
	nanos := p.conn.ReadDeadline()
	return nanos != 0 && now.UnixNano() >= nanos
}

// end sets the deadline of the request again.
func (p *pace) end() {
	if p.armed.IsZero() {
		return
	}
	deadline := time.Time{}
	if nanos := p.conn.ReadDeadline(); nanos != 0 {
		deadline = time.Unix(0, nanos)
	}
	_ = p.conn.Conn.SetReadDeadline(deadline)
}
