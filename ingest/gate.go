package ingest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// A refused sender may still be sending. Its connection is read on for a
	// moment before it is closed, because a reset would take the answer away
	// from it.
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 1 << 20
	// turnAwayTime bounds writing to a connection that is not let in.
	turnAwayTime = 100 * time.Millisecond
)

// gate is a listener that bounds how many connections are open, in all and from
// one address.
type gate struct {
	max, maxPerIP int
	turnAway      func(c net.Conn, tls bool, why problem)

	mu      sync.Mutex
	ln      net.Listener
	tls     bool
	closed  bool
	open    map[*conn]struct{}
	perIP   map[netip.Prefix]int
	nobody  chan struct{} // closed by drained
	drained sync.Once     // the gate is closed and no connection open
}

func newGate(maxConns, maxPerIP int, turnAway func(net.Conn, bool, problem)) *gate {
	return &gate{
		max: maxConns, maxPerIP: maxPerIP, turnAway: turnAway,
		open:   make(map[*conn]struct{}),
		perIP:  make(map[netip.Prefix]int),
		nobody: make(chan struct{}),
	}
}

// guard sets the listener behind the gate; false when the gate is closed already.
func (g *gate) guard(ln net.Listener, tls bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ln, g.tls = ln, tls
	return !g.closed
}

// Accept returns the next connection that may come in. A lack of resources makes
// it wait, not fail.
func (g *gate) Accept() (net.Conn, error) {
	wait := 5 * time.Millisecond
	for {
		c, err := g.ln.Accept()
		switch {
		case err == nil:
			if in := g.admit(c); in != nil {
				return in, nil
			}
		case scarce(err):
			time.Sleep(wait)
			wait = min(2*wait, time.Second)
		default:
			return nil, err
		}
	}
}

// scarce reports whether accepting may succeed after others have closed.
func scarce(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// admit counts c in, or turns it away and returns nil.
func (g *gate) admit(c net.Conn) net.Conn {
	in := &conn{Conn: c, gate: g, from: origin(c.RemoteAddr())}
	g.mu.Lock()
	full := len(g.open) >= g.max
	greedy := g.maxPerIP > 0 && g.perIP[in.from] >= g.maxPerIP
	if !full && !greedy {
		g.open[in] = struct{}{}
		g.perIP[in.from]++
	}
	g.mu.Unlock()
	if !full && !greedy {
		return in
	}
	why := tooManyConns
	if greedy {
		why = tooManyFromOne
	}
	_ = c.SetDeadline(time.Now().Add(turnAwayTime))
	g.turnAway(c, g.tls, why)
	_ = c.Close()
	return nil
}

// origin returns what counts as one address of a peer.
func origin(a net.Addr) netip.Prefix { return addressGroup(addressOf(a)) }

func (g *gate) release(c *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.open, c)
	if g.perIP[c.from]--; g.perIP[c.from] <= 0 {
		delete(g.perIP, c.from)
	}
	g.noticeEmpty()
}

// noticeEmpty is called with mu held.
func (g *gate) noticeEmpty() {
	if g.closed && len(g.open) == 0 {
		g.drained.Do(func() { close(g.nobody) })
	}
}

// Close stops accepting. Connections that are open stay so.
func (g *gate) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	g.noticeEmpty()
	if g.ln == nil {
		return nil
	}
	return g.ln.Close()
}

// Addr returns the listener's address.
func (g *gate) Addr() net.Addr { return g.ln.Addr() }

// wait waits until the gate is closed and no connection open, ctx is done or the
// time is over.
func (g *gate) wait(ctx context.Context, limit time.Duration) {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-g.nobody:
	case <-t.C:
	case <-ctx.Done():
	}
}

// closeAll closes every connection and returns how many there were.
func (g *gate) closeAll() int {
	g.mu.Lock()
	conns := make([]*conn, 0, len(g.open))
	for c := range g.open {
		conns = append(conns, c)
	}
	g.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
	return len(conns)
}

func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.open)
}

// conn is a connection that the gate has counted in.
type conn struct {
	net.Conn
	gate    *gate
	from    netip.Prefix
	lingers atomic.Bool // see linger
	closed  atomic.Bool
	readBy  atomic.Int64 // the deadline of the request, in Unix nanoseconds; 0 for none
}

// SetReadDeadline sets the deadline by which a request has to be there.
func (c *conn) SetReadDeadline(t time.Time) error {
	by := int64(0)
	if !t.IsZero() {
		by = t.UnixNano()
	}
	c.readBy.Store(by)
	return c.Conn.SetReadDeadline(t)
}

// interrupt makes every Read fail until another deadline is set.
func (c *conn) interrupt() { _ = c.Conn.SetReadDeadline(time.Unix(1, 0)) }

// counted returns the connection that is, or carries, c; nil for one that no gate has
// counted in.
func counted(c net.Conn) *conn {
	for {
		if in, ok := c.(*conn); ok {
			return in
		}
		t, ok := c.(interface{ NetConn() net.Conn }) // TLS
		if !ok {
			return nil
		}
		c = t.NetConn()
	}
}

// linger makes the connection that is, or carries, c take in for a moment what
// its sender is still sending when it is closed.
func linger(c net.Conn) {
	if in := counted(c); in != nil {
		in.lingers.Store(true)
	}
}

func (c *conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	defer c.gate.release(c)
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && c.lingers.Load() && half.CloseWrite() == nil {
		_ = c.SetReadDeadline(time.Now().Add(lingerTime))
		_, _ = io.CopyN(io.Discard, c.Conn, lingerBytes)
	}
	return c.Conn.Close()
}
