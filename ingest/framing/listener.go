package framing

import (
	"crypto/tls"
	"net"
)

// Listener checks the framing of all that comes on its connections.
type Listener struct {
	net.Listener
	// Progress returns what is called as the requests of a connection are read. It may be
	// nil, and may return nil, for no calls.
	Progress func(net.Conn) Progress
}

// Accept returns the next connection.
func (l Listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	var f framing
	if l.Progress != nil {
		f.progress = l.Progress(c)
	}
	if t, ok := c.(*tls.Conn); ok {
		return &tlsConn{Conn: t, framing: f}, nil
	}
	return &conn{Conn: c, framing: f}, nil
}

// conn is a connection whose framing is checked.
type conn struct {
	net.Conn
	framing framing
}

// Read reads what is to be passed on.
func (c *conn) Read(p []byte) (int, error) { return c.framing.read(c.Conn, p) }

// NetConn returns the connection below.
func (c *conn) NetConn() net.Conn { return c.Conn }

// tlsConn is a conn whose TLS fasthttp can see.
type tlsConn struct {
	*tls.Conn
	framing framing
}

// Read reads what is to be passed on.
func (c *tlsConn) Read(p []byte) (int, error) { return c.framing.read(c.Conn, p) }

func (f *framing) read(from net.Conn, p []byte) (int, error) {
	for f.fault == nil {
		n, err := from.Read(p)
		if n = f.pass(p[:n]); n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
	}
	return 0, f.fault
}

// FaultOf returns what is wrong with the framing of a connection, nil for nothing.
// fasthttp hides it when it comes in the middle of a body.
func FaultOf(c net.Conn) error {
	var f *Fault
	switch c := c.(type) {
	case *conn:
		f = c.framing.fault
	case *tlsConn:
		f = c.framing.fault
	}
	if f == nil {
		return nil
	}
	return f
}
