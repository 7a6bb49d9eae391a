package ingest

import (
	"bytes"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/body"
	"github.com/fincart/courier-gateway/ingest/event"
)

// longBody returns a good body of so many bytes.
func longBody(n int) string {
	const more = `,"more":""}}`
	return strings.Replace(goodBody, "}}", `,"more":"`+strings.Repeat("x", n-len(goodBody)-len(more)+2)+`"}}`, 1)
}

// inFlight waits until so many requests are in the handler.
func (f *fixture) inFlight(t *testing.T, n int) {
	t.Helper()
	waitFor(t, fmt.Sprint(n, " requests in flight"), func() bool {
		got, _ := f.metric(t, "requests_in_flight")
		return got == float64(n)
	})
}

// TestDeclaredBodiesTakeNoMemory: what a sender says that it will send costs
// nothing until it does. It is not parallel, because it looks at the heap.
func TestDeclaredBodiesTakeNoMemory(t *testing.T) {
	f := start(t, nil)
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	const senders, sent = 100, body.PrefetchedBytes + 1000
	before := heap()
	head, body, _ := strings.Cut(f.raw(f.demo, "/v1/events/courier", longBody(f.config.MaxBodyBytes)), "\r\n\r\n")
	for range senders {
		f.dial(t).send(t, head, "\r\n\r\n", body[:sent])
	}
	f.inFlight(t, senders)
	if each := (heap() - before) / senders; each > 128<<10 {
		t.Errorf("each sender of %d bytes takes %d KiB", sent, each>>10)
	}
}

// TestLongBodies takes in what fasthttp does not wait for, on one connection.
func TestLongBodies(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	c := f.dial(t)
	for i, n := range []int{body.PrefetchedBytes - 1, body.PrefetchedBytes, body.PrefetchedBytes + 1, (16 << 10), 2*(16<<10) + 1, keepBodyBytes + 1, f.config.MaxBodyBytes, 500} {
		body := strings.ReplaceAll(longBody(n), "courier-x:evt_123", fmt.Sprintf("courier-x:evt_%03d", i))
		if len(body) != n {
			t.Fatalf("the body has %d bytes, want %d", len(body), n)
		}
		c.send(t, f.raw(f.demo, "/v1/events/courier", body))
		if a := c.answer(t); a.StatusCode != 202 || a.Close {
			t.Fatalf("%d bytes are answered %d %s", n, a.StatusCode, a.body)
		}
		if e := f.publisher.all()[i]; string(e.Body) != body || !f.deps.Stamper.Verify(&e) {
			t.Errorf("of %d bytes %d are kept", n, len(e.Body))
		}
	}
}

// TestBodiesThatDoNotCome gives up requests in the middle of a body, and records
// whose they were.
func TestBodiesThatDoNotCome(t *testing.T) {
	t.Parallel()
	f := start(t, func(c *Config) { quiet(c); c.ReadTimeout = 200 * time.Millisecond })
	body := longBody(100_000)
	whole := f.raw(f.demo, "/v1/events/courier/demo", body)
	part := whole[:len(whole)-50_000]
	slow := f.dial(t)
	slow.send(t, part)
	expectProblem(t, slow.answer(t), 408, event.BadRequest, "200ms")
	slow.expectClosed(t)

	short := f.dial(t)
	short.send(t, part)
	if err := short.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	expectProblem(t, short.answer(t), 400, event.BadRequest, "ends early")
	short.expectClosed(t)

	chunk := f.dial(t)
	head := strings.Replace(whole[:strings.Index(whole, "\r\n\r\n")], fmt.Sprintf("Content-Length: %d", len(body)), "Transfer-Encoding: chunked", 1)
	chunk.send(t, head, "\r\n\r\n10\r\n0123456789abcdef\r\nzz\r\n")
	expectProblem(t, chunk.answer(t), 400, event.BadRequest, "HTTP")
	chunk.expectClosed(t)

	if n := len(f.publisher.all()); n != 0 {
		t.Errorf("%d events kept", n)
	}
	records := f.caught.all()
	if len(records) != 3 {
		t.Fatalf("%d requests are on record", len(records))
	}
	for _, r := range records {
		if r.Courier != "demo" || r.Code != event.BadRequest || r.Request.Whole() {
			t.Errorf("recorded is %+v, %d of %d bytes", r, len(r.Request.Body), r.Request.BodyBytes)
		}
	}
}

