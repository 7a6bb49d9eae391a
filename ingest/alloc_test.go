//go:build !race

package ingest

import (
	"testing"

	"github.com/valyala/fasthttp"
)

// The race detector makes pools forget at random, so this test runs without it.

func TestReadingOfARequestDoesNotAllocate(t *testing.T) {
	f := prepare(t, nil)
	var ctx fasthttp.RequestCtx
	if !f.process(&ctx, []byte("POST /v1/events/courier/demo?token=x HTTP/1.1\r\nHost: x\r\nX-Key: y\r\n\r\n")) {
		t.Fatal("the request can't be read")
	}
	c := &call{ctx: &ctx}
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
	if n := testing.AllocsPerRun(1000, warm(t)); n != 0 {
		t.Errorf("a good request costs %v allocations, want 0", n)
	}
}
