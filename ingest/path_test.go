package ingest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"github.com/fincart/courier-gateway/ingest/body"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ingest/payload"
)

// process runs raw bytes through the request path without a network. It reports
// false when they are no HTTP request, which is then answered like one that
// comes from the wire.
func (f *fixture) process(ctx *fasthttp.RequestCtx, raw []byte) bool {
	var r fasthttp.Request
	in := bufio.NewReader(bytes.NewReader(raw))
	err := r.Header.Read(in)
	if err == nil && !r.MayContinue() {
		err = r.ContinueReadBody(in, f.config.MaxBodyBytes, false)
	}
	ctx.Init(&r, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4711}, nil)
	if err != nil {
		f.handleBroken(ctx, err)
		return false
	}
	f.handle(ctx)
	return true
}

// processStream is process for a body that is read as it comes, as on the wire.
func (f *fixture) processStream(ctx *fasthttp.RequestCtx, raw []byte) {
	ctx.Init(&fasthttp.Request{}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4711}, nil)
	in := bufio.NewReader(bytes.NewReader(raw))
	err := ctx.Request.Header.Read(in)
	if err == nil && !ctx.Request.MayContinue() {
		err = ctx.Request.ContinueReadBodyStream(in, f.config.MaxBodyBytes, false)
	}
	if err != nil {
		f.handleBroken(ctx, err)
		return
	}
	f.handle(ctx)
}

// moody is a queue that takes an event in one of the ways in which queues do.
type moody struct {
	memory
	mood byte
}

// The moods; any other stores the event.
const (
	moodDuplicate = 1 + iota
	moodConflict
	moodDown
	moodFull
	moodTooLarge
	moods
)

func (m *moody) duplicate() bool {
	return m.mood%moods == moodDuplicate || m.mood%moods == moodConflict
}

func (m *moody) Publish(ctx context.Context, e *event.Envelope) (event.Receipt, error) {
	switch m.mood % moods {
	case moodDown:
		return event.Receipt{}, event.Errorf(event.DependencyDown, "publish", "not connected")
	case moodFull:
		return event.Receipt{}, event.Errorf(event.IntakeUnavailable, "publish", "full")
	case moodTooLarge:
		return event.Receipt{}, event.Errorf(event.PayloadTooLarge, "publish", "too large")
	}
	r, err := m.memory.Publish(ctx, e)
	r.Duplicate, r.Conflict = m.duplicate(), m.mood%moods == moodConflict
	return r, err
}

