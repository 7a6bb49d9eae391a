package sdktest

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fincart/courier-gateway/appliance/config/sendertest"
	"github.com/fincart/courier-gateway/ingest"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/stamp"
	"github.com/fincart/courier-gateway/ingest/signature"
	"github.com/fincart/courier-gateway/ingest/signature/jwks"
)

// patience bounds every wait; it is only used up by a failure.
const patience = 10 * time.Second

// request is what is written on a connection, so that it can be wrong in any way.
type request struct {
	target  string
	headers []signature.Header
	body    []byte
	media   string // of the body; application/json by default
	framing string // in place of Content-Length, and behind the body what is in trailer
	trailer string
}

func (r *request) bytes() []byte {
	var b bytes.Buffer
	framing := r.framing
	if framing == "" {
		framing = fmt.Sprintf("Content-Length: %d", len(r.body))
	}
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: gateway.example\r\nContent-Type: %s\r\n%s\r\n", r.target, cmp.Or(r.media, "application/json"), framing)
	for _, h := range r.headers {
		fmt.Fprintf(&b, "%s:%s\r\n", h.Name, h.Value)
	}
	b.WriteString("\r\n")
	if r.framing != "" {
		fmt.Fprintf(&b, "%x\r\n%s\r\n0\r\n%s\r\n", len(r.body), r.body, r.trailer)
	} else {
		b.Write(r.body)
	}
	return b.Bytes()
}

// clone returns a copy that can be changed.
func (r *request) clone() request {
	c := *r
	c.headers = append([]signature.Header(nil), r.headers...)
	c.body = bytes.Clone(r.body)
	return c
}

// with returns a copy with other values of a header in place of its first, none to remove it.
func (r *request) with(name string, values ...string) request {
	c := *r
	c.headers = nil
	done := false
	for _, h := range r.headers {
		if !strings.EqualFold(h.Name, name) {
			c.headers = append(c.headers, h)
		} else if !done {
			c.add(name, values...)
			done = true
		}
	}
	if !done {
		c.add(name, values...)
	}
	return c
}

func (r *request) add(name string, values ...string) {
	for _, v := range values {
		r.headers = append(r.headers, signature.Header{Name: name, Value: " " + v})
	}
}

// get returns the value of a header.
func (r *request) get(name string) string {
	for _, h := range r.headers {
		if strings.EqualFold(h.Name, name) {
			return strings.TrimSpace(h.Value)
		}
	}
	return ""
}

// queue is a Publisher that keeps the last event.
type queue struct {
	mu   sync.Mutex
	last *event.Envelope
}

func (q *queue) Publish(_ context.Context, e *event.Envelope) (event.Receipt, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.last = &event.Envelope{EventID: strings.Clone(e.EventID), Key: strings.Clone(e.Key), Body: bytes.Clone(e.Body)}
	return event.Receipt{Sequence: 1}, nil
}

// take returns the event that was published since the last call, nil for none.
func (q *queue) take() *event.Envelope {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.last
	q.last = nil
	return e
}

// intake is the couriers' listener, with a courier for each sender, and a connection to it.
type intake struct {
	addr string
	queue
	conn net.Conn
	in   *bufio.Reader
}

// start starts an intake with the presets as an operator would set them up.
func start(t *testing.T, all []sender) *intake {
	t.Helper()
	document := ""
	for i, s := range all {
		if strings.Contains(document, "[couriers."+s.preset+"]") {
			continue
		}
		t.Setenv(fmt.Sprintf("SDK_SECRET_%d", i), s.secret)
		document += fmt.Sprintf("[couriers.%s]\npreset = %q\nsecrets = [\"env:SDK_SECRET_%d\"]\n", s.preset, s.preset, i)
	}
	l := sendertest.Load(t, document)
	schemes, err := l.Schemes(jwks.At)
	if err != nil {
		t.Fatal(err)
	}
	couriers, err := l.IntakeCouriers(schemes)
	if err != nil {
		t.Fatal(err)
	}
	stamper, err := stamp.New([]byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	c := ingest.DefaultConfig()
	c.Listen = "127.0.0.1:0"
	n := &intake{}
	server, err := ingest.New(c, ingest.Deps{
		Publisher: n, Couriers: couriers, Stamper: stamper, Registerer: prometheus.NewRegistry(), Now: time.Now,
		Health: func() (int, []byte) { return 200, nil }, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := server.Listen()
	if err != nil {
		t.Fatal(err)
	}
	n.addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	t.Cleanup(func() {
		n.hangUp()
		ctx, cancel := context.WithTimeout(context.Background(), 0)
		defer cancel()
		_ = server.Shutdown(ctx)
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return n
}

func (n *intake) hangUp() {
	if n.conn != nil {
		n.conn.Close()
		n.conn = nil
	}
}

// send sends a request. Verified means that the signature was accepted, whatever came of
// the body; published is what reached the queue, nil for an event that is ignored.
func (n *intake) send(t *testing.T, raw []byte) (verified bool, published *event.Envelope, answer string) {
	t.Helper()
	if n.conn == nil {
		conn, err := net.Dial("tcp", n.addr)
		if err != nil {
			t.Fatal(err)
		}
		n.conn, n.in = conn, bufio.NewReader(conn)
	}
	if err := n.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := n.conn.Write(raw); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(n.in, nil)
	if err != nil {
		t.Fatalf("no answer to %q: %v", raw, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.Close {
		n.hangUp()
	}
	var problem struct{ ErrorCode, Detail string }
	_ = json.Unmarshal(text, &problem) // an answer of success may be empty
	published = n.take()
	verified = res.StatusCode < 300 || problem.ErrorCode == string(event.InvalidPayload) && problem.Detail == "the body is no valid event"
	if published != nil && res.StatusCode >= 300 {
		t.Fatalf("answered %d, and published %+v", res.StatusCode, published)
	}
	return verified, published, fmt.Sprintf("%d %s", res.StatusCode, text)
}
