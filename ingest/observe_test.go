package ingest

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
)

func TestObserveMode(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.set(t, Courier{Name: "new", Scheme: f.demo, Observe: true})
	hashed := func(body string) string { return event.BodyHash([]byte(body)) }
	for _, tc := range []struct {
		name, body   string
		change       func(*http.Request)
		key, keyID   string
		code         event.Code // "" when nothing is tolerated
		reason, says string
	}{
		{"good", bodyWithKey("k1"), nil, "k1", "k1", "", "", ""},
		{"wrong secret", bodyWithKey("k2"), func(r *http.Request) { r.Header.Set("X-Signature", strings.Repeat("0f", 32)) },
			"k2", keyIDObserved, event.InvalidSignature, "mismatch", "does not match"},
		{"no signature", bodyWithKey("k3"), func(r *http.Request) { r.Header.Del("X-Signature") },
			"k3", keyIDObserved, event.InvalidSignature, "missing", "x-signature is missing"},
		{"another payload", mappedBody, nil, hashed(mappedBody), "k1", event.InvalidPayload, "", "no valid event: eventId is missing; eventType is missing"},
		{"no payload at all", "", nil, hashed(""), "k1", event.InvalidPayload, "", "$ "},
		{"an array", "[1]", nil, hashed("[1]"), "k1", event.InvalidPayload, "", "$ must be an object"},
		{"another type", bodyWithKey("k4"), func(r *http.Request) { r.Header.Set("Content-Type", "text/html") },
			"k4", "k1", event.UnsupportedMediaType, "", "application/json"},
		{"everything wrong: the first is recorded", "a=b", func(r *http.Request) {
			r.Header.Set("Content-Type", "image/png")
			r.Header.Del("X-Signature")
		}, hashed("a=b"), keyIDObserved, event.UnsupportedMediaType, "", "application/json"},
	} {
		r := f.request(f.demo, "/v1/events/courier/new", tc.body)
		r.Header.Set("X-Request-Id", "trace-"+strings.ReplaceAll(tc.name, " ", "-"))
		if tc.change != nil {
			tc.change(r)
		}
		a := send(t, r)
		d := a.document(t)
		kept := f.publisher.all()
		e := kept[len(kept)-1]
		if a.StatusCode != 202 || d.IdempotencyKey != tc.key || !*d.Acknowledged {
			t.Errorf("%s: answered %d %s", tc.name, a.StatusCode, a.body)
		}
		if e.Key != tc.key || e.KeyID != tc.keyID || string(e.Body) != tc.body || e.Courier != "new" || !f.deps.Stamper.Verify(&e) {
			t.Errorf("%s: kept is %+v", tc.name, e)
		}
	}
	for series, want := range map[string]float64{
		"observed_total code=INVALID_SIGNATURE courier=new":      2,
		"observed_total code=INVALID_PAYLOAD courier=new":        3,
		"observed_total code=UNSUPPORTED_MEDIA_TYPE courier=new": 2,
		"requests_total code=ACCEPTED courier=new":               8,
	} {
		if got, _ := f.metric(t, series); got != want {
			t.Errorf("%s is %v, want %v", series, got, want)
		}
	}
	if !strings.Contains(f.log.String(), "observe mode") {
		t.Errorf("the log does not have it: %s", f.log)
	}
	book := f.recorded(t)
	if counts := book.counts(); counts["new accepted"] != 1 || counts["new observed INVALID_SIGNATURE mismatch"] != 1 || len(counts) != 5 {
		t.Errorf("recorded are %v", counts)
	}
	singles := book.singles()
	if len(singles) != 7 {
		t.Fatalf("%d records of single requests, want 7", len(singles))
	}
	r := singles[0]
	if r.Outcome != ingestion.Observed || r.Status != 202 || r.TraceID != "trace-wrong-secret" || r.Address != "127.0.0.1" || r.Courier != "new" ||
		!strings.Contains(r.Detail, "does not match") || !r.At.Equal(noon) || r.Bytes != int64(len(bodyWithKey("k2"))) || string(r.Request.Body) != bodyWithKey("k2") {
		t.Errorf("recorded is %+v %+v", r, r.Request)
	}
	if got := singles[2].Detail; !strings.Contains(got, "the body is no valid event: eventId is missing; eventType is missing") {
		t.Errorf("the faults are recorded as %q", got)
	}
}

// TestObservedDuplicates shows that observed events are recognised like others.
func TestObservedDuplicates(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.set(t, Courier{Name: "new", Scheme: f.demo, Observe: true})
	for i := range 3 {
		a := send(t, f.request(f.plain, "/v1/events/courier/new", mappedBody))
		if d := a.document(t); a.StatusCode != 202 || d.Duplicate != (i > 0) {
			t.Errorf("copy %d is answered %d %s", i, a.StatusCode, a.body)
		}
	}
	if n := len(f.publisher.all()); n != 1 {
		t.Errorf("%d events kept", n)
	}
}

func TestObserveModeKeepsTheLimits(t *testing.T) {
	t.Parallel()
	f := start(t, func(c *Config) { c.MaxBodyBytes = 1000 })
	f.set(t,
		Courier{Name: "far", Scheme: f.demo, Observe: true, Networks: prefixes("192.0.2.0/24")},
		Courier{Name: "small", Scheme: f.demo, Observe: true, MaxBodyBytes: 10},
		Courier{Name: "slow", Scheme: f.demo, Observe: true, RatePerSecond: 1, RateBurst: 1},
		Courier{Name: "new", Scheme: f.demo, Observe: true},
	)
	expectProblem(t, send(t, f.request(f.demo, "/v1/events/courier/far", goodBody)), 403, event.Forbidden, "")
	expectProblem(t, send(t, f.request(f.demo, "/v1/events/courier/small", goodBody)), 413, event.PayloadTooLarge, "")
	send(t, f.request(f.demo, "/v1/events/courier/slow", goodBody))
	expectProblem(t, send(t, f.request(f.demo, "/v1/events/courier/slow", goodBody)), 429, event.RateLimited, "")
	expectProblem(t, send(t, f.request(f.demo, "/v1/events/courier/unknown", goodBody)), 404, event.UnknownCourier, "")
	kept := len(f.publisher.all())
	f.publisher.fail(errors.New("the broker is full"))
	expectProblem(t, send(t, f.request(f.plain, "/v1/events/courier/new", goodBody)), 503, event.IntakeUnavailable, "")
	if n := len(f.publisher.all()); n != kept || kept != 1 {
		t.Errorf("%d and then %d events kept", kept, n)
	}
	counts := f.recorded(t).counts()
	if counts["new refused INTAKE_UNAVAILABLE"] != 1 || slices.ContainsFunc(f.book.singles(), func(r ingestion.Record) bool { return r.Outcome != ingestion.Refused }) {
		t.Errorf("recorded are %v", counts)
	}
}

func TestObserveModeWithoutPublicKeys(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.set(t, Courier{Name: "rsa", Scheme: keyless(t), Observe: true})
	r := f.request(f.demo, "/v1/events/courier/rsa", goodBody)
	r.Header.Set("X-S", strings.Repeat("ab", 256))
	if a := send(t, r); a.StatusCode != 202 {
		t.Errorf("answered %d %s", a.StatusCode, a.body)
	}
	if kept := f.publisher.all(); len(kept) != 1 || kept[0].KeyID != keyIDObserved {
		t.Errorf("kept are %+v", kept)
	}
	if counts := f.recorded(t).counts(); counts["rsa observed INTAKE_UNAVAILABLE no_keys"] != 1 {
		t.Errorf("recorded are %v", counts)
	}
}