// TestLongBodiesOfRefusedRequests: who writes all of a long body before it reads gets
// its answer, whether the body is wanted or not, and the record has a part of it.
func TestLongBodiesOfRefusedRequests(t *testing.T) {
	t.Parallel()
	f := start(t, quiet)
	f.set(t,
		Courier{Name: "far", Scheme: f.plain, Networks: prefixes("2001:db8::/32")}, Courier{Name: "small", Scheme: f.plain, MaxBodyBytes: 1000},
		Courier{Name: "slow", Scheme: f.plain, RatePerSecond: 1, RateBurst: 1}, // the clock stands still
	)
	if a := send(t, f.request(f.plain, "/v1/events/courier/slow", goodBody)); a.StatusCode != 202 {
		t.Fatalf("answered %d", a.StatusCode)
	}
	body := longBody(700_000)
	for _, tc := range []struct {
		courier string
		status  int
		code    event.Code
		kept    int // of the body, when there is a record
	}{
		{"far", 403, event.Forbidden, f.config.Records.BodyBytes}, {"small", 413, event.PayloadTooLarge, 1000}, {"slow", 429, event.RateLimited, 0},
	} {
		for _, chunked := range []bool{false, true} {
			c := f.dial(t)
			if err := c.Conn.(*net.TCPConn).SetWriteBuffer(8 << 10); err != nil { // so that writing waits for reading
				t.Fatal(err)
			}
			text := f.raw(f.plain, "/v1/events/courier/"+tc.courier, body)
			if chunked {
				head, _, _ := strings.Cut(text, "\r\n\r\n")
				head = strings.Replace(head, fmt.Sprintf("Content-Length: %d", len(body)), "Transfer-Encoding: chunked", 1)
				text = fmt.Sprintf("%s\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", head, len(body), body)
			}
			c.send(t, text)
			expectProblem(t, c.answer(t), tc.status, tc.code, "")
			c.expectClosed(t)
			records := f.caught.take()
			if tc.kept == 0 {
				if len(records) != 0 {
					t.Errorf("%s: recorded are %+v", tc.courier, records)
				}
				continue
			}
			if len(records) != 1 || string(records[0].Request.Body) != body[:tc.kept] || records[0].Request.Whole() ||
				!chunked && records[0].Request.BodyBytes != len(body) {
				t.Errorf("%s, chunked %v: recorded are %+v", tc.courier, chunked, records)
			}
		}
	}
}

// TestShortBodiesOfRefusedRequests: a connection goes on after a request that was
// refused without looking at its body.
func TestShortBodiesOfRefusedRequests(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.set(t, Courier{Name: "slow", Scheme: f.plain, RatePerSecond: 1e-9, RateBurst: 1})
	c := f.dial(t)
	for i, want := range []int{202, 429, 429, 202} {
		scheme, path := f.plain, "/v1/events/courier/slow"
		if i == 3 {
			scheme, path = f.demo, "/v1/events/courier/demo"
		}
		c.send(t, f.raw(scheme, path, bodyWithKey(fmt.Sprint(i))))
		if a := c.answer(t); a.StatusCode != want || a.Close {
			t.Fatalf("request %d is answered %d %s, closed %v", i, a.StatusCode, a.body, a.Close)
		}
	}
}

// TestSlowBodiesShutNoSenderOut: a request that is not all there is none of those that
// its courier may have in work.
func TestSlowBodiesShutNoSenderOut(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.set(t, Courier{Name: "narrow", Scheme: f.plain, MaxConcurrent: 1})
	text := f.raw(f.plain, "/v1/events/courier/narrow", longBody(100_000))
	slow := f.dial(t)
	slow.send(t, text[:50_000])
	f.inFlight(t, 1)
	if a := send(t, f.request(f.plain, "/v1/events/courier/narrow", bodyWithKey("other"))); a.StatusCode != 202 {
		t.Errorf("beside a slow sender: %d %s", a.StatusCode, a.body)
	}
	slow.send(t, text[50_000:])
	if a := slow.answer(t); a.StatusCode != 202 {
		t.Errorf("the slow sender: %d %s", a.StatusCode, a.body)
	}
	if !bytes.Equal(f.publisher.all()[1].Body, []byte(longBody(100_000))) {
		t.Error("its body is another")
	}
}
