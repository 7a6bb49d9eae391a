package load

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/fincart/courier-gateway/ingest/signature"
)

// Why a request has no answer that counts. The texts are few and hold no addresses,
// so that they can be counted.
var (
	errTimeout  = errors.New("no answer in time")
	errRefused  = errors.New("connection refused")
	errLost     = errors.New("connection lost") // closed or reset, which depends on what was unread
	errNoHTTP   = errors.New("the answer is not HTTP")
	errTooLarge = errors.New("the answer is too large")
	errTooLate  = errors.New("not sent in time: all connections were busy")
)

// Bounds of a connection.
const (
	maxAnswerBytes = 64 << 10 // an intake's is a hundredth of that
	maxHeaderBytes = 4 << 10
	maxIdle        = 5 * time.Second // after it the peer may be about to close the connection
)

// client sends requests by fasthttp on a fixed number of connections to one endpoint.
// It never sends a request twice. It is safe for concurrent use.
type client struct {
	to      *endpoint
	timeout time.Duration
	http    *fasthttp.HostClient
}

// newClient opens every connection, so that the load does not begin with that. They
// end with ctx.
func newClient(ctx context.Context, to *endpoint, connections int, timeout time.Duration) (*client, error) {
	c := &client{to: to, timeout: timeout}
	opened := make(chan net.Conn, connections)
	for range connections {
		conn, err := c.dial(ctx)
		if err != nil {
			close(opened)
			for conn := range opened {
				_ = conn.Close() // nothing was sent on it
			}
			return nil, err
		}
		opened <- conn
	}
	c.http = &fasthttp.HostClient{
		Addr: to.address, MaxConns: connections, MaxIdleConnDuration: maxIdle,
		MaxIdemponentCallAttempts: 1, // each request is counted, so none is repeated
		MaxResponseBodySize:       maxAnswerBytes, ReadBufferSize: maxHeaderBytes,
		NoDefaultUserAgentHeader: true, DisableHeaderNamesNormalizing: true, DisablePathNormalizing: true,
		Dial: func(string) (net.Conn, error) {
			select {
			case conn := <-opened:
				return conn, nil
			default:
				return c.dial(ctx)
			}
		},
	}
	return c, nil
}

// dialError is the failure of a connection attempt: nothing was sent.
type dialError struct{ error }

func (e dialError) Unwrap() error { return e.error }

// dial opens a connection.
func (c *client) dial(ctx context.Context) (net.Conn, error) {
	within, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(within, "tcp", c.to.address)
	if err != nil {
		return nil, dialError{err}
	}
	if c.to.tls != nil {
		secure := tls.Client(conn, c.to.tls)
		if err := secure.HandshakeContext(within); err != nil {
			_ = conn.Close() // the first error says more
			return nil, dialError{err}
		}
		conn = secure
	}
	unbind := context.AfterFunc(ctx, func() { _ = conn.Close() })
	return &connection{Conn: conn, timeout: c.timeout, unbind: unbind}, nil
}

// connection bounds each exchange in time. Moving a deadline costs as much as signing,
// so it may be a quarter late.
type connection struct {
	net.Conn
	timeout time.Duration
	moved   time.Time // when the deadline was
	unbind  func() bool
}

func (c *connection) Write(b []byte) (int, error) {
	if now := time.Now(); now.Sub(c.moved) > c.timeout/4 {
		c.moved = now
		if err := c.SetDeadline(now.Add(c.timeout + c.timeout/4)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(b)
}

// SetReadDeadline does nothing: fasthttp would clear the deadline of a new connection.
func (*connection) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing either.
func (*connection) SetWriteDeadline(time.Time) error { return nil }

func (c *connection) Close() error {
	c.unbind()
	return c.Conn.Close()
}

// exchange is a request with its answer; its memory is used again for the next one.
type exchange struct {
	to      *endpoint
	header  fasthttp.RequestHeader // what all requests have
	query   string                 // of the request, as far as its signature adds one
	request fasthttp.Request
	answer  fasthttp.Response
}

// newExchange returns an exchange for requests with these headers.
func newExchange(to *endpoint, headers []signature.Header) *exchange {
	e := &exchange{to: to}
	e.setURL(to.request)
	e.header.DisableNormalizing()
	e.header.SetMethod(fasthttp.MethodPost)
	for _, h := range headers {
		e.header.Add(h.Name, h.Value)
	}
	return e
}

// setURL sets the address, which is parsed here: the header, where it is until then, is
// copied over.
func (e *exchange) setURL(url string) {
	e.request.SetRequestURI(url)
	e.request.URI()
}

// set makes the request a signed one.
func (e *exchange) set(signed signature.Signed) {
	e.header.CopyTo(&e.request.Header)
	if signed.Query != e.query {
		e.query = signed.Query
		e.setURL(e.to.request + querySeparator(e.to.request) + e.query)
	}
	for _, h := range signed.Headers {
		e.request.Header.Add(h.Name, h.Value)
	}
	e.request.SetBodyRaw(signed.Body)
}

// do sends the request and reads its answer. Its error is one of the few above;
// unsent says that nothing of the request was sent.
func (c *client) do(e *exchange) (unsent bool, err error) {
	err = c.http.Do(&e.request, &e.answer)
	_, unsent = errors.AsType[dialError](err)
	return unsent, reasonOf(err)
}

// reasonOf maps the errors of net and fasthttp to one of ours.
func reasonOf(err error) error {
	if err == nil {
		return nil
	}
	netErr, isNet := errors.AsType[net.Error](err)
	_, smallBuffer := errors.AsType[*fasthttp.ErrSmallBuffer](err)
	_, dial := errors.AsType[dialError](err)
	_, isOp := errors.AsType[*net.OpError](err)
	switch {
	case errors.Is(err, fasthttp.ErrTimeout), isNet && netErr.Timeout():
		return errTimeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return errRefused
	case smallBuffer, errors.Is(err, fasthttp.ErrBodyTooLarge):
		return errTooLarge
	case dial, isOp, errors.Is(err, fasthttp.ErrConnectionClosed), errors.Is(err, io.EOF),
		errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return errLost
	default:
		return errNoHTTP
	}
}
