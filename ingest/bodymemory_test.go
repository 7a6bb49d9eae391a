package ingest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/address"
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

// TestLongBodiesOfManyTakeBoundedMemory: senders that keep almost complete bodies on
// the way get no more memory than there is for all, and what they take keeps neither
// small events out nor the long ones of another courier. It is not parallel, because it
// looks at the heap.
func TestLongBodiesOfManyTakeBoundedMemory(t *testing.T) {
	const senders, size, most = 60, 700_000, 3 << 20
	for _, courier := range []string{"plain", "nobody"} {
		f := start(t, nil)
		f.bodies.known.limit, f.bodies.unknown.limit = most, most
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
		f.bodies.unknown.mu.Lock()
		const one = 3 << 19 // a body that is moved to twice its memory
		if used, leaving := f.bodies.unknown.used, f.bodies.unknown.leaving; used > most || leaving > max(one, most/leavingShare) {
			t.Errorf("%s: of %d bytes %d are used, and %d leave", courier, most, used, leaving)
		}
		f.bodies.unknown.mu.Unlock()
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
	f.bodies.known.limit, f.bodies.unknown.limit = 0, 0
	f.publisher.held, f.publisher.inside = make(chan struct{}), make(chan struct{}, 200)
	var conns []*wireConn
	for i := range 200 {
		body := keyed([]int{500, shortBytes}[i%2], fmt.Sprint("s", i))
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
	if a := f.postFrom(t, "127.0.0.1", "plain", keyed(shortBytes+1, "long")); a.StatusCode != 503 {
		t.Errorf("a body of one byte more is not counted: %d", a.StatusCode)
	}
}

// fill opens connections until the memory for unknown senders is used up.
func (f *fixture) fill(t *testing.T, courier string, ips ...string) {
	t.Helper()
	pool := &f.bodies.unknown
	for range 200 {
		for _, ip := range ips {
			f.unsigned(t, ip, courier, 60_000)
		}
		refused, _ := f.metric(t, "requests_total code=INTAKE_UNAVAILABLE courier="+courier)
		if refused > 0 {
			return
		}
	}
	pool.mu.Lock()
	defer pool.mu.Unlock()
	t.Fatalf("%d of %d bytes are used", pool.used, pool.limit)
}

// TestKnownSendersKeepTheirPlace: strangers that hold long bodies, from one address or
// from several and for the attacked courier itself, take nothing from an address from
// which that courier's requests were verified.
func TestKnownSendersKeepTheirPlace(t *testing.T) {
	t.Parallel()
	f := start(t, func(c *Config) { quiet(c); c.MinBodyBytesPerSecond = 0 })
	f.bodies.known.limit, f.bodies.unknown.limit = 1<<20, 1<<20
	if a := f.postFrom(t, "127.0.0.9", "plain", goodBody); a.StatusCode != 200 { // it gets known
		t.Fatalf("answered %d", a.StatusCode)
	}
	f.fill(t, "plain", "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5")
	for i := range 10 {
		for _, n := range []int{500, shortBytes, shortBytes + 1, firstLong + 1, 500_000} {
			if a := f.postFrom(t, "127.0.0.9", "plain", keyed(n, fmt.Sprint("k", i, "-", n))); a.StatusCode != 200 {
				t.Fatalf("event %d of %d bytes is answered %d %s", i, n, a.StatusCode, a.body)
			}
		}
	}
}

// TestNewSendersGetAShare: one that is not known yet gets memory in spite of strangers
// that have taken all of it, because the largest of them gives way.
func TestNewSendersGetAShare(t *testing.T) {
	t.Parallel()
	f := start(t, func(c *Config) { quiet(c); c.MinBodyBytesPerSecond = 0 })
	f.bodies.known.limit, f.bodies.unknown.limit = 0, 2<<20
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
// courier, give way to its own ones.
func TestSharedAddress(t *testing.T) {
	t.Parallel()
	f := start(t, func(c *Config) { quiet(c); c.MinBodyBytesPerSecond = 0 })
	f.bodies.known.limit, f.bodies.unknown.limit = 1<<20, 1<<20
	if a := f.postFrom(t, "127.0.0.1", "plain", goodBody); a.StatusCode != 200 {
		t.Fatalf("answered %d", a.StatusCode)
	}
	var refused float64
	for refused == 0 { // until both halves are full
		f.unsigned(t, "127.0.0.1", "plain", 60_000)
		refused, _ = f.metric(t, "requests_total code=INTAKE_UNAVAILABLE courier=plain")
	}
	waitFor(t, "the slow ones to give way", func() bool {
		return f.postFrom(t, "127.0.0.1", "plain", keyed(50_000, "mine")).StatusCode == 200
	})
	for i := range 10 {
		if a := f.postFrom(t, "127.0.0.1", "plain", keyed(50_000, fmt.Sprint("k", i))); a.StatusCode != 200 {
			t.Errorf("event %d is answered %d %s", i, a.StatusCode, a.body)
		}
	}
}

// TestNoMemoryForABody: a sender that finds no memory is told to come again, and may as
// soon as others are done, however they end.
func TestNoMemoryForABody(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.bodies.known.limit, f.bodies.unknown.limit = 0, 250_000
	const path, size = "/v1/events/courier/plain", 100_000
	first := f.slowly(t, "127.0.0.1", path, size)
	f.inFlight(t, 1)
	used := func() int64 {
		f.bodies.unknown.mu.Lock()
		defer f.bodies.unknown.mu.Unlock()
		return f.bodies.unknown.used
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
		return used() == 0 && f.bodies.unknown.leaving == 0 && len(f.bodies.unknown.holdings) == 0
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
		if took := time.Since(begun); took > 3*paceWindow {
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

// interrupted is a reader that counts how often it is interrupted.
type interrupted struct{ n int }

func (i *interrupted) Interrupt() { i.n++ }

// TestLargestHolderGivesWay goes through the rules of a pool.
func TestLargestHolderGivesWay(t *testing.T) {
	t.Parallel()
	now := noon
	p := &bodyPool{limit: 1600}
	var readers []*interrupted
	open := func(by string, n int64) (*bodyLoan, bool) {
		l, r := new(bodyLoan), new(interrupted)
		readers = append(readers, r)
		return l, p.open(l, bodyHolder{courier: by}, r, n, now)
	}
	for range 16 {
		if _, ok := open("greedy", 100); !ok {
			t.Fatal("there is memory")
		}
	}
	if _, ok := open("greedy", 100); ok {
		t.Error("a holder's own bodies that are not slow give way")
	}
	small, ok := open("small", 100)
	if !ok || readers[0].n != 1 || p.used != 1600 || p.leaving != 100 {
		t.Fatalf("the oldest body of the largest holder gives way: %v, used %d, leaving %d", ok, p.used, p.leaving)
	}
	p.leaving = p.limit / leavingShare
	if small.grow(100, now) {
		t.Error("more leaves than may")
	}
	p.leaving = 0 // those that read them have ended
	if !small.grow(100, now) || readers[1].n != 1 {
		t.Error("a body that grows gets none")
	}
	p.leaving = 0
	if !small.complete() {
		t.Error("a body that is there gave way")
	}
	now = now.Add(slowBody)
	if _, ok := open("greedy", 100); !ok || readers[2].n != 1 {
		t.Error("a holder's own slow bodies don't give way")
	}
	now, p.leaving = noon, 0
	p = &bodyPool{limit: 1600}
	readers = nil
	for range 4 {
		open("greedy", 400)
	}
	if _, ok := open("greedy", 300); ok {
		t.Error("a body gives way to one that is hardly smaller")
	}
	if _, ok := open("greedy", 200); !ok || readers[0].n != 1 {
		t.Error("a holder's own large bodies don't give way to small ones")
	}
	if most := p.limit; p.used > most {
		t.Errorf("%d bytes are used", p.used)
	}
}

// ending is a reader that ends when it is interrupted.
type ending struct{ ended chan struct{} }

func (e *ending) Interrupt() { close(e.ended) }

// TestPoolUnderLoad has many bodies come, grow, give way and end at the same time: no
// more is lent than there is, and nothing is left of them.
func TestPoolUnderLoad(t *testing.T) {
	t.Parallel()
	p := &bodyPool{limit: 40 * firstLong}
	var senders sync.WaitGroup
	for i := range 16 {
		senders.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for range 2000 {
				l, r := new(bodyLoan), &ending{make(chan struct{})}
				if !p.open(l, bodyHolder{courier: fmt.Sprint(i % 5)}, r, firstLong, time.Now()) {
					continue
				}
				for n := int64(firstLong); n < 8*firstLong && random.IntN(4) > 0 && l.grow(2*n, time.Now()); n *= 2 {
					l.shrink(n)
				}
				if random.IntN(2) == 0 {
					l.complete()
				}
				p.mu.Lock()
				if p.used > p.limit || p.leaving > p.limit/leavingShare+16*firstLong || p.used < 0 || p.leaving < 0 {
					t.Errorf("%d bytes are used, %d leave", p.used, p.leaving)
				}
				p.mu.Unlock()
				l.close()
			}
		})
	}
	senders.Wait()
	if p.used != 0 || p.leaving != 0 || len(p.holdings) != 0 || len(p.waiting) != 0 {
		t.Errorf("%d bytes are used, %d leave, %d holders, %d wait", p.used, p.leaving, len(p.holdings), len(p.waiting))
	}
}

// BenchmarkBodiesOfManyHolders opens bodies in a pool that many holders have filled.
func BenchmarkBodiesOfManyHolders(b *testing.B) {
	p := &bodyPool{limit: 2048 * firstLong}
	loans := make([]bodyLoan, 2048)
	for i := range loans {
		p.open(&loans[i], bodyHolder{courier: fmt.Sprint(i)}, &interrupted{}, firstLong, noon)
	}
	b.ReportAllocs()
	for b.Loop() {
		if p.open(new(bodyLoan), bodyHolder{courier: "late"}, &interrupted{}, firstLong, noon) {
			b.Fatal("there is memory")
		}
	}
}

func TestBodyMemoryIsEnoughForLargeBodies(t *testing.T) {
	t.Parallel()
	if got := newBodyMemory(14 << 20).unknown.limit; got != 8*(14<<20) {
		t.Errorf("for bodies of 14 MiB there are %d bytes", got)
	}
	if got := newBodyMemory(1 << 20).known.limit; got != 32<<20 {
		t.Errorf("for bodies of 1 MiB there are %d bytes", got)
	}
}

// TestUnknownCouriersBodies: of what names no courier only that is read which its
// record keeps, however much comes.
func TestUnknownCouriersBodies(t *testing.T) {
	t.Parallel()
	f := start(t, quiet)
	body := longBody(f.config.MaxBodyBytes)
	c := f.dial(t)
	whole := f.raw(f.plain, "/v1/events/courier/nobody", body)
	c.send(t, whole[:len(whole)-1]) // it isn't waited for
	expectProblem(t, c.answer(t), 404, event.UnknownCourier, "")
	c.expectClosed(t)
	f.records.mu.Lock()
	defer f.records.mu.Unlock()
	if len(f.records.waiting) != 1 {
		t.Fatalf("%d requests are on record", len(f.records.waiting))
	}
	r := f.records.waiting[0].Request
	if string(r.Body) != body[:f.config.Records.BodyBytes] || r.BodyBytes != len(body) {
		t.Errorf("recorded are %d of %d bytes", len(r.Body), r.BodyBytes)
	}
}

// TestKnownAddresses: an address is known for a time, of one courier, and not too many
// are.
func TestKnownAddresses(t *testing.T) {
	t.Parallel()
	var b addressBook
	at := func(text string) netip.Prefix { return address.Group(address.Of(&net.TCPAddr{IP: net.ParseIP(text)})) }
	b.add(at("2001:db8::1"), noon)
	if !b.has(at("2001:db8::2"), noon) || b.has(at("2001:db8:0:1::1"), noon) || b.has(at("192.0.2.1"), noon) {
		t.Error("not just the /64 is known")
	}
	b.add(at("2001:db8::1"), noon.Add(knownFor-1))
	if !b.has(at("2001:db8::1"), noon.Add(knownFor+time.Hour)) || b.has(at("2001:db8::1"), noon.Add(2*knownFor)) {
		t.Error("it is not known for the time after its last request")
	}
	for i := range 3 * maxKnown {
		b.add(at(fmt.Sprintf("10.0.%d.%d", i/256, i%256)), noon)
	}
	if len(b.seen) > maxKnown {
		t.Errorf("%d are known", len(b.seen))
	}
}
