package ingest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/valyala/fasthttp"

	"github.com/fincart/courier-gateway/ingest/event"
)

// process runs raw bytes through the request path without a network. It reports
// false when they are no HTTP request, which is then answered like one that
// comes from the wire.
func (f *fixture) process(ctx *fasthttp.RequestCtx, raw []byte) bool {
	var r fasthttp.Request
	err := r.ReadLimitBody(bufio.NewReader(bytes.NewReader(raw)), f.config.MaxBodyBytes)
	ctx.Init(&r, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4711}, nil)
	if err != nil {
		f.handleBroken(ctx, err)
		return false
	}
	f.handle(ctx)
	return true
}

// FuzzPath sends anything through the whole path, with a good signature and
// without, and checks what must hold for every request.
func FuzzPath(f *testing.F) {
	for _, seed := range []struct {
		method, path, headers, body string
		signed                      bool
	}{
		{"POST", "/v1/events/courier", "Content-Type: application/json\r\n", goodBody, true},
		{"POST", "/v1/events/courier/demo", "Content-Type: application/json\r\nX-Request-Id: a\"b\r\n", goodBody, true},
		{"POST", "/v1/events/courier", "Content-Type: application/json\r\nTraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n", bodyWithKey("\\u00e9\\\""), true},
		{"POST", "/v1/events/courier", "Content-Type: application/json\r\nNats-Rollup: all\r\nGw-Key: x\r\n", goodBody, true},
		{"POST", "/v1/events/courier", "Content-Type: application/json\r\n", "{}", true},
		{"POST", "/v1/events/courier", "Content-Type: application/json\r\nX-Signature: x\r\n", goodBody, true},
		{"POST", "/v1/events/courier/nobody?x=1#y", "Content-Type: application/json\r\n", goodBody, false},
		{"POST", "/v1/events/courier", "Transfer-Encoding: chunked\r\n", "1\r\nx\r\n0\r\n\r\n", false},
		{"POST", "/v1/events/courier", "Content-Type: multipart/form-data; boundary=x\r\n", "--x--", false},
		{"GET", "/health", "", "", false},
		{"HEAD", "http://h/v1/events/courier", "Expect: 100-continue\r\n", "", false},
		{"OPTIONS", "*", "", "", false},
		{"\x00", "\r\n", ":", "\xff", false},
	} {
		f.Add(seed.method, seed.path, seed.headers, []byte(seed.body), seed.signed)
	}
	fx := prepare(f, func(c *Config) { c.MaxBodyBytes = 4096 })
	f.Fuzz(func(t *testing.T, method, path, headers string, body []byte, signed bool) {
		var raw bytes.Buffer
		raw.WriteString(method + " " + path + " HTTP/1.1\r\nHost: x\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n" + headers)
		if signed {
			for _, h := range fx.demo.Sign(body, noon) {
				raw.WriteString(h.Name + ": " + h.Value + "\r\n")
			}
		}
		raw.WriteString("\r\n")
		raw.Write(body)

		publisher := &memory{}
		fx.deps.Publisher = publisher
		var ctx fasthttp.RequestCtx
		isRequest := fx.process(&ctx, raw.Bytes())
		checkAnswer(t, &ctx, isRequest, publisher)
		for i := range publisher.kept {
			checkEnvelope(t, &ctx, &publisher.kept[i])
		}
		if strings.Contains(fx.log.String(), "met a defect") {
			t.Fatalf("a defect: %s", fx.log)
		}
	})
}

// checkAnswer checks that the answer is well formed and tells the truth on
// whether the event was kept.
func checkAnswer(t *testing.T, ctx *fasthttp.RequestCtx, isRequest bool, p *memory) {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(ctx.Response.String())), nil)
	if err != nil {
		t.Fatalf("the answer is not HTTP: %v\n%s", err, ctx.Response.String())
	}
	health := isRequest && string(ctx.URI().PathOriginal()) == healthPath
	success := res.StatusCode/100 == 2
	if success && !health && len(p.kept) != 1 || (!success || health) && len(p.kept) != 0 {
		t.Fatalf("answered %d with %d events kept", res.StatusCode, len(p.kept))
	}
	if success && !isRequest {
		t.Fatalf("answered %d to what is no request", res.StatusCode)
	}
	if health {
		return
	}
	var d document
	if err := json.Unmarshal(ctx.Response.Body(), &d); err != nil {
		t.Fatalf("the answer %q is not JSON: %v", ctx.Response.Body(), err)
	}
	if res.StatusCode == 500 {
		t.Fatalf("answered %s", ctx.Response.Body())
	}
	if d.Acknowledged == nil || *d.Acknowledged != success || d.TraceID == "" || d.TraceID != res.Header.Get("X-Request-Id") {
		t.Fatalf("answered %d %s, trace id %q", res.StatusCode, ctx.Response.Body(), res.Header.Get("X-Request-Id"))
	}
	if (d.ErrorCode == "INVALID_PAYLOAD") != (len(d.Errors) > 0) {
		t.Fatalf("answered %s", ctx.Response.Body())
	}
}

