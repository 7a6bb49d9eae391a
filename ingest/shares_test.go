package ingest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// floodWith handles junk for a courier at 30 a second for some seconds, and one genuine
// request in each of them; it returns how many of the genuine ones have a record.
func (f *fixture) floodWith(t *testing.T, seconds int, junk func(i int) string, genuine func(i int) string) (kept int) {
	t.Helper()
	handle := func(raw string) {
		var ctx fasthttp.RequestCtx
		f.process(&ctx, []byte(raw))
		if ctx.Response.StatusCode()/100 == 2 {
			t.Fatalf("answered %s", ctx.Response.String())
		}
	}
	for second := range seconds {
		for i := range 30 {
			handle(junk(30*second + i))
			f.clock.advance(time.Second / 30)
			if i == 11 {
				handle(genuine(second))
			}
		}
	}
	f.records.start(f.hard)
	for _, r := range f.recorded(t).singles() {
		if strings.Contains(string(r.Request.Body), "genuine") {
			kept++
		}
	}
	return kept
}

// forwarded adds the address that a request comes from, which a trusted proxy says.
func forwardedFrom(raw, address string) string {
	return strings.Replace(raw, "Host: x\r\n", "Host: x\r\nX-Forwarded-For: "+address+"\r\n", 1)
}

// TestJunkLeavesRecordsToOthers: a courier's refused requests that could be accepted later
// have their records, however much junk comes beside them for minutes.
func TestJunkLeavesRecordsToOthers(t *testing.T) {
	t.Parallel()
	const path, seconds = "/v1/events/courier/plain", 60
	other := scheme(t, "gateway-body", "the next secret")
	for name, tc := range map[string]struct {
		junk, genuine func(f *fixture, i int) string
	}{
		"unsigned junk, a new secret": {
			junk:    func(f *fixture, i int) string { return unsigned(path, fmt.Sprint("junk ", i)) },
			genuine: func(f *fixture, i int) string { return f.raw(other, path, bodyWithKey(fmt.Sprint("genuine-", i))) },
		},
		"wrongly signed junk, a new secret": {
			junk:    func(f *fixture, i int) string { return f.raw(f.demo, path, fmt.Sprint("junk ", i)) },
			genuine: func(f *fixture, i int) string { return f.raw(other, path, bodyWithKey(fmt.Sprint("genuine-", i))) },
		},
		"junk of several addresses, a new secret": {
			junk: func(f *fixture, i int) string {
				return forwardedFrom(unsigned(path, fmt.Sprint("junk ", i)), fmt.Sprint("198.51.100.", i%5))
			},
			genuine: func(f *fixture, i int) string {
				return forwardedFrom(f.raw(other, path, bodyWithKey(fmt.Sprint("genuine-", i))), "203.0.113.1")
			},
		},
		"junk of many addresses, a new secret of a known one": {
			junk: func(f *fixture, i int) string {
				return forwardedFrom(unsigned(path, fmt.Sprint("junk ", i)), fmt.Sprintf("198.51.%d.%d", i/200%200, i%200))
			},
			genuine: func(f *fixture, i int) string {
				return forwardedFrom(f.raw(other, path, bodyWithKey(fmt.Sprint("genuine-", i))), "203.0.113.1")
			},
		},
		"junk of many addresses, a body that does not fit": {
			junk: func(f *fixture, i int) string {
				return forwardedFrom(unsigned(path, fmt.Sprint("junk ", i)), fmt.Sprintf("198.51.%d.%d", i/200%200, i%200))
			},
			genuine: func(f *fixture, i int) string { return f.raw(f.plain, path, fmt.Sprintf(`{"genuine":%d}`, i)) },
		},
		"copies of an event that is not signed, a new secret": {
			junk:    func(f *fixture, i int) string { return unsigned(path, bodyWithKey("junk")) },
			genuine: func(f *fixture, i int) string { return f.raw(other, path, bodyWithKey(fmt.Sprint("genuine-", i))) },
		},
		"junk of the right type, one of the wrong": {
			junk: func(f *fixture, i int) string { return f.raw(f.demo, path, bodyWithKey(fmt.Sprint("junk-", i))) },
			genuine: func(f *fixture, i int) string {
				return strings.Replace(f.raw(f.plain, path, bodyWithKey(fmt.Sprint("genuine-", i))), "application/json", "text/html", 1)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := prepare(t, func(c *Config) {
				c.TrustedProxies, c.Records.Queue = prefixes("192.0.2.1/32"), 1<<20
			})
			var ctx fasthttp.RequestCtx
			f.process(&ctx, []byte(forwardedFrom(f.raw(f.plain, path, goodBody), "203.0.113.1"))) // its address is known from now on
			if ctx.Response.StatusCode() != 200 {
				t.Fatalf("answered %s", ctx.Response.String())
			}
			kept := f.floodWith(t, seconds, func(i int) string { return tc.junk(f, i) }, func(i int) string { return tc.genuine(f, i) })
			if kept != seconds {
				t.Errorf("of %d genuine requests %d have a record", seconds, kept)
			}
			if n := len(f.book.singles()); n > 30*seconds*2/3 {
				t.Errorf("%d requests have one", n)
			}
		})
	}
}

// unsigned is a request for a courier without a signature.
func unsigned(path, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
}
