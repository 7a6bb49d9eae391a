package ops

import (
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

func withToken() AdminConfig {
	cfg := DefaultAdminConfig()
	cfg.Token = "a token of some length"
	return cfg
}

func TestEveryRouteButTheProbesWantsTheToken(t *testing.T) {
	t.Parallel()
	m := sample()
	admin, err := NewAdmin(withToken(), m.deps())
	if err != nil {
		t.Fatal(err)
	}
	address := start(t, withToken(), m.deps())
	open := map[string]bool{"/livez": true, "/readyz": true, "/health": true}
	for pattern := range admin.routes {
		method, path, _ := strings.Cut(pattern, " ")
		path = strings.NewReplacer("{$}", "", "{id}", "1-abcd", "{key...}", "k", "{id...}", "s", "{profile}", "goroutine").Replace(path)
		if open[path] {
			if resp, body := (request{path: path}).send(t, address); resp.status != 200 {
				t.Errorf("%s without a token: %d %s", path, resp.status, body)
			}
			continue
		}
		(request{method: method, path: path}).refused(t, address, 401, Unauthorized)
	}
	(request{path: "/nowhere"}).refused(t, address, 401, Unauthorized)
	if len(m.wasReplayed()) > 0 || m.letter(0).ReviewStatus != event.ReviewPending {
		t.Error("something was done without a token")
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	address := start(t, withToken(), sample().deps())
	token := withToken().Token
	for authorization, want := range map[string]int{
		"Bearer " + token:                  200,
		"bearer " + token:                  200,
		"Bearer " + token + "x":            401,
		"Bearer " + token[:len(token)-1]:   401,
		"Bearer " + strings.ToUpper(token): 401,
		"Bearer":                           401,
		"Bearer ":                          401,
		"Basic " + token:                   401,
		token:                              401,
	} {
		resp, body := request{path: "/version", header: map[string]string{"Authorization": authorization}}.send(t, address)
		if resp.status != want {
			t.Errorf("%q: %d, want %d: %s", authorization, resp.status, want, body)
		}
		if want == 401 && !strings.HasPrefix(resp.header.Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%q: no WWW-Authenticate", authorization)
		}
		if strings.Contains(body, token) {
			t.Errorf("%q: the answer tells the token", authorization)
		}
	}
}

func TestWithoutTokenOnlyLoopbackListeners(t *testing.T) {
	t.Parallel()
	admin, err := NewAdmin(DefaultAdminConfig(), sample().deps())
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.Serve(ln); err == nil || !strings.Contains(err.Error(), "set admin.token") {
		t.Errorf("Serve: %v", err)
	}
	if _, err := ln.Accept(); err == nil {
		t.Error("the listener was left open")
	}
}

func TestForeignHostIsRefusedWithoutToken(t *testing.T) {
	t.Parallel()
	address := start(t, DefaultAdminConfig(), sample().deps())
	_, port, _ := net.SplitHostPort(address)
	for host, want := range map[string]int{
		"127.0.0.1:" + port: 200, "localhost": 200, "LOCALHOST:1": 200, "[::1]:8081": 200, "[::1]": 200, "127.9.9.9": 200,
		"evil.example": 403, "evil.example:" + port: 403, "localhost.evil.example": 403, "127.0.0.1.evil.example": 403, "10.0.0.1": 403, "0.0.0.0": 403,
	} {
		resp, body := request{path: "/version", host: host}.send(t, address)
		if resp.status != want {
			t.Errorf("Host %q: %d, want %d: %s", host, resp.status, want, body)
		}
	}
	request{path: "/livez", host: "evil.example"}.refused(t, address, 403, event.Forbidden)
}

func TestForeignHostIsServedWithToken(t *testing.T) {
	t.Parallel()
	address := start(t, withToken(), sample().deps())
	resp, body := request{path: "/version", host: "gateway.example", header: map[string]string{"Authorization": "Bearer " + withToken().Token}}.send(t, address)
	if resp.status != 200 {
		t.Errorf("%d: %s", resp.status, body)
	}
}

func TestOtherOriginsMayNotChangeAnything(t *testing.T) {
	t.Parallel()
	m := sample()
	address := start(t, DefaultAdminConfig(), m.deps())
	for _, header := range []map[string]string{
		{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}, {"Origin": "null"},
	} {
		for _, verb := range []string{"replay", "close", "review"} {
			request{method: "POST", path: "/api/v1/dead-letters/1-abcd/" + verb, header: header}.refused(t, address, 403, event.Forbidden)
		}
	}
	if m.letter(0).ReviewStatus != event.ReviewPending {
		t.Error("a page of another origin reviewed a letter")
	}
	for _, header := range []map[string]string{{"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://" + address}} {
		if resp, body := (request{method: "POST", path: "/api/v1/dead-letters/1-abcd/review", header: header}).send(t, address); resp.status != 200 {
			t.Errorf("%v: %d %s", header, resp.status, body)
		}
	}
	if resp, _ := (request{path: "/version", header: map[string]string{"Origin": "https://evil.example"}}).send(t, address); resp.header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("another origin is allowed to read")
	}
}

func TestWrongMethodsAndPaths(t *testing.T) {
	t.Parallel()
	address := start(t, DefaultAdminConfig(), sample().deps())
	for path, allow := range map[string]string{
		"/livez": "GET, HEAD", "/api/v1/status": "GET, HEAD", "/api/v1/events/k": "GET, HEAD", "/api/v1/dead-letters/1-abcd": "GET, HEAD",
		"/api/v1/dead-letters/1-abcd/replay": "POST",
	} {
		for _, method := range []string{"PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"} {
			request{method: method, path: path}.refused(t, address, 405, event.MethodNotAllowed)
			if resp, _ := (request{method: method, path: path}).send(t, address); resp.header.Get("Allow") != allow {
				t.Errorf("%s %s: Allow %q, want %q", method, path, resp.header.Get("Allow"), allow)
			}
		}
	}
	request{path: "/api/v1/dead-letters/1-abcd/replay"}.refused(t, address, 405, event.MethodNotAllowed)
	for _, path := range []string{eventsPath, shipmentsPath} {
		request{path: path}.refused(t, address, 400, event.BadRequest)
	}
	for _, path := range []string{"/", "/api", "/api/v1/", "/api/v1/dead-letters/1-abcd/nothing", "/debug/pprof/cmdline/x"} {
		request{path: path}.refused(t, address, 404, event.NotFound)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	address := start(t, DefaultAdminConfig(), sample().deps())
	closing := request{method: "POST", path: "/api/v1/dead-letters/1-abcd/close", header: map[string]string{"Content-Type": "application/json"}}

	closing.body = `{"note":"` + strings.Repeat("x", 70<<10) + `"}`
	closing.refused(t, address, 413, event.PayloadTooLarge)
	closing.body = `{"note":"` + strings.Repeat("x", MaxNoteBytes+1) + `"}`
	closing.refused(t, address, 400, event.BadRequest)

	resp, _ := request{path: "/livez", header: map[string]string{"X-Big": strings.Repeat("x", 32<<10)}}.send(t, address)
	if resp.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("32 KiB of headers: %d", resp.status)
	}
}

func TestSlowHeadersAreCutOff(t *testing.T) {
	t.Parallel()
	cfg := DefaultAdminConfig()
	cfg.ReadHeaderTimeout = 50 * time.Millisecond
	conn, err := net.Dial("tcp", start(t, cfg, sample().deps()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("GET /livez HTTP/1.1\r\nHost: localhost\r\n")); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); err == nil || n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d bytes, %v; want the connection closed", n, err)
	}
}

