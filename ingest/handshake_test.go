package ingest

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/ingest/event"
)

// ask sends a request without a body.
func (f *fixture) ask(t testing.TB, method, target string, headers ...string) *answered {
	t.Helper()
	r, err := http.NewRequest(method, "http://"+f.addr+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	return send(t, r)
}

func TestEchoHandshake(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.set(t, Courier{Name: "echo", Scheme: f.plain, Handshake: Handshake{EchoQuery: "check"}})
	const path = "/v1/events/courier/echo?check="
	for _, value := range []string{"abc123", "", "a b&c=d/é", `<script>alert("x")</script>`, "a\r\nX-Y: z", strings.Repeat("x", maxEchoBytes)} {
		a := f.ask(t, "GET", path+url.QueryEscape(value))
		if a.StatusCode != 200 || string(a.body) != value {
			t.Errorf("%q is answered %d %q", value, a.StatusCode, a.body)
		}
		if got := a.Header.Get("Content-Type"); got != "text/plain; charset=utf-8" || a.Header.Get("X-Content-Type-Options") != "nosniff" || a.Header.Get("X-Y") != "" {
			t.Errorf("%q comes back with %v", value, a.Header)
		}
	}
	for _, target := range []string{path + strings.Repeat("x", maxEchoBytes+1), path + "a&check=b"} {
		expectProblem(t, f.ask(t, "GET", target), 400, event.BadRequest, "once, with at most 1024 bytes")
	}
	for _, tc := range []struct{ method, target string }{
		{"GET", "/v1/events/courier/echo"}, {"GET", "/v1/events/courier/echo?Check=a"}, {"PUT", path + "a"}, {"OPTIONS", path + "a"},
		{"GET", "/v1/events/courier/plain?check=a"}, {"GET", "/v1/events/courier?check=a"}, {"GET", "/v1/events/courier/unknown?check=a"}, {"GET", "/v1/events/courier/?check=a"},
	} {
		a := f.ask(t, tc.method, tc.target)
		expectProblem(t, a, 405, event.MethodNotAllowed, "POST")
		if got := a.Header.Get("Allow"); got != "POST" {
			t.Errorf("%s %s: Allow is %q", tc.method, tc.target, got)
		}
	}
	if a := f.ask(t, "HEAD", path+"a"); a.StatusCode != 405 {
		t.Errorf("HEAD is answered %d", a.StatusCode)
	}
	if got, _ := f.metric(t, "requests_total code=HANDSHAKE courier=echo"); got != 6 {
		t.Errorf("%v handshakes counted, want 6", got)
	}
	if got := f.recorded(t).counts(); len(got) > 0 || len(f.publisher.all()) > 0 {
		t.Errorf("handshakes are recorded as %v, %d events kept", got, len(f.publisher.all()))
	}
}

func TestCloudEventsHandshake(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	allows := Handshake{CloudEvents: true}
	f.set(t,
		Courier{Name: "free", Scheme: f.plain, Handshake: allows},
		Courier{Name: "bound", Scheme: f.plain, Handshake: allows, RatePerSecond: 2.5, RateBurst: 100},
		Courier{Name: "slow", Scheme: f.plain, Handshake: allows, RatePerSecond: 0.001, RateBurst: 100},
		Courier{Name: "fast", Scheme: f.plain, Handshake: allows, RatePerSecond: 1e300, RateBurst: 100},
	)
	const origin = "WebHook-Request-Origin: eventemitter.example.com"
	for courier, rate := range map[string]string{"free": "*", "bound": "150", "slow": "1", "fast": "2147483647"} {
		a := f.ask(t, "OPTIONS", "/v1/events/courier/"+courier, origin, "WebHook-Request-Rate: 120", "WebHook-Request-Callback: https://example.com/confirm")
		if a.StatusCode != 200 || len(a.body) != 0 || a.Header.Get("WebHook-Allowed-Origin") != "eventemitter.example.com" ||
			a.Header.Get("WebHook-Allowed-Rate") != rate || a.Header.Get("Allow") != "POST" {
			t.Errorf("%s: answered %d %v %s", courier, a.StatusCode, a.Header, a.body)
		}
	}
	const path = "/v1/events/courier/free"
	for _, headers := range [][]string{
		{"WebHook-Request-Origin: a b"}, {"WebHook-Request-Origin: é"}, {origin, origin}, {"WebHook-Request-Origin: " + strings.Repeat("x", maxOriginBytes+1)},
	} {
		a := f.ask(t, "OPTIONS", path, headers...)
		expectProblem(t, a, 400, event.BadRequest, "webhook-request-origin")
		if a.Header.Get("WebHook-Allowed-Origin") != "" {
			t.Errorf("%q is granted", headers)
		}
	}
	for _, a := range []*answered{
		f.ask(t, "OPTIONS", path), f.ask(t, "OPTIONS", "/v1/events/courier/plain", origin), f.ask(t, "GET", path, origin), f.ask(t, "OPTIONS", "/v1/events/courier/unknown", origin),
	} {
		expectProblem(t, a, 405, event.MethodNotAllowed, "POST")
		if a.Header.Get("WebHook-Allowed-Origin") != "" || a.Header.Get("WebHook-Allowed-Rate") != "" {
			t.Errorf("granted by %v", a.Header)
		}
	}
}

// TestHandshakesKeepTheLimits shows that no sender can learn or load more by a
// handshake than by posting.
func TestHandshakesKeepTheLimits(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.set(t,
		Courier{Name: "far", Scheme: f.plain, Handshake: Handshake{EchoQuery: "c"}, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
		Courier{Name: "slow", Scheme: f.plain, Handshake: Handshake{EchoQuery: "c"}, RatePerSecond: 1, RateBurst: 1},
	)
	expectProblem(t, f.ask(t, "GET", "/v1/events/courier/far?c=x"), 403, event.Forbidden, "")
	if a := f.ask(t, "GET", "/v1/events/courier/slow?c=x"); a.StatusCode != 200 {
		t.Errorf("got %d %s", a.StatusCode, a.body)
	}
	expectProblem(t, f.ask(t, "GET", "/v1/events/courier/slow?c=x"), 429, event.RateLimited, "")
}
