//go:build !race

package ingest

import (
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/fincart/courier-gateway/ingest/body"
)

// The race detector makes pools forget at random, so this test runs without it.

func TestReadingOfARequestDoesNotAllocate(t *testing.T) {
	f := prepare(t, nil)
	var ctx fasthttp.RequestCtx
	if !f.process(&ctx, []byte("POST /v1/events/courier/demo?token=x HTTP/1.1\r\nHost: x\r\nX-Key: y\r\n\r\n")) {
		t.Fatal("the request can't be read")
	}
	c := &call{ctx: &ctx, body: new(body.Body)}
	if n := testing.AllocsPerRun(1000, func() {
		value, count := c.Header("x-key")
		if string(c.Method()) != "POST" || string(c.Path()) != "/v1/events/courier/demo" || string(c.Query()) != "token=x" ||
			string(value) != "y" || count != 1 || len(c.Body()) != 0 {
			t.Fatal("the request is read wrongly")
		}
	}); n != 0 {
		t.Errorf("reading costs %v allocations, want 0", n)
	}
}

func TestHandlingDoesNotAllocate(t *testing.T) {
	f := prepare(t, nil)
	f.set(t, Courier{Name: "push", Scheme: stripes(t), Decoder: pushed(t)}, Courier{Name: "own", Scheme: f.plain, Success: Success{Status: 200, Body: []byte("OK"), Headers: []Header{{"X-Own", "yes"}}}},
		Courier{Name: "asks", Scheme: f.plain, Handshake: Handshake{Probe: true, Challenge: "challenge", EchoHeader: "X-Hook-Secret", EchoQuery: "c"}})
	other := prepare(t, nil)
	for _, tc := range []struct {
		name   string
		handle func()
		want   float64
	}{
		{"canonical", f.warm(t, f.usual(), 202), 0},
		{"its own answer", f.warm(t, f.raw(f.plain, "/v1/events/courier/own", goodBody), 200), 0},
		{"of one that asks questions", f.warm(t, f.raw(f.plain, "/v1/events/courier/asks/", goodBody), 202), 0},
		{"of another type", f.warm(t, strings.Replace(f.usual(), "application/json", "text/plain; charset=utf8", 1), 202), 0},
		{"mapped, with every limit, behind a proxy", other.warm(t, other.withEverySetting(t), 202), 0},
		{"mapped, with checkpoints", f.warm(t, f.raw(stripes(t), "/v1/events/courier/push", pushedBody), 202), 1}, // its id is a hash
	} {
		if n := testing.AllocsPerRun(1000, tc.handle); n != tc.want {
			t.Errorf("%s: a good request costs %v allocations, want %v", tc.name, n, tc.want)
		}
	}
}

// TestReadingOfABodyDoesNotAllocate reads bodies as they come from the wire, short and
// long ones, of which the memory of earlier ones is used again.
func TestReadingOfABodyDoesNotAllocate(t *testing.T) {
	f := prepare(t, nil)
	f.deps.Publisher = discard{}
	for _, body := range []string{goodBody, longBody(body.ShortBytes), longBody(body.ShortBytes + 1), longBody(keepBodyBytes / 2)} {
		for _, declared := range []int{len(body), -1} {
			var ctx fasthttp.RequestCtx
			f.process(&ctx, []byte(f.raw(f.demo, "/v1/events/courier", body)))
			wire := strings.NewReader(body)
			ctx.Request.SetBodyStream(wire, declared)
			if n := testing.AllocsPerRun(1000, func() {
				wire.Reset(body)
				ctx.Response.Reset()
				f.handle(&ctx)
				if ctx.Response.StatusCode() != 202 {
					t.Fatalf("answered %s", ctx.Response.String())
				}
			}); n != 0 {
				t.Errorf("a request of %d bytes, declared %d, costs %v allocations, want 0", len(body), declared, n)
			}
		}
	}
}

// TestRefusingDoesNotAllocate floods the intake: what is beyond the rate of records
// is only counted, and logged at a rate of its own.
func TestRefusingDoesNotAllocate(t *testing.T) {
	f := prepare(t, nil)
	f.set(t, Courier{Name: "slow", Scheme: f.plain, RatePerSecond: 0.1, RateBurst: 1}, Courier{Name: "small", Scheme: f.plain, MaxBodyBytes: 1},
		Courier{Name: "far", Scheme: f.plain, Networks: prefixes("2001:db8::/32")})
	for name, handle := range map[string]func(){
		"signature": f.warm(t, f.badly("demo"), 401), "unknown": f.warm(t, f.badly("unknown"), 404), "size": f.warm(t, f.badly("small"), 413),
		"network": f.warm(t, f.badly("far"), 403), "media type": f.warm(t, strings.Replace(f.usual(), "application/json", "application/text", 1), 415),
	} {
		for range 10 * f.config.Records.Burst {
			handle()
		}
		if n := testing.AllocsPerRun(1000, handle); n != 0 {
			t.Errorf("%s: a refused request costs %v allocations, want 0", name, n)
		}
	}
	var ctx fasthttp.RequestCtx
	f.process(&ctx, []byte(f.badly("slow")))
	if n := testing.AllocsPerRun(1000, f.warm(t, f.badly("slow"), 429)); n != 0 {
		t.Errorf("rate: a refused request costs %v allocations, want 0", n)
	}
}