// FuzzPath sends anything through the whole path, with a good signature and
// without, to a queue of any mood, and checks what must hold for every request.
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
		{"POST", "/v1/events/courier/unknown?x=1#y", "Content-Type: application/json\r\n", goodBody, false},
		{"POST", "/v1/events/courier", "Transfer-Encoding: chunked\r\n", "1\r\nx\r\n0\r\n\r\n", false},
		{"POST", "/v1/events/courier", "Content-Type: multipart/form-data; boundary=x\r\n", "--x--", false},
		{"GET", "/health", "", "", false},
		{"HEAD", "http://h/v1/events/courier", "Expect: 100-continue\r\n", "", false},
		{"OPTIONS", "*", "", "", false},
		{"\x00", "\r\n", ":", "\xff", false},
		{"POST", "/v1/events/courier/mapped", "Content-Type: application/json\r\nX-Event-Id: \xc3\xbc\"\r\n", mappedBody, true},
		{"POST", "/v1/events/courier/mapped", "Content-Type: application/json\r\n", strings.Replace(mappedBody, "4711", `"\u00fc\n"`, 1), true},
		{"POST", "/v1/events/courier/mapped", "Content-Type: application/json\r\n", goodBody, true},
		{"POST", "/v1/events/courier/watched", "Content-Type: application/json\r\n", mappedBody, true},
		{"POST", "/v1/events/courier/watched", "X-Forwarded-For: 192.0.2.9, 192.0.2.1\r\n", "demo-secret\xff", false},
		{"POST", "/v1/events/courier/unknown?to=demo-secret&%64emo-secret", "Authorization: x\r\nCookie: demo-secret\r\n", goodBody, false},
		{"GET", "/v1/events/courier/shaken?check=%3Cscript%3E%00", "", "", false},
		{"OPTIONS", "/v1/events/courier/shaken/", "WebHook-Request-Origin: a.example\r\n", "", false},
		{"POST", "/v1/events/courier/asked", "", "", false}, {"HEAD", "/v1/events/courier/asked", "", "", false},
		{"POST", "/v1/events/courier/asked", "X-Hook-Secret: a\r\n", "{}", false},
		{"POST", "/v1/events/courier/asked", "X-Hook-Secret: a\r\n", goodBody, false},
		{"POST", "/v1/events/courier/asked", "", `{"challenge":"\u003c"}`, false},
		{"POST", "/v1/events/courier/asked", "Content-Encoding: gzip\r\n", strings.Replace(goodBody, "{", `{"challenge":"x",`, 1), true},
		{"POST", "/v1/events/courier", "Content-Type: text/plain; charset=utf8\r\nContent-Encoding: gzip\r\n", zipped(goodBody), true},
		{"POST", "/v1/events/courier/mapped", "Content-Type: application/x-www-form-urlencoded\r\n", "payload=" + url.QueryEscape(mappedBody), true},
	} {
		for mood := range byte(moods) {
			f.Add(seed.method, seed.path, seed.headers, []byte(seed.body), seed.signed, mood)
		}
	}
	fx := prepare(f, func(c *Config) {
		c.MaxBodyBytes, c.TrustedProxies = 4096, prefixes("192.0.2.1/32")
		c.Records.BodyBytes, c.Records.PerSecond, c.Records.Burst = 1024, 1e9, 1e9
	})
	fx.set(f,
		Courier{Name: "mapped", Scheme: fx.demo, Decoder: mapped(f)}, Courier{Name: "watched", Scheme: fx.demo, Decoder: mapped(f), Observe: true},
		Courier{Name: "shaken", Scheme: fx.demo, Handshake: Handshake{EchoQuery: "check", CloudEvents: true}},
		Courier{Name: "asked", Scheme: fx.demo, Handshake: Handshake{Probe: true, Challenge: "challenge", EchoHeader: "X-Hook-Secret"}},
	)
	fx.records.put = fx.caught.put // and nothing is written
	f.Fuzz(func(t *testing.T, method, path, headers string, body []byte, signed bool, mood byte) {
		var raw bytes.Buffer
		raw.WriteString(method + " " + path + " HTTP/1.1\r\nHost: x\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n" + headers)
		if signed {
			for _, h := range fx.demo.Sign(body, noon) {
				raw.WriteString(h.Name + ": " + h.Value + "\r\n")
			}
		}
		raw.WriteString("\r\n")
		raw.Write(body)

		publisher := &moody{mood: mood}
		fx.deps.Publisher = publisher
		fx.caught.take()
		var ctx fasthttp.RequestCtx
		isRequest := fx.process(&ctx, raw.Bytes())
		checkAnswer(t, &ctx, isRequest, publisher)
		for i := range publisher.kept {
			checkEnvelope(t, &ctx, &publisher.kept[i])
		}
		if strings.Contains(fx.log.String(), "met a defect") {
			t.Fatalf("a defect: %s", fx.log)
		}
		for _, r := range fx.caught.take() {
			checkRecord(t, fx, &ctx, &r)
		}

		streamed := &moody{mood: mood}
		fx.deps.Publisher = streamed
		var again fasthttp.RequestCtx
		fx.processStream(&again, raw.Bytes())
		at, all := again.Response.StatusCode(), ctx.Response.StatusCode()
		same := len(streamed.kept) == len(publisher.kept) && (at == all || at >= 400 && all >= 400) // it may see something else first
		if !same || len(streamed.kept) > 0 && !bytes.Equal(streamed.kept[0].Body, publisher.kept[0].Body) {
			t.Fatalf("read at once it is answered %d, as it comes %d", all, at)
		}
		for _, r := range fx.caught.take() {
			if r.Code != event.BadRequest { // or read at once there is no body to compare with
				checkRecord(t, fx, &ctx, &r)
			}
		}
	})
}

// checkAnswer checks that the answer is well formed and says truly
// whether the event was kept.
func checkAnswer(t *testing.T, ctx *fasthttp.RequestCtx, isRequest bool, p *moody) {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(ctx.Response.String())), nil)
	if err != nil {
		t.Fatalf("the answer is not HTTP: %v\n%s", err, ctx.Response.String())
	}
	health := isRequest && string(ctx.URI().PathOriginal()) == healthPath
	success := res.StatusCode/100 == 2
	if success && isRequest && isHandshake(ctx) {
		checkHandshake(t, res, ctx, p)
		return
	}
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
	if success && d.Duplicate != p.duplicate() {
		t.Fatalf("a queue of mood %d: answered %s", p.mood%moods, ctx.Response.Body())
	}
	if (d.ErrorCode == "INVALID_PAYLOAD") != (len(d.Errors) > 0) {
		t.Fatalf("answered %s", ctx.Response.Body())
	}
}

func isHandshake(ctx *fasthttp.RequestCtx) bool {
	name, _ := courierIn(ctx.URI().PathOriginal())
	return string(name) == "shaken" && !ctx.IsPost() || string(name) == "asked" && (!ctx.IsPost() || !readable(ctx.Request.Body()))
}

