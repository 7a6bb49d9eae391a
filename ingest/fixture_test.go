package ingest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ingest/event/stamp"
	"github.com/fincart/courier-gateway/ingest/record"
	"github.com/fincart/courier-gateway/ingest/signature"
)

// patience bounds every wait of a test; it is only used up by a failure.
const patience = 5 * time.Second

var noon = time.Date(2026, 2, 26, 12, 0, 1, 234567891, time.UTC)

const goodBody = `{"eventId":"evt_123","eventType":"shipment.status.updated","occurredAt":"2026-02-26T12:00:00Z",
 "source":"courier-x","idempotencyKey":"courier-x:evt_123",
 "payload":{"shipmentId":"shp_456","orderId":"ord_789","status":"out_for_delivery"}}`

// memory is a Publisher that keeps what it is given.
type memory struct {
	mu     sync.Mutex
	kept   []event.Envelope
	err    error         // what Publish fails with
	held   chan struct{} // when not nil, Publish waits for it to be closed
	inside chan struct{} // when not nil, gets a value for each Publish that began
}

func (m *memory) Publish(ctx context.Context, e *event.Envelope) (event.Receipt, error) {
	if m.inside != nil {
		m.inside <- struct{}{}
	}
	if m.held != nil {
		select {
		case <-m.held:
		case <-ctx.Done():
			return event.Receipt{}, context.Cause(ctx)
		}
	}
	if e.Key == "panic" {
		panic("a defect")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return event.Receipt{}, m.err
	}
	for i := range m.kept {
		if m.kept[i].MsgID() == e.MsgID() {
			return event.Receipt{Sequence: uint64(i + 1), Duplicate: true, Conflict: !bytes.Equal(m.kept[i].Body, e.Body)}, nil
		}
	}
	m.kept = append(m.kept, cloned(e))
	return event.Receipt{Sequence: uint64(len(m.kept))}, nil
}

// cloned returns a copy of e that shares no memory with the request.
func cloned(e *event.Envelope) event.Envelope {
	out := *e
	for _, s := range []*string{&out.Courier, &out.EventID, &out.Key, &out.TraceID, &out.Scheme, &out.KeyID, &out.Stamp} {
		*s = strings.Clone(*s)
	}
	out.Body = bytes.Clone(e.Body)
	return out
}

func (m *memory) all() []event.Envelope {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]event.Envelope(nil), m.kept...)
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// recorded has everything written that the server has seen, and stops it.
func (f *fixture) recorded(t testing.TB) *book {
	t.Helper()
	if err := f.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	return f.book
}

// catcher keeps the records of single requests.
type catcher struct {
	mu      sync.Mutex
	records []ingestion.Record
}

func (c *catcher) put(r ingestion.Record, _ record.Class) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.records = append(c.records, r)
	return true
}

func (c *catcher) all() []ingestion.Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.records
}

// take returns the records and forgets them.
func (c *catcher) take() []ingestion.Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	records := c.records
	c.records = nil
	return records
}

