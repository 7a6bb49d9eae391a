package ingest

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/limits"
)

func TestRateOfACourier(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	slow := Courier{Name: "slow", Scheme: f.plain, RatePerSecond: 0.5, RateBurst: 2}
	f.set(t, slow)
	n := 0
	post := func(courier string) *answered {
		n++
		return send(t, f.request(f.plain, "/v1/events/courier/"+courier, bodyWithKey(fmt.Sprint("k", n))))
	}
	limited := func(a *answered, wait string) {
		t.Helper()
		if d := a.document(t); a.StatusCode != 429 || d.ErrorCode != "RATE_LIMITED" || a.Header.Get("Retry-After") != wait {
			t.Errorf("got %d %s, Retry-After %q, want 429 and %s", a.StatusCode, a.body, a.Header.Get("Retry-After"), wait)
		}
	}
	accepted := func(a *answered) {
		t.Helper()
		if a.StatusCode/100 != 2 {
			t.Errorf("got %d %s", a.StatusCode, a.body)
		}
	}
	accepted(post("slow"))
	accepted(post("slow"))
	limited(post("slow"), "2")
	for range 5 {
		accepted(post("plain")) // no other courier pays for it
	}
	f.clock.advance(500 * time.Millisecond)
	limited(post("slow"), "2") // 1.5 seconds, in full ones
	f.clock.advance(1500*time.Millisecond - 1)
	limited(post("slow"), "1") // a nanosecond

	other := slow
	other.Observe = true
	f.set(t, other) // a change of something else gives nothing back, and observing no more
	limited(post("slow"), "1")
	f.clock.advance(1)
	accepted(post("slow"))
	limited(post("slow"), "2")

	slow.RateBurst = 3
	f.set(t, slow) // other numbers start again
	for range 3 {
		accepted(post("slow"))
	}
	limited(post("slow"), "2")
	slow.RatePerSecond, slow.RateBurst = 0, 0
	f.set(t, slow)
	for range 5 {
		accepted(post("slow"))
	}
	counts := f.recorded(t).counts()
	if counts["slow refused RATE_LIMITED"] != 6 || len(f.book.singles()) != 0 {
		t.Errorf("recorded are %v, %d of them singly", counts, len(f.book.singles()))
	}
}

func TestRetryAfterIsBounded(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.set(t, Courier{Name: "once", Scheme: f.plain, RatePerSecond: math.SmallestNonzeroFloat64, RateBurst: 1})
	send(t, f.request(f.plain, "/v1/events/courier/once", goodBody))
	a := send(t, f.request(f.plain, "/v1/events/courier/once", goodBody))
	if got := a.Header.Get("Retry-After"); a.StatusCode != 429 || got != "86400" {
		t.Errorf("got %d, Retry-After %q", a.StatusCode, got)
	}
}

// TestRequestsAtOnce holds requests of one courier in work. The others go on, and
// a change of the couriers does not forget those in work.
func TestRequestsAtOnce(t *testing.T) {
	t.Parallel()
	const most = 3
	f := start(t, nil)
	narrow := Courier{Name: "narrow", Scheme: f.plain, MaxConcurrent: most}
	f.set(t, narrow)
	f.publisher.held, f.publisher.inside = make(chan struct{}), make(chan struct{}, 10)
	var conns []*wireConn
	hold := func(courier string) {
		c := f.dial(t)
		c.send(t, f.raw(f.plain, "/v1/events/courier/"+courier, bodyWithKey(fmt.Sprint("k", len(conns)))))
		conns = append(conns, c)
		<-f.publisher.inside
	}
	for range most {
		hold("narrow")
	}
	expectProblem(t, send(t, f.request(f.plain, "/v1/events/courier/narrow", goodBody)), 429, event.RateLimited, "at once")
	hold("plain")
	narrow.MaxConcurrent = most + 1
	f.set(t, narrow)
	hold("narrow")
	expectProblem(t, send(t, f.request(f.plain, "/v1/events/courier/narrow", goodBody)), 429, event.RateLimited, "at once")
	close(f.publisher.held)
	for _, c := range conns {
		if a := c.answer(t); a.StatusCode/100 != 2 {
			t.Errorf("got %d %s", a.StatusCode, a.body)
		}
	}
	for range 2 * most { // all of them have given their place back
		if a := send(t, f.request(f.plain, "/v1/events/courier/narrow", goodBody)); a.StatusCode != 202 {
			t.Errorf("afterwards: got %d %s", a.StatusCode, a.body)
		}
	}
}

// TestSlotsComeBack refuses, accepts and fails requests in every way, after which
// nothing may be left of them.
func TestSlotsComeBack(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.set(t, Courier{Name: "narrow", Scheme: f.plain, MaxConcurrent: 2, MaxBodyBytes: len(goodBody) + 50})
	const path = "/v1/events/courier/narrow"
	var senders sync.WaitGroup
	for range 4 {
		senders.Go(func() {
			for i := range 20 {
				body := []string{goodBody, "{}", bodyWithKey("panic"), goodBody + strings.Repeat(" ", 60)}[i%4]
				scheme := f.plain
				if i >= 16 {
					scheme = f.demo // which does not sign like that
				}
				send(t, f.request(scheme, path, body))
			}
		})
	}
	senders.Wait()
	var slots [3]limits.Slot
	l := f.couriers.active.Load().byName["narrow"].limits
	if !l.Enter(&slots[0]) || !l.Enter(&slots[1]) || l.Enter(&slots[2]) {
		t.Error("there are not as many slots as before")
	}
}

func TestBodyLimitOfACourier(t *testing.T) {
	t.Parallel()
	f := start(t, func(c *Config) { c.MaxBodyBytes = 1000 })
	f.set(t, Courier{Name: "small", Scheme: f.plain, MaxBodyBytes: len(goodBody)})
	if a := send(t, f.request(f.plain, "/v1/events/courier/small", goodBody)); a.StatusCode != 202 {
		t.Errorf("a body at the limit is answered %d %s", a.StatusCode, a.body)
	}
	expectProblem(t, send(t, f.request(f.plain, "/v1/events/courier/small", goodBody+" ")), 413, event.PayloadTooLarge, fmt.Sprint(len(goodBody), " bytes"))
	if a := send(t, f.request(f.plain, "/v1/events/courier/plain", goodBody+" ")); a.StatusCode != 200 {
		t.Errorf("another courier's is answered %d %s", a.StatusCode, a.body)
	}
}

func TestLimitsThatAreNone(t *testing.T) {
	t.Parallel()
	f := prepare(t, nil)
	for want, c := range map[string]Courier{
		"-1 requests per second":   {RatePerSecond: -1, RateBurst: 1},
		"NaN requests per second":  {RatePerSecond: math.NaN(), RateBurst: 1},
		"+Inf requests per second": {RatePerSecond: math.Inf(1), RateBurst: 1},
		"burst of 0":               {RatePerSecond: 1},
		"-1 requests at once":      {MaxConcurrent: -1},
		"-1 body bytes":            {MaxBodyBytes: -1},
		"1048577 body bytes":       {MaxBodyBytes: 1<<20 + 1},
	} {
		c.Name, c.Scheme = "odd", f.demo
		if err := f.SetCouriers(Couriers{All: []Courier{c}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	every := Courier{Name: "odd", Scheme: f.demo, RatePerSecond: -1, MaxConcurrent: -1, MaxBodyBytes: -1, Success: Success{Status: 302}}
	err := f.SetCouriers(Couriers{All: []Courier{every}})
	for _, part := range []string{"per second", "at once", "body bytes", "302"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("got %v, want %q in it", err, part)
		}
	}
}