// checkEnvelope checks that nothing of the request but its trace id and what its
// signed body says got into the envelope's headers.
func checkEnvelope(t *testing.T, ctx *fasthttp.RequestCtx, e *event.Envelope) {
	t.Helper()
	for name, value := range e.Headers {
		if strings.ContainsFunc(value, unicode.IsControl) || strings.TrimSpace(value) != value {
			t.Errorf("header %s is %q", name, value)
		}
	}
	if e.Courier != "demo" || e.Scheme != "gateway" || e.KeyID != "k1" || !e.ReceivedAt.Equal(noon) || e.Replay != "" {
		t.Errorf("envelope %+v", e)
	}
	if !bytes.Equal(e.Body, ctx.Request.Body()) {
		t.Errorf("the body changed from %q to %q", ctx.Request.Body(), e.Body)
	}
	var said struct{ EventID, IdempotencyKey string }
	var doc map[string]any
	if err := json.Unmarshal(e.Body, &doc); err != nil {
		t.Fatalf("the body %q is not JSON: %v", e.Body, err)
	}
	said.EventID, _ = doc["eventId"].(string)
	said.IdempotencyKey, _ = doc["idempotencyKey"].(string)
	if e.EventID != said.EventID || e.Key != said.IdempotencyKey {
		t.Errorf("the envelope says %q and %q, the body %q", e.EventID, e.Key, e.Body)
	}
	h := &ctx.Request.Header
	parent := string(h.Peek("Traceparent"))
	if e.TraceID != string(h.Peek("X-Request-Id")) && !strings.HasPrefix(e.TraceID, tracePrefix) && !strings.Contains(parent, e.TraceID) {
		t.Errorf("the trace id %q comes from nowhere", e.TraceID)
	}
}

// discard is a Publisher that keeps nothing.
type discard struct{}

func (discard) Publish(context.Context, *event.Envelope) (event.Receipt, error) {
	return event.Receipt{Sequence: 1}, nil
}

// warm returns a function that handles one good request, without a network.
func warm(t testing.TB) func() {
	t.Helper()
	f := prepare(t, nil)
	f.deps.Publisher = discard{}
	var ctx fasthttp.RequestCtx
	if !f.process(&ctx, []byte(f.raw(f.demo, "/v1/events/courier/demo", goodBody, "User-Agent: courier/1.0", "Accept: */*"))) || ctx.Response.StatusCode() != 202 {
		t.Fatalf("answered %s", ctx.Response.String())
	}
	return func() {
		ctx.Response.Reset()
		f.handle(&ctx)
		if ctx.Response.StatusCode() != 202 {
			t.Fatalf("answered %s", ctx.Response.String())
		}
	}
}

// BenchmarkHandler measures a request from its parsed form to its answer, with
// a Publisher that does nothing.
func BenchmarkHandler(b *testing.B) {
	handle := warm(b)
	b.SetBytes(int64(len(goodBody)))
	b.ReportAllocs()
	for b.Loop() {
		handle()
	}
}

// BenchmarkReceive measures the part of it from the parsed request to the call
// of the Publisher: verify, decode, envelope and stamp.
func BenchmarkReceive(b *testing.B) {
	f := prepare(b, nil)
	f.deps.Publisher, f.deps.Now = discard{}, func() time.Time { return noon }
	var ctx fasthttp.RequestCtx
	body := strings.Replace(goodBody, "}}", `,"note":"`+strings.Repeat("x", 330-len(goodBody)-len(`,"note":""`))+`"}}`, 1)
	f.process(&ctx, []byte(f.raw(f.demo, "/v1/events/courier/demo", body)))
	c := f.begin(&ctx)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, no := f.receive(c, nil); no.code != "" {
			b.Fatal(no)
		}
	}
}

// BenchmarkRefused measures a wrong signature, which is what a flood is made of.
func BenchmarkRefused(b *testing.B) {
	f := prepare(b, nil)
	var ctx fasthttp.RequestCtx
	f.process(&ctx, []byte(strings.Replace(f.raw(f.demo, "/v1/events/courier/demo", goodBody), "shp_456", "shp_457", 1)))
	b.ReportAllocs()
	for b.Loop() {
		ctx.Response.Reset()
		if f.handle(&ctx); ctx.Response.StatusCode() != 401 {
			b.Fatalf("answered %s", ctx.Response.String())
		}
	}
}