// readable reports whether a body, packed or not, is a canonical event.
func readable(text []byte) bool {
	var e event.Event
	return len((*payload.Decoder)(nil).Decode(payload.Input{Body: unpacked(text)}, &e, nil)) == 0
}

// unpacked returns what a body holds that is packed, and any other as it is.
func unpacked(text []byte) []byte {
	if z, err := gzip.NewReader(bytes.NewReader(text)); err == nil {
		if plain, err := io.ReadAll(z); err == nil {
			return plain
		}
	}
	return text
}

// checkHandshake checks that a handshake says no more than it was asked for, and
// nothing that scripts.
func checkHandshake(t *testing.T, res *http.Response, ctx *fasthttp.RequestCtx, p *moody) {
	t.Helper()
	if len(p.kept) != 0 || res.StatusCode != 200 {
		t.Fatalf("a handshake is answered %d, %d events kept", res.StatusCode, len(p.kept))
	}
	body, h := ctx.Response.Body(), res.Header
	if name, _ := courierIn(ctx.URI().PathOriginal()); string(name) == "asked" {
		text, challenged := challengeIn(ctx.Request.Body(), "challenge")
		echo, asked := h.Get("X-Hook-Secret"), string(ctx.Request.Header.Peek("X-Hook-Secret"))
		if len(body) > 0 && (!challenged || string(body) != text) || echo != "" && echo != strings.TrimSpace(asked) {
			t.Fatalf("answers %q with %v", body, h)
		}
		return
	}
	switch {
	case ctx.IsGet():
		if !bytes.Equal(body, ctx.QueryArgs().Peek("check")) || len(body) > maxEchoBytes || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Content-Type") != plainText {
			t.Fatalf("echoes %q as %v", body, h)
		}
	case !ctx.IsOptions() || len(body) > 0 || h.Get("WebHook-Allowed-Origin") != string(ctx.Request.Header.Peek("WebHook-Request-Origin")):
		t.Fatalf("grants %q as %v", body, h)
	}
}

