package ingest

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

func TestAccepted(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	r := f.request(f.demo, "/v1/events/courier", goodBody)
	r.Header.Set("X-Request-Id", "trace-1")
	a := send(t, r)
	want := `{"acknowledged":true,"eventId":"evt_123","idempotencyKey":"courier-x:evt_123","traceId":"trace-1","queued":true,"duplicate":false,"receivedAt":"2026-02-26T12:00:01.234Z"}`
	if a.StatusCode != 202 || string(a.body) != want || a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("got %d %s %s, want 202 application/json %s", a.StatusCode, a.Header.Get("Content-Type"), a.body, want)
	}
	if got := a.Header.Get("X-Request-Id"); got != "trace-1" {
		t.Errorf("x-request-id is %q", got)
	}
	again := send(t, f.request(f.demo, "/v1/events/courier/demo", goodBody))
	if d := again.document(t); again.StatusCode != 202 || !d.Duplicate || !d.Queued || !*d.Acknowledged {
		t.Errorf("a duplicate is answered %d %s", again.StatusCode, again.body)
	}
	if n := len(f.publisher.all()); n != 1 {
		t.Errorf("%d events kept, want 1", n)
	}
}

func TestWaysToAddressTheIntake(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	for _, target := range []string{
		"/v1/events/courier", "/v1/events/courier/demo", "/v1/events/courier?x=1", "/v1/events/courier/demo?", "http://elsewhere/v1/events/courier/demo",
	} {
		c := f.dial(t)
		c.send(t, f.raw(f.demo, target, goodBody))
		if a := c.answer(t); a.StatusCode != 202 {
			t.Errorf("%s: got %d %s", target, a.StatusCode, a.body)
		}
	}
	for _, target := range []string{"/v1/events/courier/%64emo", "/v1/events/courier/dem%6f", "/V1/events/courier"} {
		c := f.dial(t)
		c.send(t, f.raw(f.demo, target, goodBody))
		if a := c.answer(t); a.StatusCode != 404 {
			t.Errorf("%s: got %d %s", target, a.StatusCode, a.body)
		}
	}
}

func TestCourierChoosesItsStatus(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	if a := send(t, f.request(f.plain, "/v1/events/courier/plain", goodBody)); a.StatusCode != 200 || !*a.document(t).Acknowledged {
		t.Errorf("got %d %s, want 200 and the usual members", a.StatusCode, a.body)
	}
}

func TestEnvelope(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	// Members, white space and order that are not known here travel untouched.
	body := " " + strings.Replace(goodBody, `"payload":{`, `"zone":{"b":1.50,"a":[null,"\u00e9"],"a":2}, "payload":{"weight":1e3,`, 1) + "\n"
	r := f.request(f.plain, "/v1/events/courier/plain", body)
	r.Header.Set("X-Request-Id", "trace-1")
	for _, name := range []string{"Nats-Rollup", "Nats-TTL", "Gw-Courier", "Gw-Key", "Nats-Msg-Id"} {
		r.Header.Set(name, "all")
	}
	if a := send(t, r); a.StatusCode != 200 {
		t.Fatalf("got %d %s", a.StatusCode, a.body)
	}
	got := f.publisher.all()[0]
	want := event.Envelope{
		Courier: "plain", EventID: "evt_123", Key: "courier-x:evt_123", TraceID: "trace-1",
		ReceivedAt: noon, Scheme: "gateway-body", KeyID: "k1", Stamp: got.Stamp,
	}
	if string(got.Body) != body {
		t.Errorf("the body changed on its way:\n%q\n%q", got.Body, body)
	}
	if !f.deps.Stamper.Verify(&got) {
		t.Error("the stamp is not valid")
	}
	got.Body = nil
	if gotHeaders, wantHeaders := headersOf(&got), headersOf(&want); gotHeaders != wantHeaders || !got.ReceivedAt.Equal(noon) {
		t.Errorf("got envelope\n%s\nwant\n%s", gotHeaders, wantHeaders)
	}
}

func headersOf(e *event.Envelope) string {
	var b strings.Builder
	for name, value := range e.Headers {
		b.WriteString(name + ": " + value + "\n")
	}
	return b.String()
}

// refused is a row of the table of refusals.
type refused struct {
	name   string
	change func(f *fixture, r *http.Request)
	status int
	code   event.Code
	detail string // part of it
}

