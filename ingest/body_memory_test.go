package ingest

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/body"
	"github.com/fincart/courier-gateway/ingest/event"
)

// slowly sends all of a long request but its last byte, from a connection of its own.
func (f *fixture) slowly(t *testing.T, ip, path string, size int) *wireConn {
	t.Helper()
	whole := f.raw(f.plain, path, longBody(size))
	c := f.dialFrom(t, ip)
	c.send(t, whole[:len(whole)-1])
	return c
}

// postFrom sends a signed request of a courier of the plain scheme from an address.
func (f *fixture) postFrom(t *testing.T, ip, courier, body string) *answered {
	t.Helper()
	c := f.dialFrom(t, ip)
	c.send(t, f.raw(f.plain, "/v1/events/courier/"+courier, body))
	return c.answer(t)
}

// unsigned sends all of a long body but its last byte, which nothing signs.
func (f *fixture) unsigned(t *testing.T, ip, courier string, size int) *wireConn {
	t.Helper()
	c := f.dialFrom(t, ip)
	c.send(t, fmt.Sprintf("POST /v1/events/courier/%s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", courier, size),
		strings.Repeat(" ", size-1))
	return c
}

// keyed is a good body of n bytes with a key of its own.
func keyed(n int, key string) string {
	return strings.ReplaceAll(longBody(n), "courier-x:evt_123", (key + strings.Repeat("-", 20))[:len("courier-x:evt_123")])
}

// limitBodies gives the halves of the memory for long bodies so many bytes.
func (f *fixture) limitBodies(known, unknown int64) {
	f.bodies.reader = body.NewReader(body.Config{KnownBytes: known, UnknownBytes: unknown, MinBytesPerSecond: f.config.MinBodyBytesPerSecond})
}

