package admin_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ops"
	"github.com/fincart/courier-gateway/ops/admin"
	"github.com/fincart/courier-gateway/ops/admintest"
)

const adminToken = "a-token-of-some-length"

// withToken is a configuration with a token of each role; that of admin is adminToken.
func withToken() admin.Config {
	cfg := admin.DefaultConfig()
	cfg.Tokens = []admin.Token{
		{Name: "dashboard", Role: admin.Read, Secret: []byte("the token of read")},
		{Name: "shift", Role: admin.Operate, Secret: []byte("the token of operate")},
		{Name: "admin", Role: admin.Admin, Secret: []byte(adminToken)},
	}
	return cfg
}

// bearer is the header that shows a token.
func bearer(token string) map[string]string {
	return map[string]string{"Authorization": "Bearer " + token}
}

// TestEveryRouteNeedsItsRole asks for every route with no token, a wrong one, and one of
// each role.
func TestEveryRouteNeedsItsRole(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	server, err := admin.New(withToken(), m.Deps())
	if err != nil {
		t.Fatal(err)
	}
	address := admintest.Start(t, withToken(), m.Deps())
	open := map[string]bool{"/livez": true, "/readyz": true, "/health": true, "/version": true, "/metrics": true, ops.StatusPath: true}
	for pattern, needed := range server.Routes() {
		method, path, _ := strings.Cut(pattern, " ")
		path = strings.NewReplacer("{$}", "", "{id}", "none", "{key...}", "k", "{id...}", "s", "{profile}", "goroutine",
			"/profile", "/profile?seconds=61", "/trace", "/trace?seconds=61").Replace(path) // which are one for the whole process
		if open[path] {
			if resp, body := (request{path: path}).send(t, address); resp.status != 200 {
				t.Errorf("%s without a token: %d %s", path, resp.status, body)
			}
			continue
		}
		for _, header := range []map[string]string{nil, bearer("wrong")} {
			request{method: method, path: path, header: header}.refused(t, address, 401, ops.Unauthorized)
		}
		for i, token := range withToken().Tokens {
			resp, body := request{method: method, path: path, header: bearer(string(token.Secret))}.send(t, address)
			if enough := i >= slices.Index(admin.Roles, needed); enough == (resp.status == 401 || resp.status == 403) {
				t.Errorf("%s with the role %s: %d %s", pattern, token.Role, resp.status, body)
			}
		}
	}
	request{path: ops.StatusPath, header: bearer("wrong")}.refused(t, address, 401, ops.Unauthorized)
	(request{path: "/nowhere"}).refused(t, address, 401, ops.Unauthorized)
}

func TestRoleThatIsNotEnoughIsNamed(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	address := admintest.Start(t, withToken(), m.Deps())
	p := request{method: "POST", path: "/api/v1/dead-letters/1-abcd/replay", header: bearer("the token of read")}.refused(t, address, 403, event.Forbidden)
	if !strings.Contains(p.Detail, "operate") || !strings.Contains(p.Detail, "dashboard") || strings.Contains(p.Detail, "the token of") {
		t.Errorf("detail %q", p.Detail)
	}
	if len(m.Replayed()) > 0 {
		t.Error("it was replayed")
	}
}

// TestVouchingNeedsTheAdminRole: what is accepted unverified could be anything.
func TestVouchingNeedsTheAdminRole(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	address := admintest.Start(t, withToken(), m.Deps())
	accept := func(token, body string) request {
		header := bearer(token)
		header["Content-Type"] = "application/json"
		return request{method: "POST", path: ops.RejectionsPath + "/" + admintest.RedactedID + "/accept", body: body, header: header}
	}
	accept("the token of operate", `{"vouch":true}`).refused(t, address, 403, event.Forbidden)
	if resp, body := accept(adminToken, `{"vouch":true}`).send(t, address); resp.status != 200 {
		t.Errorf("as admin: %d %s", resp.status, body)
	}
}

