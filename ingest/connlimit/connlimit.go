// Package connlimit bounds how many connections are open, in all and from one address. In
// come the connections of a [net.Listener], out come those that may be served; the rest is
// refused and closed. It also knows each open connection by its [Conn], which remembers
// the deadline of its request and how far its requests have come, can be interrupted, and
// may linger when it is closed. The intake calls it.
package connlimit

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

	"github.com/fincart/courier-gateway/ingest/address"
)

const (
	// A refused sender may still be sending. Its connection is read on for a
	// moment before it is closed, because after a reset it would not get its
	// answer.
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 1 << 20
	// refuseTime bounds writing to a connection that is refused.
	refuseTime = 100 * time.Millisecond
)

// Reason is which limit a refused connection met.
type Reason uint8

// The reasons.
const (
	InAll      Reason = iota // as many are open as may be
	OneAddress               // as many of its address
)

// Listener is a [net.Listener] that bounds how many connections are open. It is safe for
// concurrent use.
type Listener struct {
	max, maxPerAddress int
	refuse             func(c net.Conn, tls bool, why Reason)

	mu         sync.Mutex
	ln         net.Listener
	tls        bool
	closed     bool
	open       map[*Conn]struct{}
	perAddress map[netip.Prefix]int
	empty      chan struct{} // closed by drained
	drained    sync.Once     // the listener is closed and no connection open
}

// New returns a listener that accepts at most maxConns connections, and of each address
// (IPv6: each /64) at most maxPerAddress; 0 is no limit for one address. For every
// connection beyond them it calls refuse, which may write an answer within a short
// deadline; its bool says that the peer expects TLS. The connection is closed after it.
func New(maxConns, maxPerAddress int, refuse func(net.Conn, bool, Reason)) *Listener {
	return &Listener{
		max: maxConns, maxPerAddress: maxPerAddress, refuse: refuse,
		open:       make(map[*Conn]struct{}),
		perAddress: make(map[netip.Prefix]int),
		empty:      make(chan struct{}),
	}
}

// Guard sets the listener whose connections are bounded; false when l is closed already.
// It is called before Accept.
func (l *Listener) Guard(ln net.Listener, tls bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ln, l.tls = ln, tls
	return !l.closed
}

