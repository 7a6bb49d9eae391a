package ingest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/limits"
	"github.com/fincart/courier-gateway/ingest/signature"
)

// rated is a courier of the plain scheme that may send 5 requests a second.
func (f *fixture) rated() Courier {
	return Courier{Name: "rated", Scheme: f.plain, RatePerSecond: 5, RateBurst: 5}
}

// TestUnverifiedRequestsTakeNoRate: whatever a stranger sends, from another address or
// from the courier's own, the courier has its rate.
func TestUnverifiedRequestsTakeNoRate(t *testing.T) {
	t.Parallel()
	f := start(t, quiet)
	f.set(t, f.rated())
	const path = "/v1/events/courier/rated"
	good := 0
	post := func() *answered {
		good++
		return send(t, f.request(f.plain, path, bodyWithKey(fmt.Sprint("good-", good))))
	}
	for second := range 3 {
		limited := 0
		for i := range 40 {
			r := f.request(f.demo, path, bodyWithKey(fmt.Sprint("bad-", i)))
			switch i % 4 {
			case 1:
				r.Header.Set("Content-Type", "text/html")
			case 2:
				r = f.request(f.demo, path, strings.Repeat("x", f.config.MaxBodyBytes+1))
			case 3:
				r = f.request(f.demo, path, longBody(100_000))
			}
			if i == 0 && second == 0 {
				for range 5 { // the courier's burst, between those of the stranger
					if a := post(); a.StatusCode != 202 {
						t.Fatalf("answered %d %s", a.StatusCode, a.body)
					}
				}
				if a := post(); a.StatusCode != 429 {
					t.Fatalf("beyond its rate the courier is answered %d %s", a.StatusCode, a.body)
				}
				f.clock.advance(time.Second)
			}
			a := send(t, r)
			if a.StatusCode/100 == 2 {
				t.Fatalf("a bad request is answered %d", a.StatusCode)
			}
			if a.StatusCode == 429 {
				limited++
			}
		}
		if limited < 30 {
			t.Errorf("of 40 requests without a valid signature %d are too many", limited)
		}
		for range 5 {
			if a := post(); a.StatusCode != 202 {
				t.Fatalf("second %d: the courier is answered %d %s", second, a.StatusCode, a.body)
			}
		}
		f.clock.advance(time.Second)
	}
}

// TestUnverifiedRequestsAreLimitedByAddress: each address has a rate of its own.
func TestUnverifiedRequestsAreLimitedByAddress(t *testing.T) {
	t.Parallel()
	f := start(t, quiet)
	f.set(t, f.rated())
	bad := func(ip string) *answered {
		c := f.dialFrom(t, ip)
		c.send(t, f.raw(f.demo, "/v1/events/courier/rated", goodBody))
		return c.answer(t)
	}
	for _, ip := range []string{"127.0.0.1", "127.0.0.2"} {
		for range 5 {
			expectProblem(t, bad(ip), 401, event.InvalidSignature, "")
		}
		a := bad(ip)
		expectProblem(t, a, 429, event.RateLimited, "without a valid signature")
		if a.Header.Get("Retry-After") != "1" {
			t.Errorf("it may come again after %q", a.Header.Get("Retry-After"))
		}
	}
	f.clock.advance(200 * time.Millisecond)
	expectProblem(t, bad("127.0.0.1"), 401, event.InvalidSignature, "")
	expectProblem(t, bad("127.0.0.1"), 429, event.RateLimited, "")
}