func TestTokensAreReplaced(t *testing.T) {
	t.Parallel()
	server, err := admin.New(withToken(), admintest.Sample().Deps())
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(server)
	defer front.Close()
	address := front.Listener.Addr().String()
	server.SetTokens([]admin.Token{{Name: "next", Role: admin.Admin, Secret: []byte("the next token")}})
	request{path: ops.StatusPath, header: bearer(adminToken)}.refused(t, address, 401, ops.Unauthorized)
	if resp, body := (request{path: ops.StatusPath, header: bearer("the next token")}).send(t, address); resp.status != 200 {
		t.Errorf("%d %s", resp.status, body)
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	address := admintest.Start(t, withToken(), admintest.Sample().Deps())
	token := adminToken
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
		resp, body := request{path: ops.StatusPath, header: map[string]string{"Authorization": authorization}}.send(t, address)
		if resp.status != want {
			t.Errorf("%q: %d, want %d: %s", authorization, resp.status, want, body)
		}
		if want == 401 && !strings.HasPrefix(resp.header.Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%q: no WWW-Authenticate", authorization)
		}
		if strings.Contains(body, token) {
			t.Errorf("%q: the answer holds the token", authorization)
		}
	}
}

func TestWithoutTokenOnlyLoopbackListeners(t *testing.T) {
	t.Parallel()
	server, err := admin.New(admin.DefaultConfig(), admintest.Sample().Deps())
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Serve(ln); err == nil || !strings.Contains(err.Error(), "no token is set") {
		t.Errorf("Serve: %v", err)
	}
	if _, err := ln.Accept(); err == nil {
		t.Error("the listener was left open")
	}
}

// TestForeignHostIsRefusedWithoutToken: the name is that of a page's own site, which the
// page's browser was told to find here (DNS rebinding).
func TestForeignHostIsRefusedWithoutToken(t *testing.T) {
	t.Parallel()
	address := admintest.Start(t, withToken(), admintest.Sample().Deps())
	_, port, _ := net.SplitHostPort(address)
	for host, want := range map[string]int{
		"127.0.0.1:" + port: 200, "localhost": 200, "LOCALHOST:1": 200, "[::1]:8081": 200, "[::1]": 200, "127.9.9.9": 200,
		"evil.example": 403, "evil.example:" + port: 403, "localhost.evil.example": 403, "127.0.0.1.evil.example": 403, "10.0.0.1": 403, "0.0.0.0": 403,
	} {
		for _, path := range []string{"/version", "/metrics", "/livez"} {
			resp, body := request{path: path, host: host}.send(t, address)
			if resp.status != want {
				t.Errorf("%s at %q: %d, want %d: %s", path, host, resp.status, want, body)
			}
		}
	}
	request{path: "/debug/pprof/heap", host: "evil.example", header: bearer("wrong")}.refused(t, address, 403, event.Forbidden)
}

// TestFiguresElsewhere: on an address that others reach the status needs a token, and so
// do the metrics, unless the configuration opens them.
func TestFiguresElsewhere(t *testing.T) {
	t.Parallel()
	for _, open := range []bool{false, true} {
		cfg := withToken()
		cfg.OpenMetrics = open
		server, err := admin.New(cfg, admintest.Sample().Deps())
		if err != nil {
			t.Fatal(err)
		}
		for _, url := range []string{"http://gateway.example/metrics", "http://10.0.0.1:8081/metrics", "http://10.0.0.1:8081" + ops.StatusPath} {
			r := httptest.NewRequest("GET", url, nil)
			r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 8081}))
			w := httptest.NewRecorder()
			server.ServeHTTP(w, r)
			want := 401
			if open && r.URL.Path == "/metrics" {
				want = 200
			}
			if w.Code != want {
				t.Errorf("open %v, %s: %d, want %d", open, url, w.Code, want)
			}
		}
	}
}

func TestForeignHostIsServedWithToken(t *testing.T) {
	t.Parallel()
	address := admintest.Start(t, withToken(), admintest.Sample().Deps())
	resp, body := request{path: "/version", host: "gateway.example", header: bearer(adminToken)}.send(t, address)
	if resp.status != 200 {
		t.Errorf("%d: %s", resp.status, body)
	}
}