// TestLongBodiesOfManyTakeBoundedMemory: senders that keep almost complete bodies on
// the way get no more memory than there is for all, and what they take keeps neither
// small events out nor the long ones of another courier. It is not parallel, because it
// looks at the heap.
func TestLongBodiesOfManyTakeBoundedMemory(t *testing.T) {
	const senders, size, most = 60, 700_000, 3 << 20
	for _, courier := range []string{"plain", "unknown"} {
		f := start(t, nil)
		f.limitBodies(most, most)
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range senders {
			f.slowly(t, "127.0.0.1", "/v1/events/courier/"+courier, size)
		}
		waitFor(t, "all of them to be refused or waiting", func() bool {
			waiting, _ := f.metric(t, "requests_in_flight")
			full, _ := f.metric(t, "requests_total code=INTAKE_UNAVAILABLE courier=plain")
			unknown, _ := f.metric(t, "requests_total code=UNKNOWN_COURIER courier=-")
			return waiting+full+unknown == senders
		})
		const one = 3 << 19 // a body that is moved to twice its memory
		if _, unknown := f.bodies.reader.Usage(); unknown.Bytes > most || unknown.Evicted > max(one, most/8) {
			t.Errorf("%s: of %d bytes %d are used, and %d evicted", courier, most, unknown.Bytes, unknown.Evicted)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 2*most+senders*(48<<10) {
			t.Errorf("%s: the heap has grown by %d KiB", courier, grown>>10)
		}
		for i, n := range []int{len(goodBody), 700_000} {
			if a := send(t, f.request(f.demo, "/v1/events/courier/demo", strings.ReplaceAll(longOr(n), "courier-x:evt_123", fmt.Sprint("other-", i)))); a.StatusCode != 202 {
				t.Errorf("%s: beside them an event of %d bytes is answered %d %s", courier, n, a.StatusCode, a.body)
			}
		}
	}
}

// longOr returns a good body of n bytes.
func longOr(n int) string {
	if n == len(goodBody) {
		return goodBody
	}
	return longBody(n)
}

// TestShortBodiesAreNotCounted: events up to the first bytes that fasthttp waits for
// cost nothing of the memory for bodies, however many are in work at once.
func TestShortBodiesAreNotCounted(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.limitBodies(0, 0)
	f.publisher.held, f.publisher.inside = make(chan struct{}), make(chan struct{}, 200)
	var conns []*wireConn
	for i := range 200 {
		body := keyed([]int{500, body.ShortBytes}[i%2], fmt.Sprint("s", i))
		text := f.raw(f.plain, "/v1/events/courier/plain", body)
		if i%4 >= 2 {
			head, _, _ := strings.Cut(text, "\r\n\r\n")
			head = strings.Replace(head, fmt.Sprintf("Content-Length: %d", len(body)), "Transfer-Encoding: chunked", 1)
			text = fmt.Sprintf("%s\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", head, len(body), body)
		}
		c := f.dial(t)
		c.send(t, text)
		conns = append(conns, c)
	}
	for range conns {
		select {
		case <-f.publisher.inside:
		case <-time.After(patience):
			t.Fatal("not all events are in work")
		}
	}
	close(f.publisher.held)
	for i, c := range conns {
		if a := c.answer(t); a.StatusCode != 200 {
			t.Errorf("event %d is answered %d %s", i, a.StatusCode, a.body)
		}
	}
	if a := f.postFrom(t, "127.0.0.1", "plain", keyed(body.ShortBytes+1, "long")); a.StatusCode != 503 {
		t.Errorf("a body of one byte more is not counted: %d", a.StatusCode)
	}
}

// fill opens connections until the memory for unknown senders is used up.
func (f *fixture) fill(t *testing.T, courier string, ips ...string) {
	t.Helper()
	for range 200 {
		for _, ip := range ips {
			f.unsigned(t, ip, courier, 60_000)
		}
		refused, _ := f.metric(t, "requests_total code=INTAKE_UNAVAILABLE courier="+courier)
		if refused > 0 {
			return
		}
	}
	_, unknown := f.bodies.reader.Usage()
	t.Fatalf("%d bytes are used", unknown.Bytes)
}

// TestKnownSendersKeepTheirPlace: strangers that hold long bodies, from one address or
// from several and for the attacked courier itself, take nothing from an address from
// which that courier's requests were verified.
func TestKnownSendersKeepTheirPlace(t *testing.T) {
	t.Parallel()
	f := start(t, func(c *Config) { quiet(c); c.MinBodyBytesPerSecond = 0 })
	f.limitBodies(1<<20, 1<<20)
	if a := f.postFrom(t, "127.0.0.9", "plain", goodBody); a.StatusCode != 200 { // its address is known from now on
		t.Fatalf("answered %d", a.StatusCode)
	}
	f.fill(t, "plain", "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5")
	for i := range 10 {
		for _, n := range []int{500, body.ShortBytes, body.ShortBytes + 1, (16 << 10) + 1, 500_000} {
			if a := f.postFrom(t, "127.0.0.9", "plain", keyed(n, fmt.Sprint("k", i, "-", n))); a.StatusCode != 200 {
				t.Fatalf("event %d of %d bytes is answered %d %s", i, n, a.StatusCode, a.body)
			}
		}
	}
}

// TestNewSendersGetAShare: one that is not known yet gets memory in spite of strangers
// that have taken all of it, because the largest of them is evicted.
func TestNewSendersGetAShare(t *testing.T) {
	t.Parallel()
	f := start(t, func(c *Config) { quiet(c); c.MinBodyBytesPerSecond = 0 })
	f.limitBodies(0, 2<<20)
	f.fill(t, "plain", "127.0.0.1", "127.0.0.2", "127.0.0.3")
	for i := range 10 {
		if a := f.postFrom(t, "127.0.0.9", "demo", keyed(100_000, fmt.Sprint("n", i))); a.StatusCode != 401 { // it is verified, which is what needs the body
			t.Fatalf("body %d is answered %d %s", i, a.StatusCode, a.body)
		}
		if a := f.postFrom(t, "127.0.0.9", "plain", keyed(100_000, fmt.Sprint("n", i))); a.StatusCode != 200 {
			t.Fatalf("event %d is answered %d %s", i, a.StatusCode, a.body)
		}
	}
}

// TestSharedAddress: slow bodies from the very address of a known sender, and for its
// courier, are evicted for its own ones.
func TestSharedAddress(t *testing.T) {
	t.Parallel()
	f := start(t, func(c *Config) { quiet(c); c.MinBodyBytesPerSecond = 0 })
	f.limitBodies(1<<20, 1<<20)
	if a := f.postFrom(t, "127.0.0.1", "plain", goodBody); a.StatusCode != 200 {
		t.Fatalf("answered %d", a.StatusCode)
	}
	var refused float64
	for refused == 0 { // until both halves are full
		f.unsigned(t, "127.0.0.1", "plain", 60_000)
		refused, _ = f.metric(t, "requests_total code=INTAKE_UNAVAILABLE courier=plain")
	}
	full := time.Now()
	waitFor(t, "all of them to be slow", func() bool { return time.Since(full) > 500*time.Millisecond })
	waitFor(t, "the slow ones to be evicted", func() bool {
		return f.postFrom(t, "127.0.0.1", "plain", keyed(50_000, "mine")).StatusCode == 200
	})
	for i := range 10 {
		if a := f.postFrom(t, "127.0.0.1", "plain", keyed(50_000, fmt.Sprint("k", i))); a.StatusCode != 200 {
			t.Errorf("event %d is answered %d %s", i, a.StatusCode, a.body)
		}
	}
}

// TestNoMemoryForABody: a sender that finds no memory is refused until later, and may as
// soon as others are done, however they end.
func TestNoMemoryForABody(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.limitBodies(0, 250_000)
	const path, size = "/v1/events/courier/plain", 100_000
	first := f.slowly(t, "127.0.0.1", path, size)
	f.inFlight(t, 1)
	used := func() int64 {
		_, unknown := f.bodies.reader.Usage()
		return unknown.Bytes
	}
	waitFor(t, "its body", func() bool { return used() >= size })
	refused := f.dial(t)
	refused.send(t, f.raw(f.plain, path, longBody(size)))
	a := refused.answer(t)
	expectProblem(t, a, 503, event.IntakeUnavailable, "long bodies")
	if a.Header.Get("Retry-After") != "1" {
		t.Errorf("it may come again after %q", a.Header.Get("Retry-After"))
	}
	refused.expectClosed(t)
	first.send(t, "}")
	if a := first.answer(t); a.StatusCode != 200 {
		t.Errorf("the first is answered %d %s", a.StatusCode, a.body)
	}
	waitFor(t, "its memory to come back", func() bool { return used() == 0 })
	for _, body := range []string{longBody(size), strings.ReplaceAll(longBody(size), "courier-x:evt_123", "panic"), strings.Repeat("x", size), longBody(size)} {
		if a := send(t, f.request(f.plain, path, body)); a.StatusCode == 503 {
			t.Errorf("afterwards: %d %s", a.StatusCode, a.body)
		}
	}
	waitFor(t, "all memory to come back", func() bool {
		_, unknown := f.bodies.reader.Usage()
		return unknown == body.Usage{}
	})
}

// TestBodiesThatComeTooSlowly: a body has to make progress all the time, not only to be
// there by a deadline.
func TestBodiesThatComeTooSlowly(t *testing.T) {
	t.Parallel()
	f := start(t, func(c *Config) { c.ReadTimeout = time.Minute })
	whole := f.raw(f.plain, "/v1/events/courier/plain", longBody(200_000))
	chunked := strings.Replace(whole[:strings.Index(whole, "\r\n\r\n")], "Content-Length: 200000", "Transfer-Encoding: chunked", 1) + "\r\n\r\n"
	begun := time.Now()
	var conns []*wireConn
	for _, text := range []string{
		whole[:100_000],        // fast at first, then nothing
		whole[:10_000],         // hardly more than what fasthttp waits for
		chunked,                // nothing at all
		chunked + "5\r\nabcde", // and a short one
	} {
		c := f.dial(t)
		c.send(t, text)
		conns = append(conns, c)
	}
	dripping := f.dial(t) // something all the time, but too little
	dripping.send(t, whole[:10_000])
	stop := make(chan struct{})
	var drip sync.WaitGroup
	drip.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				_, _ = dripping.Write([]byte("xx"))
			}
		}
	})
	for i, c := range append(conns, dripping) {
		a := c.answer(t)
		expectProblem(t, a, 408, event.BadRequest, "8192 bytes per second")
		if took := time.Since(begun); took > 3*2*time.Second {
			t.Errorf("body %d is waited for %v", i, took)
		}
	}
	close(stop)
	drip.Wait()
}