func TestTraceID(t *testing.T) {
	t.Parallel()
	address := start(t, DefaultAdminConfig(), sample().deps())
	for given, kept := range map[string]bool{
		"req_a1": true, "a-b:c/d": true, "": false, "with space": false, `quo"te`: true, "naïve": false, strings.Repeat("x", maxTraceIDBytes+1): false,
	} {
		q := request{path: "/nowhere", header: map[string]string{"X-Request-Id": given}}
		p := q.refused(t, address, 404, event.NotFound)
		if (p.TraceID == given) != kept {
			t.Errorf("X-Request-Id %q: traceId %q", given, p.TraceID)
		}
	}
}

func TestFaultsInsideAreNotTold(t *testing.T) {
	t.Parallel()
	m := sample()
	deps := m.deps()
	deps.Worker = func() WorkerStatus { panic("mongodb://root:hunter2@db") }
	address := start(t, DefaultAdminConfig(), deps)
	p := request{path: "/api/v1/status"}.refused(t, address, 500, event.Internal)
	if strings.Contains(p.Detail, "hunter2") || !strings.Contains(p.Detail, p.TraceID) {
		t.Errorf("detail %q", p.Detail)
	}
	if resp, _ := (request{path: "/livez"}).send(t, address); resp.status != 200 {
		t.Error("the server did not survive a panic")
	}
}

func FuzzOneSegmentKey(f *testing.F) {
	for _, key := range []string{"demo:evt_1", "a/b", "a//b", "/", "..", ".", "../../livez", "50%", "%2F", "ключ", "a?b#c", "\x00", " ", "a+b"} {
		f.Add(key)
	}
	m := sample()
	admin, err := NewAdmin(DefaultAdminConfig(), m.deps())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if key == "" {
			return
		}
		for _, path := range []string{eventsPath, shipmentsPath} {
			r, err := http.NewRequest(http.MethodGet, "http://localhost"+path+escapeSegment(key), nil)
			if err != nil {
				t.Fatalf("%q: %v", key, err)
			}
			r.URL = oneSegmentKey(r.URL)
			if _, pattern := admin.mux.Handler(r); !strings.HasPrefix(pattern, "GET "+path) {
				t.Fatalf("%q goes to %q", key, pattern)
			}
			var got string
			mux := http.NewServeMux()
			mux.HandleFunc(path+"{key...}", func(_ http.ResponseWriter, r *http.Request) { got = r.PathValue("key") })
			mux.ServeHTTP(&discardWriter{header: http.Header{}}, r)
			if got != key {
				t.Fatalf("%q arrives as %q", key, got)
			}
		}
	})
}
