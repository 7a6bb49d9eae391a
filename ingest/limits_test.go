package ingest

import (
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/fincart/courier-gateway/ingest/event"
)

func TestBodyLimit(t *testing.T) {
	t.Parallel()
	f := start(t, func(c *Config) { c.MaxBodyBytes = 1000 })
	fill := func(n int) string {
		return strings.Replace(goodBody, "}}", `,"x":"`+strings.Repeat("x", n-len(goodBody)-len(`,"x":""`))+`"}}`, 1)
	}
	if a := send(t, f.request(f.demo, "/v1/events/courier", fill(1000))); a.StatusCode != 202 {
		t.Errorf("a body at the limit is answered %d %s", a.StatusCode, a.body)
	}
	r := f.request(f.demo, "/v1/events/courier", fill(1001))
	r.Header.Set("X-Request-Id", "trace-1")
	a := send(t, r)
	expectProblem(t, a, 413, event.PayloadTooLarge, "1000 bytes")
	if a.document(t).TraceID != "trace-1" {
		t.Errorf("the trace id is lost: %s", a.body)
	}
}

// TestRefusedWhileStillSending shows that the answer reaches a sender who writes
// its whole body before it reads.
func TestRefusedWhileStillSending(t *testing.T) {
	t.Parallel()
	f := start(t, func(c *Config) { c.MaxBodyBytes = 1000 })
	c := f.dial(t)
	if err := c.Conn.(*net.TCPConn).SetWriteBuffer(8 << 10); err != nil { // so that writing waits for reading
		t.Fatal(err)
	}
	c.send(t, f.raw(f.demo, "/v1/events/courier", strings.Repeat("x", 1<<20*3/4)))
	expectProblem(t, c.answer(t), 413, event.PayloadTooLarge, "")
	c.expectClosed(t)
}

func TestChunkedBodies(t *testing.T) {
	t.Parallel()
	f := start(t, func(c *Config) { c.MaxBodyBytes = 1000 })
	chunked := func(body string) *wireConn {
		c := f.dial(t)
		head, _, _ := strings.Cut(f.raw(f.demo, "/v1/events/courier", body), "\r\n\r\n")
		head = strings.Replace(head, fmt.Sprintf("Content-Length: %d", len(body)), "Transfer-Encoding: chunked", 1)
		c.send(t, head, "\r\n\r\n")
		for len(body) > 0 {
			n := min(100, len(body))
			c.send(t, fmt.Sprintf("%x\r\n%s\r\n", n, body[:n]))
			body = body[n:]
		}
		c.send(t, "0\r\n\r\n")
		return c
	}
	if a := chunked(goodBody).answer(t); a.StatusCode != 202 {
		t.Errorf("got %d %s", a.StatusCode, a.body)
	}
	expectProblem(t, chunked(strings.Repeat("x", 1100)).answer(t), 413, event.PayloadTooLarge, "")
}

func TestExpectContinue(t *testing.T) {
	t.Parallel()
	f := start(t, func(c *Config) { c.MaxBodyBytes = 1000 })
	head, body, _ := strings.Cut(f.raw(f.demo, "/v1/events/courier", goodBody, "Expect: 100-continue"), "\r\n\r\n")
	c := f.dial(t)
	c.send(t, head, "\r\n\r\n")
	if a := c.answer(t); a.StatusCode != 100 {
		t.Fatalf("got %d, want 100", a.StatusCode)
	}
	c.send(t, body)
	if a := c.answer(t); a.StatusCode != 202 {
		t.Errorf("got %d %s", a.StatusCode, a.body)
	}
	head, _, _ = strings.Cut(f.raw(f.demo, "/v1/events/courier", strings.Repeat("x", 2000), "Expect: 100-continue"), "\r\n\r\n")
	c = f.dial(t)
	c.send(t, head, "\r\n\r\n") // it need not send the body to be answered
	expectProblem(t, c.answer(t), 413, event.PayloadTooLarge, "1000 bytes")
	c.expectClosed(t)
}