// checkRecord checks that what is kept of a request can be stored, shows no secret
// and is verified as the request is.
func checkRecord(t *testing.T, f *fixture, ctx *fasthttp.RequestCtx, r *ingestion.Record) {
	t.Helper()
	q := r.Request
	if q == nil || q.BodyBytes != len(ctx.Request.Body()) || !bytes.HasPrefix(ctx.Request.Body(), q.Body) || r.Status != ctx.Response.StatusCode() || r.Code == "" {
		t.Fatalf("recorded is %+v %+v", r, q)
	}
	if most := min(q.BodyBytes, 1024); len(q.Body) > most || len(q.Body) < most && !q.Redacted { // a secret ends it
		t.Fatalf("of %q there is %q", ctx.Request.Body(), q.Body)
	}
	texts := []string{q.Method, q.Path, q.Query, r.Detail, r.TraceID, r.Address, string(q.Body)}
	for _, h := range q.Headers {
		texts = append(texts, h.Name, h.Value)
	}
	for i, text := range texts {
		if strings.Contains(text, "demo-secret") || strings.Contains(text, "plain-secret") && i != 6 || i != 6 && !utf8.ValidString(text) {
			t.Fatalf("kept is %q", text)
		}
	}
	if r.Courier == "" || r.Courier == "plain" || q.Redacted || !q.Whole() || !utf8.Valid(ctx.Request.Header.RawHeaders()) || len(ctx.Request.Header.Peek("Transfer-Encoding")) > 0 {
		return
	}
	_, whole := f.demo.Verify(&call{ctx: ctx, body: &body.Body{Bytes: ctx.Request.Body()}}, noon)
	_, kept := f.demo.Verify(&Captured{q}, noon)
	if fmt.Sprint(whole) != fmt.Sprint(kept) {
		t.Fatalf("the request says %v, what is kept of it %v", whole, kept)
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
	watched := e.Courier == "watched"
	if e.Scheme != "gateway" || e.KeyID != "k1" && (!watched || e.KeyID != keyIDObserved) || !e.ReceivedAt.Equal(noon) || e.Replay != "" {
		t.Errorf("envelope %+v", e)
	}
	sent := ctx.Request.Body()
	if len(ctx.Request.Header.Peek("Content-Encoding")) > 0 && !bytes.Equal(e.Body, sent) {
		sent = unpacked(sent)
	}
	if !bytes.Equal(e.Body, sent) {
		t.Errorf("the body changed from %q to %q", ctx.Request.Body(), e.Body)
	}
	switch id, key := said(t, ctx, e); {
	case watched && e.EventID == event.BodyHash(e.Body) && e.Key == e.EventID:
	case e.EventID != id || e.Key != key:
		t.Errorf("the envelope says %q and %q, the body %q", e.EventID, e.Key, e.Body)
	}
	h := &ctx.Request.Header
	parent := string(h.Peek("Traceparent"))
	if e.TraceID != string(h.Peek("X-Request-Id")) && !strings.HasPrefix(e.TraceID, tracePrefix) && !strings.Contains(parent, e.TraceID) {
		t.Errorf("the trace id %q comes from nowhere", e.TraceID)
	}
}

// said returns what the body says of the event's id and key.
func said(t *testing.T, ctx *fasthttp.RequestCtx, e *event.Envelope) (id, key string) {
	t.Helper()
	if e.Courier == "mapped" || e.Courier == "watched" {
		var ev event.Event
		mapped(t).Decode(payload.Input{Body: e.Body, Headers: &call{ctx: ctx, body: &body.Body{Bytes: ctx.Request.Body()}}, Received: noon}, &ev, nil)
		return ev.ID, ev.Key
	}
	var doc map[string]any
	text := bytes.TrimPrefix(e.Body, []byte("\ufeff"))
	if form, err := url.ParseQuery(string(e.Body)); err == nil && len(form["payload"]) == 1 && !json.Valid(text) {
		text = bytes.TrimPrefix([]byte(form["payload"][0]), []byte("\ufeff"))
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatalf("the body %q is not JSON: %v", e.Body, err)
	}
	id, _ = doc["eventId"].(string)
	key, _ = doc["idempotencyKey"].(string)
	return id, key
}

// discard is a Publisher that keeps nothing.
type discard struct{}

func (discard) Publish(context.Context, *event.Envelope) (event.Receipt, error) {
	return event.Receipt{Sequence: 1}, nil
}

// warm returns a function that handles one request, without a network.
func (f *fixture) warm(t testing.TB, raw string, status int) func() {
	t.Helper()
	f.deps.Publisher = discard{}
	var ctx fasthttp.RequestCtx
	if !f.process(&ctx, []byte(raw)) || ctx.Response.StatusCode() != status {
		t.Fatalf("answered %s", ctx.Response.String())
	}
	return func() {
		ctx.Response.Reset()
		f.handle(&ctx)
		if ctx.Response.StatusCode() != status {
			t.Fatalf("answered %s", ctx.Response.String())
		}
	}
}

// usual returns a good request as couriers send it.
func (f *fixture) usual() string {
	return f.raw(f.demo, "/v1/events/courier/demo", goodBody, "User-Agent: courier/1.0", "Accept: */*")
}

// BenchmarkHandler measures a request from its parsed form to its answer, with
// a Publisher that does nothing.
func BenchmarkHandler(b *testing.B) {
	f := prepare(b, nil)
	handle := f.warm(b, f.usual(), 202)
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
	text := strings.Replace(goodBody, "}}", `,"note":"`+strings.Repeat("x", 330-len(goodBody)-len(`,"note":""`))+`"}}`, 1)
	f.process(&ctx, []byte(f.raw(f.demo, "/v1/events/courier/demo", text)))
	c := f.begin(&ctx)
	c.table = f.couriers.active.Load()
	c.courier = c.table.find([]byte("demo"))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if refusal := f.receive(c); refusal != nil {
			b.Fatal(refusal)
		}
	}
}

// BenchmarkMapped is BenchmarkHandler for a courier with a mapping and every limit,
// behind a proxy.
func BenchmarkMapped(b *testing.B) {
	f := prepare(b, nil)
	handle := f.warm(b, f.withEverySetting(b), 202)
	b.SetBytes(int64(len(mappedBody)))
	b.ReportAllocs()
	for b.Loop() {
		handle()
	}
}

// withEverySetting makes a courier with every setting that there is and returns its request.
func (f *fixture) withEverySetting(t testing.TB) string {
	f.trusted = prefixes("192.0.2.1/32")
	s := stripes(t)
	f.set(t, Courier{
		Name: "acme", Scheme: s, Decoder: mapped(t), Networks: prefixes("2001:db8::/32", "198.51.100.0/24"),
		RatePerSecond: 1e9, RateBurst: 1 << 40, MaxConcurrent: 10, MaxBodyBytes: 10_000,
	})
	return f.raw(s, "/v1/events/courier/acme", mappedBody, "X-Forwarded-For: 203.0.113.1, 198.51.100.7:4711", "X-Event-Id: e-1")
}

// BenchmarkRefused measures a wrong signature, which is what a flood is made of.
func BenchmarkRefused(b *testing.B) {
	f := prepare(b, nil)
	handle := f.warm(b, f.badly("demo"), 401)
	b.ReportAllocs()
	for b.Loop() {
		handle()
	}
}
