package ingest

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/payload"
	"github.com/fincart/courier-gateway/ingest/signature"
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

// post sends a body, which nothing signs, unless headers do.
func (f *fixture) post(t testing.TB, target, body string, headers ...string) *answered {
	t.Helper()
	r, err := http.NewRequest("POST", "http://"+f.addr+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	return send(t, r)
}

// signing returns the headers that sign a body.
func signing(s *signature.Scheme, body string) (headers []string) {
	for _, h := range s.Sign([]byte(body), noon) {
		headers = append(headers, h.Name+": "+h.Value)
	}
	return headers
}

// TestProbes: an address is found to be there by a request that says nothing.
func TestProbes(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	shown := credential(t, "bearer", "s3cret-bearer", signature.Place{})
	f.set(t,
		Courier{Name: "probed", Scheme: f.plain, Handshake: Handshake{Probe: true}},
		Courier{Name: "shown", Scheme: shown, Handshake: Handshake{Probe: true}},
		Courier{Name: "own", Scheme: f.plain, Handshake: Handshake{Probe: true, EchoQuery: "c"},
			Success: Success{Status: 204, Headers: []Header{{"X-Own", "yes"}}}},
		Courier{Name: "watched", Scheme: f.plain, Handshake: Handshake{Probe: true}, Observe: true},
		Courier{Name: "rated", Scheme: f.plain, Handshake: Handshake{Probe: true}, RatePerSecond: 1, RateBurst: 1},
	)
	const path = "/v1/events/courier/"
	for _, a := range []*answered{
		f.ask(t, "GET", path+"probed"), f.ask(t, "HEAD", path+"probed?x=y"), f.ask(t, "POST", path+"probed"), f.ask(t, "POST", path+"probed/"),
		f.post(t, path+"probed", "", "Content-Type: application/json"), f.post(t, path+"watched", ""), f.ask(t, "GET", path+"own"), f.ask(t, "GET", path+"rated"),
	} {
		if a.StatusCode != 200 || len(a.body) != 0 {
			t.Errorf("%s %s: got %d %s", a.Request.Method, a.Request.URL, a.StatusCode, a.body)
		}
	}
	if a := f.ask(t, "GET", path+"own?c=d"); string(a.body) != "d" || a.Header.Get("X-Own") != "yes" {
		t.Errorf("got %s %v", a.body, a.Header)
	}
	for _, body := range []string{" ", "{}", "[]", "null", goodBody} {
		expectProblem(t, f.post(t, path+"probed", body, "Content-Type: application/json"), 401, event.InvalidSignature, "")
	}
	for name, s := range map[string]*signature.Scheme{"probed": f.plain, "shown": shown} { // as a redirect leaves an event
		for _, header := range signing(s, "") {
			expectProblem(t, f.ask(t, "GET", path+name, header), 405, event.MethodNotAllowed, "")
			if a := f.ask(t, "HEAD", path+name, header); a.StatusCode != 405 {
				t.Errorf("HEAD with %s is answered %d", header, a.StatusCode)
			}
		}
		expectProblem(t, f.post(t, path+name, "", append(signing(s, ""), "Content-Type: application/json")...), 400, event.InvalidPayload, "")
	}
	expectProblem(t, f.ask(t, "PUT", path+"probed"), 405, event.MethodNotAllowed, "")
	expectProblem(t, f.ask(t, "GET", path+"plain"), 405, event.MethodNotAllowed, "")
	expectProblem(t, f.post(t, path+"plain", ""), 401, event.InvalidSignature, "")
	expectProblem(t, f.ask(t, "POST", path+"rated"), 429, event.RateLimited, "")
	if got, _ := f.metric(t, "requests_total code=HANDSHAKE courier=probed"); got != 5 || len(f.publisher.all()) != 0 {
		t.Errorf("%v handshakes are counted, %d events are queued", got, len(f.publisher.all()))
	}
}

// TestChallenges: what is sent back is never an event, and an event is never a challenge.
func TestChallenges(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	flat, err := payload.NewDecoder(payload.Mapping{
		EventID: []string{"{id}"}, Type: []string{"{type}"}, Time: payload.TimeMapping{From: []string{"{at}"}, Received: true},
		ShipmentID: []string{"{parcel}"}, Status: []string{"{state}", "{type}"},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.set(t,
		Courier{Name: "text", Scheme: f.plain, Handshake: Handshake{Challenge: "challenge"}},
		Courier{Name: "json", Scheme: f.plain, Handshake: Handshake{Challenge: "challenge", ChallengeAnswer: "json"}},
		Courier{Name: "watched", Scheme: f.plain, Handshake: Handshake{Challenge: "challenge"}, Observe: true},
		Courier{Name: "flat", Scheme: f.plain, Handshake: Handshake{Challenge: "challenge"}, Decoder: flat},
		Courier{Name: "header", Scheme: f.plain, Handshake: Handshake{EchoHeader: "X-Hook-Secret"}},
	)
	const path = "/v1/events/courier/"
	const question = `{"token":"x","challenge":"3eZ\u00e9\"<b>","type":"url_verification"}`
	event1 := strings.Replace(goodBody, `{`, `{"challenge":"c",`, 1)
	for _, tc := range []struct {
		name, courier, body string
		headers             []string
		signed              bool
		status              int
		answer, kind, echo  string
		queued              int
	}{
		{"as text", "text", question, nil, false, 200, `3eZé"<b>`, "text/plain; charset=utf-8", "", 0},
		{"as JSON", "json", question, nil, false, 200, `{"challenge":"3eZé\"<b>"}`, "application/json", "", 0},
		{"signed", "text", question, nil, true, 200, `3eZé"<b>`, "text/plain; charset=utf-8", "", 0},
		{"observed", "watched", question, nil, false, 200, `3eZé"<b>`, "text/plain; charset=utf-8", "", 0},
		{"in an event that is not signed", "text", event1, nil, false, 401, "", "", "", 0},
		{"in an event", "text", event1, nil, true, 202, "", "", "", 1},
		{"in an event that can't be read", "text", strings.Replace(event1, "shp_456", "", 1), nil, true, 400, "", "", "", 0},
		{"in a short event that can't be read", "text", `{"challenge":"c","eventId":"e"}`, nil, true, 400, "", "", "", 0},
		{"in an event that can't be read, observed", "watched", strings.Replace(event1, "shp_456", "", 1), nil, true, 202, "", "", "", 1},
		{"among many members", "text", `{"challenge":"c","a":1,"b":2,"c":3,"d":4}`, nil, true, 400, "", "", "", 0},
		{"beside an object", "text", `{"challenge":"c","a":{"b":1}}`, nil, true, 400, "", "", "", 0},
		{"mapped", "flat", question, nil, false, 200, `3eZé"<b>`, "text/plain; charset=utf-8", "", 0},
		{"in a mapped event without a shipment", "flat", `{"challenge":"c","id":"e1","type":"x"}`, nil, true, 400, "", "", "", 0},
		{"in a mapped event with nothing but its state", "flat", `{"challenge":"c","state":"lost"}`, nil, true, 400, "", "", "", 0},
		{"twice", "text", `{"challenge":"a","challenge":"b"}`, nil, false, 401, "", "", "", 0},
		{"no text", "text", `{"challenge":7}`, nil, false, 401, "", "", "", 0},
		{"empty", "text", `{"challenge":""}`, nil, false, 401, "", "", "", 0},
		{"below", "text", `{"a":{"challenge":"x"}}`, nil, false, 401, "", "", "", 0},
		{"half a surrogate pair", "text", `{"challenge":"\ud83d"}`, nil, false, 401, "", "", "", 0},
		{"long", "text", `{"challenge":"` + strings.Repeat("x", maxEchoBytes+1) + `"}`, nil, false, 401, "", "", "", 0},
		{"broken", "text", question + "}", nil, false, 401, "", "", "", 0},
		{"not asked for", "header", question, nil, false, 401, "", "", "", 0},
		{"header", "header", "", []string{"X-Hook-Secret: b537-2"}, false, 200, "", "", "b537-2", 0},
		{"header, with a body", "header", "{}", []string{"X-Hook-Secret: b537-2"}, false, 200, "", "", "b537-2", 0},
		{"two headers", "header", "{}", []string{"X-Hook-Secret: a", "X-Hook-Secret: b"}, false, 400, "", "", "", 0},
		{"header with spaces", "header", "{}", []string{"X-Hook-Secret: a b"}, false, 400, "", "", "", 0},
		{"header of an event that is not signed", "header", goodBody, []string{"X-Hook-Secret: a"}, false, 401, "", "", "", 0},
		{"header of an event", "header", goodBody, []string{"X-Hook-Secret: a"}, true, 202, "", "", "", 1},
		{"header of an event that can't be read", "header", strings.Replace(goodBody, "shp_456", "", 1), []string{"X-Hook-Secret: a"}, true, 400, "", "", "", 0},
		{"header, with a blank body", "header", " { }\n", []string{"X-Hook-Secret: a"}, false, 200, "", "", "a", 0},
		{"header of a packed event", "header", zipped(bodyWithKey("k2")), []string{"X-Hook-Secret: a", "Content-Encoding: gzip"}, true, 202, "", "", "", 1},
		{"other header", "text", "{}", []string{"X-Hook-Secret: a"}, false, 401, "", "", "", 0},
	} {
		before := len(f.publisher.all())
		headers := tc.headers
		if tc.signed {
			headers = append(headers, signing(f.plain, tc.body)...)
		}
		a := f.post(t, path+tc.courier, tc.body, headers...)
		if a.StatusCode != tc.status || tc.status == 200 && string(a.body) != tc.answer || a.Header.Get("X-Hook-Secret") != tc.echo {
			t.Errorf("%s: got %d %s %v", tc.name, a.StatusCode, a.body, a.Header)
		}
		if tc.kind != "" && (a.Header.Get("Content-Type") != tc.kind || a.Header.Get("X-Content-Type-Options") != "nosniff") {
			t.Errorf("%s: answered with %v", tc.name, a.Header)
		}
		if n := len(f.publisher.all()) - before; n != tc.queued {
			t.Errorf("%s: %d events are queued, want %d", tc.name, n, tc.queued)
		}
		f.publisher.mu.Lock()
		f.publisher.kept = nil
		f.publisher.mu.Unlock()
	}
	expectProblem(t, f.ask(t, "GET", path+"header", append(signing(f.plain, ""), "X-Hook-Secret: c")...), 405, event.MethodNotAllowed, "")
	if a := f.ask(t, "GET", path+"header", "X-Hook-Secret: c"); a.StatusCode != 200 || a.Header.Get("X-Hook-Secret") != "c" {
		t.Errorf("by GET: got %d %v", a.StatusCode, a.Header)
	}
}

// TestCredentialsAreAskedFor: a 401 asks for the credential that clients wait to be asked for,
// and for no other.
func TestCredentialsAreAskedFor(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	var couriers []Courier
	for _, name := range []string{"basic", "bearer"} {
		s, err := signature.New(signature.Config{Scheme: name, Secrets: []signature.Secret{{ID: "k1", Key: []byte("user:password")}}})
		if err != nil {
			t.Fatal(err)
		}
		couriers = append(couriers, Courier{Name: name, Scheme: s})
	}
	f.set(t, couriers...)
	expectProblem(t, f.post(t, "/v1/events/courier/basic", ""), 401, event.InvalidSignature, "") // whatever its type is
	for _, tc := range []struct{ courier, authorization, want string }{
		{"basic", "", `Basic realm="events", charset="UTF-8"`}, {"basic", "Basic eDp5", `Basic realm="events", charset="UTF-8"`},
		{"bearer", "", `Bearer realm="events"`}, {"bearer", "Bearer x", `Bearer realm="events", error="invalid_token"`},
		{"plain", "", ""}, {"demo", "Basic eDp5", ""}, {"unknown", "", ""},
	} {
		var headers []string
		if tc.authorization != "" {
			headers = []string{"Authorization: " + tc.authorization}
		}
		a := f.post(t, "/v1/events/courier/"+tc.courier, goodBody, append(headers, "Content-Type: application/json")...)
		if got := a.Header.Get("WWW-Authenticate"); got != tc.want || a.StatusCode != 401 && tc.courier != "unknown" {
			t.Errorf("%s with %q: got %d, asked for %q, want %q", tc.courier, tc.authorization, a.StatusCode, got, tc.want)
		}
	}
}

func TestFaultsOfAnswers(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	for want, c := range map[string]Courier{
		"can't be the name of a header":         {Success: Success{Headers: []Header{{"a b", "c"}}}},
		"is the appliance's own":                {Success: Success{Headers: []Header{{"Content-Length", "1"}}}},
		"the value can't be in a header":        {Success: Success{Headers: []Header{{"X-A", "a\r\nX-B: c"}}}},
		"transfer-encoding of an answer is the": {Handshake: Handshake{EchoHeader: "transfer-encoding"}},
		`neither "text" nor "json"`:             {Handshake: Handshake{Challenge: "c", ChallengeAnswer: "xml"}},
		"there is no challenge":                 {Handshake: Handshake{ChallengeAnswer: "json"}},
	} {
		c.Name, c.Scheme = "one", f.plain
		if err := f.SetCouriers(Couriers{All: []Courier{c}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