// lines is a log in memory.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// clock is a settable clock.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func scheme(t testing.TB, name, secret string) *signature.Scheme {
	t.Helper()
	s, err := signature.New(signature.Config{
		Scheme: name, Secrets: []signature.Secret{{ID: "k1", Key: []byte(secret)}},
		TolerancePast: signature.DefaultTolerance, ToleranceFuture: signature.DefaultTolerance,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fixture is a server that listens on a port of its own.
type fixture struct {
	*Server
	addr      string
	publisher *memory
	book      *book
	caught    catcher // of the records of single requests that the server makes
	clock     *clock
	log       *lines
	registry  *prometheus.Registry
	health    atomic.Int64      // status of GET /health
	demo      *signature.Scheme // of the courier demo, which is the default
	plain     *signature.Scheme // of the courier plain, which wants 200
}

// prepare makes a server that doesn't listen. Change may be nil.
func prepare(t testing.TB, change func(*Config)) *fixture {
	t.Helper()
	f := &fixture{
		publisher: &memory{}, book: &book{}, clock: &clock{now: noon}, log: &lines{}, registry: prometheus.NewRegistry(),
		demo: scheme(t, "gateway", "demo-secret"), plain: scheme(t, "gateway-body", "plain-secret"),
	}
	f.health.Store(200)
	stamper, err := stamp.New([]byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	c := DefaultConfig()
	c.Listen, c.RetryAfter = "127.0.0.1:0", time.Second
	if change != nil {
		change(&c)
	}
	f.Server, err = New(c, Deps{
		Publisher: f.publisher, Store: f.book, Stamper: stamper, Registerer: f.registry, Now: f.clock.Now,
		Couriers: Couriers{Default: "demo", All: []Courier{{Name: "demo", Scheme: f.demo}, {Name: "plain", Scheme: f.plain, Success: Success{Status: 200}}}},
		Health:   func() (int, []byte) { return int(f.health.Load()), []byte(`{"status":"healthy"}`) },
		Logger:   slog.New(slog.NewJSONHandler(f.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	put := f.records.put
	f.records.put = func(r ingestion.Record, class record.Class) bool { return put(r, class) && f.caught.put(r, class) }
	return f
}

// start makes a server that listens until the test ends.
func start(t testing.TB, change func(*Config)) *fixture {
	t.Helper()
	f := prepare(t, change)
	ln, err := f.Listen()
	if err != nil {
		t.Fatal(err)
	}
	f.addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- f.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 0)
		defer cancel()
		_ = f.Shutdown(ctx)
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return f
}

// set changes the couriers to demo, which stays the default, plain, and these.
func (f *fixture) set(t testing.TB, couriers ...Courier) {
	t.Helper()
	all := append([]Courier{{Name: "demo", Scheme: f.demo}, {Name: "plain", Scheme: f.plain, Success: Success{Status: 200}}}, couriers...)
	if err := f.SetCouriers(Couriers{Default: "demo", All: all}); err != nil {
		t.Fatal(err)
	}
}

// request returns a request that is signed as it should be.
func (f *fixture) request(s *signature.Scheme, path, body string) *http.Request {
	r, err := http.NewRequest(http.MethodPost, "http://"+f.addr+path, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for _, h := range s.Sign([]byte(body), f.clock.Now()) {
		r.Header.Set(h.Name, h.Value)
	}
	return r
}

// answered is an answer with its body read.
type answered struct {
	*http.Response
	body []byte
}

// document is a problem document, and the members of a 202.
type document struct {
	Type, Title    string
	Status         int
	Detail         string
	Acknowledged   *bool
	ErrorCode      string
	Message        string
	TraceID        string
	Errors         event.Faults
	EventID        string
	IdempotencyKey string
	Queued         bool
	Duplicate      bool
	ReceivedAt     string
}

func (a *answered) document(t testing.TB) (d document) {
	t.Helper()
	if err := json.Unmarshal(a.body, &d); err != nil {
		t.Fatalf("answer %q: %v", a.body, err)
	}
	return d
}

// send sends r on a connection of its own.
func send(t testing.TB, r *http.Request) *answered {
	t.Helper()
	r.Close = true
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, res)
}

func read(t testing.TB, res *http.Response) *answered {
	t.Helper()
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return &answered{Response: res, body: body}
}

// wireConn is a connection for bytes that no client would send.
type wireConn struct {
	net.Conn
	in *bufio.Reader
}

func (f *fixture) dial(t testing.TB) *wireConn {
	t.Helper()
	return f.dialFrom(t, "127.0.0.1")
}

func (f *fixture) dialFrom(t testing.TB, ip string) *wireConn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	c, err := d.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &wireConn{Conn: c, in: bufio.NewReader(c)}
}

func (c *wireConn) send(t testing.TB, parts ...string) {
	t.Helper()
	if _, err := io.WriteString(c, strings.Join(parts, "")); err != nil {
		t.Fatal(err)
	}
}

func (c *wireConn) answer(t testing.TB) *answered {
	t.Helper()
	res, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	return read(t, res)
}

// expectClosed fails unless the server closes the connection.
func (c *wireConn) expectClosed(t testing.TB) {
	t.Helper()
	if b, err := c.in.ReadByte(); err == nil {
		t.Errorf("got byte %q, want the end of the connection", b)
	} else if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		t.Error("the connection stays open")
	}
}

// raw returns a signed request as bytes.
func (f *fixture) raw(s *signature.Scheme, path, body string, headers ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", path, len(body))
	for _, h := range s.Sign([]byte(body), f.clock.Now()) {
		fmt.Fprintf(&b, "%s: %s\r\n", h.Name, h.Value)
	}
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	return b.String() + "\r\n" + body
}

// bodyWithKey returns a good body with another idempotency key.
func bodyWithKey(key string) string {
	return strings.ReplaceAll(goodBody, "courier-x:evt_123", key)
}

// waitFor waits until ok, and fails the test when it never is.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// metric returns the value of a series, named as "requests_total code=X
// courier=Y" is; of a histogram the count.
func (f *fixture) metric(t testing.TB, series string) (value float64, ok bool) {
	t.Helper()
	families, err := f.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := strings.TrimPrefix(family.GetName(), "courier_gateway_ingest_")
			for _, l := range m.GetLabel() {
				name += " " + l.GetName() + "=" + l.GetValue()
			}
			if name == series {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount()), true
			}
		}
	}
	return 0, false
}

// unregistered is a registry that takes everything and keeps nothing.
type unregistered struct{ prometheus.Registerer }

func (unregistered) Register(prometheus.Collector) error { return nil }