func TestLargeBuffersAreNotKept(t *testing.T) {
	t.Parallel()
	f := prepare(t, nil)
	for _, n := range []int{1000, keepBodyBytes, keepBodyBytes + 10_000} {
		var ctx fasthttp.RequestCtx
		f.process(&ctx, []byte(f.raw(f.demo, "/v1/events/courier", strings.Repeat("x", n))))
		if kept := cap(ctx.Request.Body()); kept > keepBodyBytes || n == 1000 && kept < n {
			t.Errorf("after a body of %d bytes a buffer of %d is kept", n, kept)
		}
	}
}

func TestHeaderLimit(t *testing.T) {
	t.Parallel()
	f := start(t, func(c *Config) { c.MaxHeaderBytes = 2048 })
	c := f.dial(t)
	c.send(t, f.raw(f.demo, "/v1/events/courier", goodBody, "X-Padding: "+strings.Repeat("x", 1000)))
	if a := c.answer(t); a.StatusCode != 202 {
		t.Errorf("headers below the limit are answered %d %s", a.StatusCode, a.body)
	}
	for _, header := range []string{"X-Padding: " + strings.Repeat("x", 3000), strings.Repeat("X: y\r\n", 500) + "X: y"} {
		c := f.dial(t)
		c.send(t, f.raw(f.demo, "/v1/events/courier", goodBody, header))
		expectProblem(t, c.answer(t), 431, event.BadRequest, "2048 bytes")
		c.expectClosed(t)
	}
}

func TestMalformedHTTP(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	for name, raw := range map[string]string{
		"no HTTP at all":         "hello\r\n\r\n",
		"TLS on a plain port":    "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
		"no host":                "GET /health HTTP/1.1\r\n\r\n",
		"two lengths":            "POST /v1/events/courier HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
		"negative length":        "POST /v1/events/courier HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
		"broken chunk":           "POST /v1/events/courier HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"space before the colon": "GET /health HTTP/1.1\r\nHost: x\r\nX-Y : z\r\n\r\n",
	} {
		c := f.dial(t)
		c.send(t, raw)
		a := c.answer(t)
		expectProblem(t, a, 400, event.BadRequest, "HTTP")
		if !a.Close {
			t.Errorf("%s: the answer does not announce the end of the connection", name)
		}
		c.expectClosed(t)
	}
	if a := send(t, f.request(f.demo, "/v1/events/courier", goodBody)); a.StatusCode != 202 {
		t.Errorf("afterwards a good request gets %d", a.StatusCode)
	}
}

func TestSlowSendersAreCutOff(t *testing.T) {
	t.Parallel()
	f := start(t, func(c *Config) { c.ReadTimeout = 50 * time.Millisecond })
	whole := f.raw(f.demo, "/v1/events/courier", goodBody)
	for name, part := range map[string]string{
		"request line": whole[:10], "headers": whole[:strings.Index(whole, "X-Sig")+1+100], "body": whole[:len(whole)-1],
	} {
		c := f.dial(t)
		c.send(t, part)
		a := c.answer(t)
		expectProblem(t, a, 408, event.BadRequest, "50ms")
		c.expectClosed(t)
		if t.Failed() {
			t.Fatalf("cut in the %s", name)
		}
	}
	if n := len(f.publisher.all()); n != 0 {
		t.Errorf("%d events kept", n)
	}
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	f := start(t, func(c *Config) { c.IdleTimeout = 50 * time.Millisecond })
	c := f.dial(t)
	c.send(t, f.raw(f.demo, "/v1/events/courier", goodBody))
	if a := c.answer(t); a.StatusCode != 202 || a.Close {
		t.Errorf("got %d, close %v", a.StatusCode, a.Close)
	}
	c.expectClosed(t)
}

