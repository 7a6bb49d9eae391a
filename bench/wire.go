package bench

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"syscall"
	"time"
)

// Why a request has no answer that counts. The texts are few and tell no
// addresses, so that they can be counted.
var (
	errTimeout  = errors.New("no answer in time")
	errRefused  = errors.New("connection refused")
	errLost     = errors.New("connection lost")
	errNoHTTP   = errors.New("the answer is not HTTP/1.1 with a length")
	errTooLarge = errors.New("the answer is too large")
	errTooLate  = errors.New("not sent in time: all connections were busy")
)

// maxReply bounds an answer with its headers, in bytes. An intake's is a tenth
// of that.
const maxReply = 64 << 10

// wire is one HTTP/1.1 connection of the lean client. It knows just enough of
// the protocol to read the answers of an intake, and refuses what it does not
// know: a body without a length, more bytes than the length says. It is not safe
// for concurrent use.
type wire struct {
	conn    net.Conn
	raw     *raw // the short cut of a plain connection, nil where there is none
	in      []byte
	timeout time.Duration
	renewed time.Time // when the deadline was last moved
	used    time.Time // when the last request was sent
}

// reply is an answer. Its body is valid until the next exchange.
type reply struct {
	status int
	body   []byte
	size   int  // with its headers, in bytes
	last   bool // the peer closes the connection after it
}

// dialer opens connections to one endpoint.
type dialer struct {
	address string      // IP and port
	tls     *tls.Config // nil for plain HTTP
	timeout time.Duration
}

func (d *dialer) dial(ctx context.Context) (*wire, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	var nd net.Dialer
	conn, err := nd.DialContext(ctx, "tcp", d.address)
	if err != nil {
		return nil, wireError(err)
	}
	if d.tls != nil {
		secure := tls.Client(conn, d.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		conn = secure
	}
	return &wire{conn: conn, raw: newRaw(conn), in: make([]byte, 0, 4<<10), timeout: d.timeout, used: time.Now()}, nil
}

// exchange sends a request and reads its answer. After an error the connection
// is of no more use.
func (w *wire) exchange(request []byte) (reply, error) {
	w.used = time.Now()
	// Moving a deadline costs as much as signing, so it may be a quarter late.
	if w.used.Sub(w.renewed) > w.timeout/4 {
		w.renewed = w.used
		if err := w.conn.SetDeadline(w.used.Add(w.timeout + w.timeout/4)); err != nil {
			return reply{}, wireError(err)
		}
	}
	n, err := w.begin(request, w.in[:cap(w.in)])
	for w.in = w.in[:n]; ; w.in = w.in[:len(w.in)+n] {
		if r, complete, bad := parseReply(w.in); complete || bad != nil {
			return r, bad
		}
		if err != nil {
			return reply{}, wireError(err)
		}
		if len(w.in) == cap(w.in) {
			if cap(w.in) >= maxReply {
				return reply{}, errTooLarge
			}
			w.in = append(make([]byte, 0, 2*cap(w.in)), w.in...)
		}
		n, err = w.conn.Read(w.in[len(w.in):cap(w.in)])
	}
}

// begin sends a request and reads the first bytes of the answer.
func (w *wire) begin(request, in []byte) (n int, err error) {
	if w.raw != nil {
		return w.raw.exchange(request, in)
	}
	if _, err := w.conn.Write(request); err != nil {
		return 0, err
	}
	return w.conn.Read(in)
}

// wireError maps what the network says to one of our few reasons.
func wireError(err error) error {
	var ne net.Error
	switch {
	case errors.As(err, &ne) && ne.Timeout():
		return errTimeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return errRefused
	default: // reset, closed, end of file; the rest would tell addresses
		return errLost
	}
}

var (
	endOfHead     = []byte("\r\n\r\n")
	contentLength = []byte("content-length")
	transfer      = []byte("transfer-encoding")
	connection    = []byte("connection")
)

// parseReply reads one answer from b, which begins where it does. It is complete
// when all of it is there, and bad when it never will be.
func parseReply(b []byte) (r reply, complete bool, bad error) {
	end := bytes.Index(b, endOfHead)
	if end < 0 {
		return r, false, nil
	}
	line, head, _ := bytes.Cut(b[:end+2], endOfHead[:2])
	if r.status = statusOf(line); r.status < 200 || bytes.IndexByte(line, '\n') >= 0 {
		return r, false, errNoHTTP
	}
	length, err := r.readHead(head)
	if err != nil {
		return r, false, err
	}
	if r.status == 204 || r.status == 304 {
		length = 0
	}
	r.size = end + len(endOfHead) + length
	switch {
	case length < 0 || len(b) > r.size:
		return r, false, errNoHTTP
	case r.size > maxReply:
		return r, false, errTooLarge
	case len(b) < r.size:
		return r, false, nil
	}
	r.body = b[end+len(endOfHead):]
	return r, true, nil
}

// statusOf returns the status in "HTTP/1.1 202 Accepted", 0 when there is none.
func statusOf(line []byte) int {
	const version = "HTTP/1.1 "
	if len(line) < len(version)+3 || string(line[:len(version)]) != version {
		return 0
	}
	status, digits := number(line[len(version):])
	if digits != 3 || status < 100 || status > 599 {
		return 0
	}
	return status
}

// readHead takes what matters from the header lines, each of which ends in a
// line break, and returns the body's length, -1 for none.
func (r *reply) readHead(head []byte) (length int, err error) {
	length = -1
	for len(head) > 0 {
		var line []byte
		line, head, _ = bytes.Cut(head, endOfHead[:2])
		name, value, ok := bytes.Cut(line, endOfName)
		if !ok || bytes.IndexByte(line, '\n') >= 0 {
			return 0, errNoHTTP
		}
		value = bytes.TrimSpace(value)
		switch {
		case len(name) == len(contentLength) && bytes.EqualFold(name, contentLength):
			n, digits := number(value)
			if length >= 0 || digits == 0 || digits > 9 || digits < len(value) {
				return 0, errNoHTTP
			}
			length = n
		case len(name) == len(transfer) && bytes.EqualFold(name, transfer):
			return 0, errNoHTTP
		case len(name) == len(connection) && bytes.EqualFold(name, connection):
			r.last = bytes.EqualFold(value, []byte("close"))
		}
	}
	return length, nil
}

var endOfName = []byte(":")

// number reads the decimal digits at the start of b and says how many there are.
// More than nine are not to be relied on.
func number(b []byte) (n, digits int) {
	for digits < len(b) && b[digits]-'0' <= 9 {
		n = n*10 + int(b[digits]-'0')
		digits++
	}
	return n, digits
}
