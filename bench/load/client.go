package load

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
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

// connection is one HTTP/1.1 connection of the lean client; fasthttp reads its answers.
// It is not safe for concurrent use.
type connection struct {
	conn    net.Conn
	in      *bufio.Reader
	answer  fasthttp.Response // valid until the next exchange
	timeout time.Duration
	moved   time.Time // when the deadline was
	used    time.Time // when the last request was sent
	unbind  func() bool
}

// dial opens a connection, which ends with ctx.
func dial(ctx context.Context, to *endpoint, timeout time.Duration) (*connection, error) {
	within, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(within, "tcp", to.address)
	if err != nil {
		return nil, err
	}
	if to.tls != nil {
		secure := tls.Client(conn, to.tls)
		if err := secure.HandshakeContext(within); err != nil {
			_ = conn.Close() // the first error says more
			return nil, err
		}
		conn = secure
	}
	return &connection{
		conn: conn, in: bufio.NewReaderSize(conn, maxHeaderBytes), timeout: timeout, used: time.Now(),
		unbind: context.AfterFunc(ctx, func() { _ = conn.Close() }),
	}, nil
}

func (c *connection) close() {
	c.unbind()
	_ = c.conn.Close() // everything that counts has been read
}

// exchange sends a request and reads its answer. After an error, and an answer that
// says so, the connection is of no more use.
func (c *connection) exchange(request []byte) error {
	c.used = time.Now()
	// Moving a deadline costs as much as signing, so it may be a quarter late.
	if c.used.Sub(c.moved) > c.timeout/4 {
		c.moved = c.used
		if err := c.conn.SetDeadline(c.used.Add(c.timeout + c.timeout/4)); err != nil {
			return err
		}
	}
	if _, err := c.conn.Write(request); err != nil {
		return err
	}
	if err := c.answer.ReadLimitBody(c.in, maxAnswerBytes); err != nil {
		return err
	}
	if more := c.in.Buffered(); more > 0 {
		return fmt.Errorf("%d bytes follow the answer", more)
	}
	return nil
}

// reasonOf maps the errors of net and fasthttp to one of those above.
func reasonOf(err error) error {
	_, smallBuffer := errors.AsType[*fasthttp.ErrSmallBuffer](err)
	_, isNet := errors.AsType[*net.OpError](err)
	switch {
	case errors.Is(err, fasthttp.ErrTimeout), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return errTimeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return errRefused
	case smallBuffer, errors.Is(err, fasthttp.ErrBodyTooLarge):
		return errTooLarge
	case isNet, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errLost
	default:
		return errNoHTTP
	}
}

// heading is what all requests to one endpoint have in common: what is before their
// query and what follows it.
type heading struct{ target, rest []byte }

// newHeading returns the heading for an endpoint, and the headers that every request has.
func newHeading(to *endpoint, headers []signature.Header) heading {
	rest := []byte(" HTTP/1.1\r\nhost: " + to.host + "\r\n")
	for _, h := range headers {
		rest = appendHeader(rest, h)
	}
	return heading{target: []byte("POST " + to.target), rest: rest}
}

func appendHeader(dst []byte, h signature.Header) []byte {
	dst = append(dst, h.Name...)
	dst = append(dst, ": "...)
	dst = append(dst, h.Value...)
	return append(dst, "\r\n"...)
}

// appendRequest appends a signed request to dst as HTTP/1.1 has it.
func (h *heading) appendRequest(dst []byte, signed signature.Signed) []byte {
	dst = append(dst, h.target...)
	if signed.Query != "" {
		dst = append(dst, querySeparator(h.target)...)
		dst = append(dst, signed.Query...)
	}
	dst = append(dst, h.rest...)
	for _, header := range signed.Headers {
		dst = appendHeader(dst, header)
	}
	dst = append(dst, "content-length: "...)
	dst = strconv.AppendInt(dst, int64(len(signed.Body)), 10)
	dst = append(dst, "\r\n\r\n"...)
	return append(dst, signed.Body...)
}

// querySeparator returns what is between a target and more of its query.
func querySeparator(target []byte) string {
	if bytes.IndexByte(target, '?') >= 0 {
		return "&"
	}
	return "?"
}