// TestBodiesThatKeepTheRate: one that takes several windows is accepted if it comes fast
// enough in each.
func TestBodiesThatKeepTheRate(t *testing.T) {
	t.Parallel()
	f := start(t, func(c *Config) { c.MinBodyBytesPerSecond = 1000 })
	whole := f.raw(f.plain, "/v1/events/courier/plain", longBody(40_000))
	c := f.dial(t)
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for len(whole) > 0 {
		n := min(3000, len(whole))
		c.send(t, whole[:n])
		whole = whole[n:]
		<-tick.C
	}
	if a := c.answer(t); a.StatusCode != 200 {
		t.Errorf("answered %d %s", a.StatusCode, a.body)
	}
}

// TestUnknownCouriersBodies: of what names no courier only that is read which its
// record keeps, however much comes.
func TestUnknownCouriersBodies(t *testing.T) {
	t.Parallel()
	f := start(t, quiet)
	body := longBody(f.config.MaxBodyBytes)
	c := f.dial(t)
	whole := f.raw(f.plain, "/v1/events/courier/unknown", body)
	c.send(t, whole[:len(whole)-1]) // it isn't waited for
	expectProblem(t, c.answer(t), 404, event.UnknownCourier, "")
	c.expectClosed(t)
	records := f.caught.all()
	if len(records) != 1 {
		t.Fatalf("%d requests are on record", len(records))
	}
	r := records[0].Request
	if string(r.Body) != body[:f.config.Records.BodyBytes] || r.BodyBytes != len(body) {
		t.Errorf("recorded are %d of %d bytes", len(r.Body), r.BodyBytes)
	}
}
