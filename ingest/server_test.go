package ingest

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"hash"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/signature"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	get := func(method string) *answered {
		r, _ := http.NewRequest(method, "http://"+f.addr+"/health", nil)
		return send(t, r)
	}
	if a := get("GET"); a.StatusCode != 200 || string(a.body) != `{"status":"healthy"}` || a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("got %d %s", a.StatusCode, a.body)
	}
	if a := get("HEAD"); a.StatusCode != 200 || len(a.body) != 0 || a.ContentLength != 20 {
		t.Errorf("HEAD gets %d with length %d and body %q", a.StatusCode, a.ContentLength, a.body)
	}
	a := get("POST")
	expectProblem(t, a, 405, event.MethodNotAllowed, "GET")
	if got := a.Header.Get("Allow"); got != "GET, HEAD" {
		t.Errorf("Allow is %q", got)
	}
	f.health.Store(503)
	if a := get("GET"); a.StatusCode != 503 {
		t.Errorf("got %d when unhealthy", a.StatusCode)
	}
}

func TestHeadIsNotPost(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	r, _ := http.NewRequest("HEAD", "http://"+f.addr+"/v1/events/courier", nil)
	if a := send(t, r); a.StatusCode != 405 || a.Header.Get("Allow") != "POST" || len(a.body) != 0 {
		t.Errorf("got %d, Allow %q, body %q", a.StatusCode, a.Header.Get("Allow"), a.body)
	}
}

func TestDefectIsAnsweredAndLogged(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	for range 2 { // the server goes on
		a := send(t, f.request(f.demo, "/v1/events/courier", bodyWithKey("panic")))
		expectProblem(t, a, 500, event.Internal, "")
	}
	if log := f.log.String(); !strings.Contains(log, "a defect") || !strings.Contains(log, "memory).Publish") {
		t.Errorf("the log lacks the defect or its stack: %s", log)
	}
}

func TestSetCouriers(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	bad := Couriers{Default: "gone", All: []Courier{
		{Name: "Not A Name", Scheme: f.demo}, {Name: "bare"}, {Name: "odd", Scheme: f.demo, Success: Success{Status: 302}},
		{Name: "twin", Scheme: f.demo}, {Name: "twin", Scheme: f.demo},
	}}
	err := f.SetCouriers(bad)
	for _, part := range []string{"Not A Name", "bare", "302", "twice", `"gone"`} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("got %v, want %s in it", err, part)
		}
	}
	if a := send(t, f.request(f.demo, "/v1/events/courier", goodBody)); a.StatusCode != 202 {
		t.Errorf("after a failed change the old courier gets %d", a.StatusCode)
	}
	if _, known := f.metric(t, "requests_total code=ACCEPTED courier=twin"); known {
		t.Error("a courier that was refused is among the metrics")
	}
	next := scheme(t, "gateway", "next-secret")
	if err := f.SetCouriers(Couriers{All: []Courier{{Name: "next", Scheme: next}}}); err != nil {
		t.Fatal(err)
	}
	if a := send(t, f.request(next, "/v1/events/courier/next", bodyWithKey("k2"))); a.StatusCode != 202 {
		t.Errorf("the new courier gets %d", a.StatusCode)
	}
	expectProblem(t, send(t, f.request(f.demo, "/v1/events/courier/demo", goodBody)), 404, event.UnknownCourier, "")
	expectProblem(t, send(t, f.request(f.demo, "/v1/events/courier", goodBody)), 404, event.UnknownCourier, "")
	if err := f.SetCouriers(Couriers{}); err != nil {
		t.Fatal(err)
	}
	expectProblem(t, send(t, f.request(next, "/v1/events/courier/next", goodBody)), 404, event.UnknownCourier, "")
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	for range 2 {
		send(t, f.request(f.demo, "/v1/events/courier", goodBody))
	}
	if a := send(t, f.request(f.demo, "/v1/events/courier", goodBody+" ")); a.StatusCode != 202 || !a.document(t).Duplicate {
		t.Errorf("the same key with another body is answered %d %s", a.StatusCode, a.body)
	}
	send(t, f.request(f.plain, "/v1/events/courier", goodBody))
	send(t, f.request(f.plain, "/v1/events/courier/made-up-by-the-sender", goodBody))
	for series, want := range map[string]float64{
		"requests_total code=ACCEPTED courier=demo":          1,
		"requests_total code=ACCEPTED courier=plain":         0,
		"requests_total code=DUPLICATE courier=demo":         1,
		"requests_total code=CONFLICT courier=demo":          1,
		"requests_total code=INVALID_SIGNATURE courier=demo": 1,
		"requests_total code=UNKNOWN_COURIER courier=-":      1,
		"requests_in_flight":                                 0,
		"body_bytes_total":                                   float64(5*len(goodBody) + 1),
		"request_seconds outcome=accepted":                   3,
		"request_seconds outcome=refused":                    2,
	} {
		if got, ok := f.metric(t, series); !ok || got != want {
			t.Errorf("%s is %v (%v), want %v", series, got, ok, want)
		}
	}
}