func setHeader(name, value string) func(*fixture, *http.Request) {
	return func(_ *fixture, r *http.Request) { r.Header.Set(name, value) }
}

func to(path string) func(*fixture, *http.Request) {
	return func(_ *fixture, r *http.Request) { r.URL.Path = path }
}

func by(method string) func(*fixture, *http.Request) {
	return func(_ *fixture, r *http.Request) { r.Method = method }
}

func signedAt(d time.Duration) func(*fixture, *http.Request) {
	return func(f *fixture, r *http.Request) {
		for _, h := range f.demo.Sign([]byte(goodBody), noon.Add(d)) {
			r.Header.Set(h.Name, h.Value)
		}
	}
}

func failing(err error) func(*fixture, *http.Request) {
	return func(f *fixture, _ *http.Request) { f.publisher.fail(err) }
}

var refusedRequests = []refused{
	{"no signature", func(_ *fixture, r *http.Request) { r.Header.Del("X-Signature") }, 401, event.InvalidSignature, "x-signature is missing"},
	{"no timestamp", func(_ *fixture, r *http.Request) { r.Header.Del("X-Signature-Timestamp") }, 401, event.InvalidSignature, "x-signature-timestamp is missing"},
	{"no algorithm", func(_ *fixture, r *http.Request) { r.Header.Del("X-Signature-Algorithm") }, 401, event.InvalidSignature, "x-signature-algorithm is missing"},
	{"signature not hex", setHeader("X-Signature", "nonsense"), 401, event.InvalidSignature, "not a hex digest"},
	{"signature wrong", setHeader("X-Signature", strings.Repeat("0f", 32)), 401, event.InvalidSignature, "does not match"},
	{"signature doubled", func(_ *fixture, r *http.Request) { r.Header.Add("X-Signature", strings.Repeat("0f", 32)) }, 401, event.InvalidSignature, "more than once"},
	{"algorithm wrong", setHeader("X-Signature-Algorithm", "hmac-md5"), 401, event.InvalidSignature, "not allowed"},
	{"stale", signedAt(-301 * time.Second), 401, event.InvalidSignature, "in the past"},
	{"from the future", signedAt(303 * time.Second), 401, event.InvalidSignature, "in the future"},
	{"signed by another courier", to("/v1/events/courier/plain"), 401, event.InvalidSignature, "does not match"},
	{"unknown courier", to("/v1/events/courier/unknown"), 404, event.UnknownCourier, "no courier of this name"},
	{"courier that can't be", to("/v1/events/courier/DEMO"), 404, event.UnknownCourier, "no courier of this name"},
	{"two slashes at the end", to("/v1/events/courier//"), 404, event.NotFound, "/v1/events/courier/{courier}"},
	{"slashes behind the courier", to("/v1/events/courier/demo//"), 404, event.NotFound, "/v1/events/courier/{courier}"},
	{"one segment too many", to("/v1/events/courier/demo/x"), 404, event.NotFound, ""},
	{"longer word", to("/v1/events/couriers"), 404, event.NotFound, ""},
	{"elsewhere", to("/"), 404, event.NotFound, ""},
	{"doubled slash", to("//v1/events/courier"), 404, event.NotFound, ""},
	{"dots", to("/v1/x/../events/courier"), 404, event.NotFound, ""},
	{"by GET", by("GET"), 405, event.MethodNotAllowed, "POST"},
	{"by PUT", by("PUT"), 405, event.MethodNotAllowed, "POST"},
	{"by DELETE", by("DELETE"), 405, event.MethodNotAllowed, "POST"},
	{"picture", setHeader("Content-Type", "image/png"), 415, event.UnsupportedMediaType, "application/json"},
	{"multipart", setHeader("Content-Type", "multipart/form-data; boundary=x"), 415, event.UnsupportedMediaType, "application/json"},
	{"other charset", setHeader("Content-Type", "application/json; charset=utf-16"), 415, event.UnsupportedMediaType, "UTF-8"},
	{"compressed by another coding", setHeader("Content-Encoding", "br"), 415, event.UnsupportedMediaType, "content-encoding"},
	{"said to be compressed", setHeader("Content-Encoding", "gzip"), 400, event.InvalidPayload, "unpacked"},
	{"broker full", failing(event.Errorf(event.IntakeUnavailable, "publish", "store is full at %d", 7)), 503, event.IntakeUnavailable, "send it again"},
	{"broker failing oddly", failing(errors.New("hidden detail")), 503, event.IntakeUnavailable, "send it again"},
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for _, tc := range refusedRequests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := start(t, nil)
			r := f.request(f.demo, "/v1/events/courier", goodBody)
			tc.change(f, r)
			a := send(t, r)
			expectProblem(t, a, tc.status, tc.code, tc.detail)
			if n := len(f.publisher.all()); n != 0 {
				t.Errorf("%d events kept", n)
			}
			if got := a.Header.Get("Allow"); (a.StatusCode == 405) != (got == "POST") {
				t.Errorf("Allow is %q", got)
			}
		})
	}
}