// Accept returns the next connection that may come in. A lack of resources makes
// it wait, not fail.
func (l *Listener) Accept() (net.Conn, error) {
	wait := 5 * time.Millisecond
	for {
		c, err := l.ln.Accept()
		switch {
		case err == nil:
			if in := l.admit(c); in != nil {
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

// admit counts c in, or refuses it and returns nil.
func (l *Listener) admit(c net.Conn) net.Conn {
	in := &Conn{Conn: c, listener: l, from: address.Group(address.Of(c.RemoteAddr()))}
	l.mu.Lock()
	full := len(l.open) >= l.max
	greedy := l.maxPerAddress > 0 && l.perAddress[in.from] >= l.maxPerAddress
	if !full && !greedy {
		l.open[in] = struct{}{}
		l.perAddress[in.from]++
	}
	l.mu.Unlock()
	if !full && !greedy {
		return in
	}
	why := InAll
	if greedy {
		why = OneAddress
	}
	_ = c.SetDeadline(time.Now().Add(refuseTime))
	l.refuse(c, l.tls, why)
	_ = c.Close()
	return nil
}

func (l *Listener) release(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, c)
	if l.perAddress[c.from]--; l.perAddress[c.from] <= 0 {
		delete(l.perAddress, c.from)
	}
	l.noticeEmpty()
}

// noticeEmpty is called with mu held.
func (l *Listener) noticeEmpty() {
	if l.closed && len(l.open) == 0 {
		l.drained.Do(func() { close(l.empty) })
	}
}

// Close stops accepting. Connections that are open stay so.
func (l *Listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.noticeEmpty()
	if l.ln == nil {
		return nil
	}
	return l.ln.Close()
}

// Addr returns the listener's address.
func (l *Listener) Addr() net.Addr { return l.ln.Addr() }

// Wait waits until l is closed and no connection open, ctx is done or the
// time is over.
func (l *Listener) Wait(ctx context.Context, limit time.Duration) {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-l.empty:
	case <-t.C:
	case <-ctx.Done():
	}
}

// CloseAll closes every connection and returns how many there were.
func (l *Listener) CloseAll() int {
	conns := l.those(func(*Conn) bool { return true })
	for _, c := range conns {
		_ = c.Close()
	}
	return len(conns)
}

// CloseIdle closes every connection on which no request is under way: none whose headers
// are all there waits for its answer.
func (l *Listener) CloseIdle() {
	for _, c := range l.those(func(c *Conn) bool { return c.heads.Load() <= c.answers.Load() }) {
		_ = c.Close()
	}
}

// interruptEvery is between two looks for bodies that take too long.
const interruptEvery = 100 * time.Millisecond

// InterruptBodies interrupts, from grace on and until done, every connection on which the
// rest of a request is awaited.
func (l *Listener) InterruptBodies(grace time.Duration, done <-chan struct{}) {
	wait := time.NewTimer(grace)
	defer wait.Stop()
	for {
		select {
		case <-done:
			return
		case <-wait.C:
			for _, c := range l.those(func(c *Conn) bool { return c.heads.Load() > c.requests.Load() }) {
				c.Interrupt()
			}
			wait.Reset(interruptEvery)
		}
	}
}

// those returns the open connections for which is reports true.
func (l *Listener) those(is func(*Conn) bool) (found []*Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		if is(c) {
			found = append(found, c)
		}
	}
	return found
}

// Count returns how many connections are open.
func (l *Listener) Count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

// Conn is a connection that counts as open until it is closed.
type Conn struct {
	net.Conn
	listener     *Listener
	from         netip.Prefix
	lingers      atomic.Bool // see Linger
	closed       atomic.Bool
	readDeadline atomic.Int64 // see ReadDeadline

	// How many requests have come on it: with their headers, whole, and answered.
	heads, requests, answers atomic.Int64
}

// HeadRead counts a request whose headers are all there.
func (c *Conn) HeadRead() { c.heads.Add(1) }

// RequestRead counts a request that is all there.
func (c *Conn) RequestRead() { c.requests.Add(1) }

// Answered counts a request that is answered.
func (c *Conn) Answered() { c.answers.Add(1) }

// SetReadDeadline sets the deadline by which a request has to be there.
func (c *Conn) SetReadDeadline(t time.Time) error {
	nanos := int64(0)
	if !t.IsZero() {
		nanos = t.UnixNano()
	}
	c.readDeadline.Store(nanos)
	return c.Conn.SetReadDeadline(t)
}

// ReadDeadline returns the deadline of the request, in Unix nanoseconds; 0 for none. Those who
// set another one for a single Read, by SetReadDeadline of the Conn inside, don't change it.
func (c *Conn) ReadDeadline() int64 { return c.readDeadline.Load() }

// Interrupt makes every Read fail until another deadline is set.
func (c *Conn) Interrupt() { _ = c.Conn.SetReadDeadline(time.Unix(1, 0)) }

// Of returns the connection that is, or carries, c; nil for one that no [Listener] has
// accepted.
func Of(c net.Conn) *Conn {
	for {
		if in, ok := c.(*Conn); ok {
			return in
		}
		t, ok := c.(interface{ NetConn() net.Conn }) // TLS
		if !ok {
			return nil
		}
		c = t.NetConn()
	}
}

// Linger makes the connection that is, or carries, c read on for a moment what
// its sender is still sending when it is closed.
func Linger(c net.Conn) {
	if in := Of(c); in != nil {
		in.lingers.Store(true)
	}
}

// Close closes the connection, which no longer counts.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	defer c.listener.release(c)
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && c.lingers.Load() && half.CloseWrite() == nil {
		_ = c.SetReadDeadline(time.Now().Add(lingerTime))
		_, _ = io.CopyN(io.Discard, c.Conn, lingerBytes)
	}
	return c.Conn.Close()
}