func TestRefusalsAreLoggedAtABoundedRate(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	const sent = 300
	for range sent {
		send(t, f.request(scheme(t, "gateway", "guess"), "/v1/events/courier", goodBody))
	}
	log := f.log.String()
	n := strings.Count(log, "\n")
	if n < linesAtOnce || n >= sent {
		t.Errorf("%d lines for %d refusals", n, sent)
	}
	for _, part := range []string{`"code":"INVALID_SIGNATURE"`, `"courier":"demo"`, `"trace_id":"req_`, `"remote":"127.0.0.1"`} {
		if !strings.Contains(log, part) {
			t.Errorf("the log lacks %s", part)
		}
	}
	f.publisher.fail(errors.New("the broker's own words"))
	send(t, f.request(f.demo, "/v1/events/courier", goodBody))
	if !strings.Contains(f.log.String(), "the broker's own words") {
		t.Error("the flood hides a failure of our own")
	}
	for _, part := range []string{"shp_456", "evt_123", "guess"} {
		if strings.Contains(log, part) {
			t.Errorf("the log holds %s", part)
		}
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	_, err := New(Config{MaxConnsPerIP: -1, TLSKeyFile: "key.pem"}, Deps{})
	for _, part := range []string{"MaxBodyBytes", "MaxHeaderBytes", "ReadTimeout", "WriteTimeout", "IdleTimeout", "MaxConns:", "MaxConnsPerIP", "TLSCertFile", "RetryAfter", "Deps",
		"Records.BodyBytes", "Records.PerSecond", "Records.Burst", "Records.Every", "Records.AggregateEvery", "Records.Queue"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("got %v, want %s in it", err, part)
		}
	}
}

// TestUnknownCourierCostsAVerification has the only courier be one whose own signature
// costs no digest.
func TestUnknownCourierCostsAVerification(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	token, err := signature.New(signature.Config{
		Scheme: "query_token", Signature: signature.Place{Names: []string{"token"}}, Secrets: []signature.Secret{{ID: "k1", Key: []byte("token")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.SetCouriers(Couriers{All: []Courier{{Name: "token", Scheme: token}}}); err != nil {
		t.Fatal(err)
	}
	spy := &digested{Hash: hmac.New(sha256.New, []byte("k"))}
	f.dummy.digests.New = func() any { return spy }
	expectProblem(t, send(t, f.request(f.demo, "/v1/events/courier/unknown", goodBody)), 404, event.UnknownCourier, "")
	if spy.bytes.Load() != int64(len(goodBody)) || spy.results.Load() != 1 {
		t.Errorf("%d digests over %d bytes, want one over the body's %d", spy.results.Load(), spy.bytes.Load(), len(goodBody))
	}
}

// digested counts what is digested.
type digested struct {
	hash.Hash
	bytes, results atomic.Int64
}

func (d *digested) Write(p []byte) (int, error) {
	d.bytes.Add(int64(len(p)))
	return d.Hash.Write(p)
}

func (d *digested) Sum(b []byte) []byte {
	d.results.Add(1)
	return d.Hash.Sum(b)
}