// expectProblem checks everything that problem documents have in common.
func expectProblem(t testing.TB, a *answered, status int, code event.Code, detail string) {
	t.Helper()
	if a.Request != nil && a.Request.Method == http.MethodHead {
		return
	}
	d := a.document(t)
	if a.StatusCode != status || d.Status != status || d.ErrorCode != string(code) || !strings.Contains(d.Detail, detail) {
		t.Errorf("got %d %s, want %d %s with %q", a.StatusCode, a.body, status, code, detail)
	}
	if d.Acknowledged == nil || *d.Acknowledged || d.Title == "" || d.Message == "" || d.TraceID == "" {
		t.Errorf("members are missing or wrong in %s", a.body)
	}
	if want := "urn:courier-gateway:problem:" + strings.ReplaceAll(strings.ToLower(string(code)), "_", "-"); d.Type != want {
		t.Errorf("type is %q, want %q", d.Type, want)
	}
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content-type is %q", got)
	}
	if got := a.Header.Get("Retry-After"); (status == 503 || status == 429) != (got == "1") {
		t.Errorf("Retry-After is %q", got)
	}
	if strings.Contains(string(a.body), "hidden") || strings.Contains(string(a.body), "store is full") {
		t.Errorf("the answer shows the inside: %s", a.body)
	}
	if (len(d.Errors) > 0) != (code == event.InvalidPayload) {
		t.Errorf("errors are %v", d.Errors)
	}
}

func TestEveryFaultIsListed(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	for _, tc := range []struct {
		name, body string
		paths      []string
	}{
		{"empty", "", []string{"$"}},
		{"null", "null", []string{"$"}},
		{"array", "[{}]", []string{"$"}},
		{"cut off", goodBody[:100], []string{"$"}},
		{"two documents", goodBody + goodBody, []string{"$"}},
		{"invalid UTF-8", strings.Replace(goodBody, "evt", "\xff", 1), []string{"$"}},
		{"depth bomb", strings.Repeat("[", 100_000), []string{"$"}},
		{"nothing there", "{}", []string{"eventId", "eventType", "occurredAt", "source", "idempotencyKey", "payload"}},
		{"wrong types", `{"eventId":1e999999,"eventType":[],"occurredAt":true,"source":null,"idempotencyKey":{},"payload":{"shipmentId":7}}`,
			[]string{"eventId", "eventType", "occurredAt", "source", "idempotencyKey", "payload.shipmentId"}},
		{"doubled", strings.Replace(goodBody, `"orderId"`, `"shipmentId":"other","orderId"`, 1), []string{"payload.shipmentId"}},
		{"header injection", strings.Replace(goodBody, "evt_123", `evt\r\nNats-Rollup: all`, 2), []string{"eventId", "idempotencyKey"}},
	} {
		a := send(t, f.request(f.demo, "/v1/events/courier", tc.body))
		expectProblem(t, a, 400, event.InvalidPayload, "")
		var paths []string
		for _, e := range a.document(t).Errors {
			paths = append(paths, e.Path)
			if e.Message == "" {
				t.Errorf("%s: a fault says nothing: %s", tc.name, a.body)
			}
		}
		if !slices.Equal(paths, tc.paths) {
			t.Errorf("%s: faults at %v, want %v", tc.name, paths, tc.paths)
		}
	}
	if n := len(f.publisher.all()); n != 0 {
		t.Errorf("%d events kept", n)
	}
}

func TestFaultsAreBounded(t *testing.T) {
	t.Parallel()
	r := refusal{problem: badPayload, faults: make(event.Faults, maxFaults+10)}
	if n := strings.Count(string(appendProblem(nil, &r, "t")), `"path"`); n != maxFaults {
		t.Errorf("%d faults in the answer, want %d", n, maxFaults)
	}
}