func TestOtherOriginsMayAskForNothing(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	address := admintest.Start(t, admin.DefaultConfig(), m.Deps())
	for _, header := range []map[string]string{
		{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}, {"Origin": "null"},
	} {
		for _, verb := range []string{"replay", "close", "review"} {
			request{method: "POST", path: "/api/v1/dead-letters/1-abcd/" + verb, header: header}.refused(t, address, 403, event.Forbidden)
		}
		for _, path := range []string{"/debug/pprof/profile?seconds=1", "/debug/pprof/heap", "/version", ops.StatusPath} {
			request{path: path, header: header}.refused(t, address, 403, event.Forbidden)
		}
	}
	if m.Letter(0).ReviewStatus != event.ReviewPending {
		t.Error("a page of another origin reviewed a letter")
	}
	if resp, body := (request{path: "/version", header: map[string]string{"Sec-Fetch-Site": "none"}}).send(t, address); resp.status != 200 {
		t.Errorf("typed into a browser: %d %s", resp.status, body)
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
	address := admintest.Start(t, admin.DefaultConfig(), admintest.Sample().Deps())
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
	for _, path := range []string{ops.EventsPath, ops.ShipmentsPath} {
		request{path: path}.refused(t, address, 400, event.BadRequest)
	}
	for _, path := range []string{"/", "/api", "/api/v1/", "/api/v1/dead-letters/1-abcd/nothing", "/debug/pprof/cmdline/x"} {
		request{path: path}.refused(t, address, 404, event.NotFound)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	address := admintest.Start(t, admin.DefaultConfig(), admintest.Sample().Deps())
	closing := request{method: "POST", path: "/api/v1/dead-letters/1-abcd/close", header: map[string]string{"Content-Type": "application/json"}}

	closing.body = `{"note":"` + strings.Repeat("x", 70<<10) + `"}`
	closing.refused(t, address, 413, event.PayloadTooLarge)
	closing.body = `{"note":"` + strings.Repeat("x", ops.MaxNoteBytes+1) + `"}`
	closing.refused(t, address, 400, event.BadRequest)

	resp, _ := request{path: "/livez", header: map[string]string{"X-Big": strings.Repeat("x", 32<<10)}}.send(t, address)
	if resp.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("32 KiB of headers: %d", resp.status)
	}
}

func TestSlowHeadersAreCutOff(t *testing.T) {
	t.Parallel()
	cfg := admin.DefaultConfig()
	cfg.ReadHeaderTimeout = 50 * time.Millisecond
	conn, err := net.Dial("tcp", admintest.Start(t, cfg, admintest.Sample().Deps()))
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
	address := admintest.Start(t, admin.DefaultConfig(), admintest.Sample().Deps())
	for given, kept := range map[string]bool{
		"req_a1": true, "a-b:c/d": true, "": false, "with space": false, `quo"te`: true, "naïve": false, strings.Repeat("x", admin.MaxTraceIDBytes+1): false,
	} {
		q := request{path: "/nowhere", header: map[string]string{"X-Request-Id": given}}
		p := q.refused(t, address, 404, event.NotFound)
		if (p.TraceID == given) != kept {
			t.Errorf("X-Request-Id %q: traceId %q", given, p.TraceID)
		}
	}
}

func TestTokenIsNoTraceID(t *testing.T) {
	t.Parallel()
	address := admintest.Start(t, withToken(), admintest.Sample().Deps())
	p := request{path: "/nowhere", header: map[string]string{"X-Request-Id": adminToken}}.refused(t, address, 401, ops.Unauthorized)
	if !strings.HasPrefix(p.TraceID, "req_") {
		t.Errorf("the trace id is %q", p.TraceID)
	}
}

func TestInternalErrorsAreNotShown(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	deps := m.Deps()
	deps.Worker = func() ops.WorkerStatus { panic("mongodb://root:hunter2@db") }
	address := admintest.Start(t, admin.DefaultConfig(), deps)
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
	m := admintest.Sample()
	server, err := admin.New(admin.DefaultConfig(), m.Deps())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if key == "" {
			return
		}
		for _, path := range []string{ops.EventsPath, ops.ShipmentsPath} {
			r, err := http.NewRequest(http.MethodGet, "http://localhost"+path+ops.EscapeSegment(key), nil)
			if err != nil {
				t.Fatalf("%q: %v", key, err)
			}
			r.URL = admin.OneSegmentKey(r.URL)
			if pattern := server.Pattern(r); !strings.HasPrefix(pattern, "GET "+path) {
				t.Fatalf("%q goes to %q", key, pattern)
			}
			var got string
			mux := http.NewServeMux()
			mux.HandleFunc(path+"{key...}", func(_ http.ResponseWriter, r *http.Request) { got = r.PathValue("key") })
			mux.ServeHTTP(httptest.NewRecorder(), r)
			if got != key {
				t.Fatalf("%q arrives as %q", key, got)
			}
		}
	})
}