// TestUnverifiedBodiesAreNotRead: of an address that has used up what it may send
// without a valid signature no long body is read, unless the courier posts from there.
func TestUnverifiedBodiesAreNotRead(t *testing.T) {
	t.Parallel()
	f := start(t, func(c *Config) { quiet(c); c.MinBodyBytesPerSecond = 0 })
	f.set(t, f.rated())
	long := func(ip string) *wireConn {
		c := f.dialFrom(t, ip)
		whole := f.raw(f.plain, "/v1/events/courier/rated", keyed(100_000, ip))
		c.send(t, whole[:len(whole)-1])
		return c
	}
	for range 6 {
		c := f.dialFrom(t, "127.0.0.2")
		c.send(t, f.raw(f.demo, "/v1/events/courier/rated", goodBody))
		c.answer(t)
	}
	expectProblem(t, long("127.0.0.2").answer(t), 429, event.RateLimited, "") // its last byte is not waited for
	if a := f.postFrom(t, "127.0.0.2", "rated", bodyWithKey("short")); a.StatusCode != 202 {
		t.Errorf("a short event from there is answered %d %s", a.StatusCode, a.body)
	}
	c := long("127.0.0.2") // which made the address known
	c.send(t, "}")
	if a := c.answer(t); a.StatusCode != 202 {
		t.Errorf("a long event from there is answered %d %s", a.StatusCode, a.body)
	}
}

// TestHandshakesTakeNoRate: a handshake carries no signature.
func TestHandshakesTakeNoRate(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	c := f.rated()
	c.Handshake.EchoQuery = "check"
	f.set(t, c)
	for i := range 10 {
		r := f.request(f.plain, "/v1/events/courier/rated?check=x", "")
		r.Method, r.Body, r.ContentLength = "GET", nil, 0
		want := 200
		if i >= 5 {
			want = 429
		}
		if a := send(t, r); a.StatusCode != want {
			t.Errorf("handshake %d is answered %d %s", i, a.StatusCode, a.body)
		}
	}
	if a := send(t, f.request(f.plain, "/v1/events/courier/rated", goodBody)); a.StatusCode != 202 {
		t.Errorf("an event is answered %d %s", a.StatusCode, a.body)
	}
}

// TestObservedRequestsAreLimited: a courier in observe mode accepts what is not verified,
// but no more of it than its rate, from all addresses together.
func TestObservedRequestsAreLimited(t *testing.T) {
	t.Parallel()
	f := start(t, quiet)
	c := f.rated()
	c.Observe = true
	f.set(t, c)
	accepted := 0
	for i := range 20 {
		w := f.dialFrom(t, fmt.Sprint("127.0.0.", 1+i%4))
		w.send(t, f.raw(f.demo, "/v1/events/courier/rated", bodyWithKey(fmt.Sprint("o", i))))
		if a := w.answer(t); a.StatusCode == 202 {
			accepted++
		}
	}
	if accepted != 5 {
		t.Errorf("%d events are accepted that nothing verifies", accepted)
	}
	for i := range 5 {
		if a := send(t, f.request(f.plain, "/v1/events/courier/rated", bodyWithKey(fmt.Sprint("v", i)))); a.StatusCode != 202 {
			t.Errorf("a verified one is answered %d %s", a.StatusCode, a.body)
		}
	}
}

// TestUnverifiedRequestsTakeNoSlot: what is not verified is none of the requests
// that a courier may have in work.
func TestUnverifiedRequestsTakeNoSlot(t *testing.T) {
	t.Parallel()
	f := prepare(t, nil)
	f.set(t, Courier{Name: "narrow", Scheme: f.plain, MaxConcurrent: 1})
	narrow := f.couriers.active.Load().byName["narrow"]
	if !narrow.limits.Enter(new(limits.Slot)) {
		t.Fatal("there is no slot")
	}
	f.flood(t, 1, 0, 401, f.badly("narrow"))
}

// TestCostlySchemes: those with public keys are.
func TestCostlySchemes(t *testing.T) {
	t.Parallel()
	if scheme(t, "gateway", "x").Costly() {
		t.Error("an HMAC is costly")
	}
	s, err := signature.New(signature.Config{
		Scheme: "ed25519", Secrets: []signature.Secret{{ID: "k", Key: make([]byte, 32)}}, Signature: signature.Place{Names: []string{"x-sig"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if !s.Costly() {
		t.Error("ed25519 is not costly")
	}
}