func TestPipelining(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	c := f.dial(t)
	var all []string
	for i := range 10 {
		body := bodyWithKey(fmt.Sprint("key-", i))
		if i == 5 {
			body = "{}"
		}
		all = append(all, f.raw(f.demo, "/v1/events/courier", body, fmt.Sprint("X-Request-Id: trace-", i)))
	}
	c.send(t, all...)
	for i := range 10 {
		a := c.answer(t)
		d := a.document(t)
		want := 202
		if i == 5 {
			want = 400
		}
		if a.StatusCode != want || d.TraceID != fmt.Sprint("trace-", i) || want == 202 && d.IdempotencyKey != fmt.Sprint("key-", i) {
			t.Errorf("answer %d is %d %s", i, a.StatusCode, a.body)
		}
	}
	for i, e := range f.publisher.all() { // nothing of one request shows up in another
		if want := string(e.Body); !strings.Contains(want, e.Key) || !f.deps.Stamper.Verify(&e) {
			t.Errorf("event %d has key %s and body %s", i, e.Key, e.Body)
		}
	}
}

const healthRequest = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"

// letIn opens a connection and fails unless it is served.
func (f *fixture) letIn(t *testing.T, ip string) *wireConn {
	t.Helper()
	c := f.dialFrom(t, ip)
	c.send(t, healthRequest)
	if a := c.answer(t); a.StatusCode != 200 {
		t.Fatalf("a connection from %s is answered %d %s", ip, a.StatusCode, a.body)
	}
	return c
}

// refused opens a connection and fails unless it is refused.
func (f *fixture) refused(t *testing.T, ip string, status int, code event.Code) {
	t.Helper()
	c := f.dialFrom(t, ip)
	expectProblem(t, c.answer(t), status, code, "come again")
	c.expectClosed(t)
}

func TestConnectionLimit(t *testing.T) {
	t.Parallel()
	f := start(t, func(c *Config) { c.MaxConns, c.MaxConnsPerIP = 3, 0 })
	one := f.letIn(t, "127.0.0.1")
	f.letIn(t, "127.0.0.1")
	f.letIn(t, "127.0.0.2")
	f.refused(t, "127.0.0.1", 503, event.IntakeUnavailable)
	f.refused(t, "127.0.0.2", 503, event.IntakeUnavailable)
	if got, _ := f.metric(t, "connections"); got != 3 {
		t.Errorf("%v connections counted, want 3", got)
	}
	if got, _ := f.metric(t, "connections_refused_total code=INTAKE_UNAVAILABLE"); got != 2 {
		t.Errorf("%v refused connections counted, want 2", got)
	}
	one.Close()
	waitFor(t, "the connection to be given back", func() bool { return f.conns.Count() == 2 })
	f.letIn(t, "127.0.0.1")
}

func TestConnectionLimitPerAddress(t *testing.T) {
	t.Parallel()
	f := start(t, func(c *Config) { c.MaxConnsPerIP = 2 })
	one := f.letIn(t, "127.0.0.1")
	f.letIn(t, "127.0.0.1")
	f.refused(t, "127.0.0.1", 429, event.RateLimited)
	f.letIn(t, "127.0.0.2")
	one.Close()
	waitFor(t, "the connection to be given back", func() bool { return f.conns.Count() == 2 })
	f.letIn(t, "127.0.0.1")
	f.refused(t, "127.0.0.1", 429, event.RateLimited)
}

// scarceListener lacks file descriptors a few times.
type scarceListener struct {
	net.Listener
	failures int
}

func (l *scarceListener) Accept() (net.Conn, error) {
	if l.failures--; l.failures >= 0 {
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return l.Listener.Accept()
}

func TestScarceDescriptorsDoNotEndTheIntake(t *testing.T) {
	t.Parallel()
	f := prepare(t, nil)
	ln, err := f.Listen()
	if err != nil {
		t.Fatal(err)
	}
	f.addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- f.Serve(&scarceListener{Listener: ln, failures: 3}) }()
	if a := send(t, f.request(f.demo, "/v1/events/courier", goodBody)); a.StatusCode != 202 {
		t.Errorf("got %d", a.StatusCode)
	}
	if err := f.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
