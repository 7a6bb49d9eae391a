package ingest

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ingest/signature"
)

// refusedRecord posts a request that is refused and returns its record.
func (f *fixture) refusedRecord(t testing.TB, r *http.Request) ingestion.Record {
	t.Helper()
	if a := send(t, r); a.StatusCode < 400 {
		t.Fatalf("answered %d %s", a.StatusCode, a.body)
	}
	records := f.caught.all()
	return records[len(records)-1]
}

func withHeader(r *http.Request, name, value string) *http.Request {
	r.Header.Set(name, value)
	return r
}

// quiet keeps what is recorded waiting, so that a test can look at it.
func quiet(c *Config) { c.Records.Every = time.Hour }

// TestAcceptRefusedOnceTheSecretIsRight refuses an event for its signature, and takes it in
// hours later when the courier's secret has been corrected.
func TestAcceptRefusedOnceTheSecretIsRight(t *testing.T) {
	t.Parallel()
	f := start(t, quiet)
	right := scheme(t, "gateway", "the-right-secret")
	record := f.refusedRecord(t, withHeader(f.request(right, "/v1/events/courier/demo", goodBody), "X-Request-Id", "trace-1"))
	f.clock.advance(5 * time.Hour)
	if _, err := f.AcceptRefused(t.Context(), record, false); event.CodeOf(err) != event.InvalidSignature || !strings.Contains(err.Error(), "does not match") {
		t.Errorf("before it is right: %v", err)
	}
	f.demo = right
	f.set(t)
	taken, err := f.AcceptRefused(t.Context(), record, false)
	want := ingestion.Acceptance{Identity: event.Identity{Courier: "demo", Key: "courier-x:evt_123"}, EventID: "evt_123", Sequence: 1, KeyID: "k1"}
	if err != nil || taken != want {
		t.Errorf("got %+v, %v, want %+v", taken, err, want)
	}
	e := f.publisher.all()[0]
	if e.Courier != "demo" || e.Key != "courier-x:evt_123" || e.EventID != "evt_123" || e.TraceID != "trace-1" || !e.ReceivedAt.Equal(noon) ||
		e.Scheme != "gateway" || e.KeyID != "k1" || string(e.Body) != goodBody || !f.deps.Stamper.Verify(&e) {
		t.Errorf("kept is %+v", e)
	}
	if again, err := f.AcceptRefused(t.Context(), record, true); err != nil || !again.Duplicate || again.KeyID != "k1" {
		t.Errorf("taken again it is %+v, %v", again, err)
	}
	if !strings.Contains(f.log.String(), "accepted by hand") || strings.Contains(f.log.String(), "shp_456") {
		t.Errorf("the log says %s", f.log)
	}
}

// TestAcceptRefusedOnceTheMappingIsRight refuses an event that nothing could read.
func TestAcceptRefusedOnceTheMappingIsRight(t *testing.T) {
	t.Parallel()
	f := start(t, quiet)
	s := stripes(t)
	f.set(t, Courier{Name: "acme", Scheme: s})
	record := f.refusedRecord(t, withHeader(f.request(s, "/v1/events/courier/acme", mappedBody), "X-Event-Id", "e-1"))
	_, err := f.AcceptRefused(t.Context(), record, true)
	for _, part := range []string{"eventId is missing", "eventType is missing", "payload is missing"} {
		if event.CodeOf(err) != event.InvalidPayload || !strings.Contains(err.Error(), part) {
			t.Errorf("before it is right: %v, want %s in it", err, part)
		}
	}
	f.set(t, Courier{Name: "acme", Scheme: s, Decoder: mapped(t), Networks: prefixes("192.0.2.0/24"), MaxBodyBytes: 1, RatePerSecond: 1e-9, RateBurst: 1})
	for range 2 { // the limits are for requests that come by themselves
		taken, err := f.AcceptRefused(t.Context(), record, false)
		if err != nil || taken.EventID != "e-1" || taken.Key != "d-1" || taken.KeyID != "k7" {
			t.Errorf("got %+v, %v", taken, err)
		}
	}
}

// TestAcceptRefusedAltersNothing: what was taken out of a request, because a secret stood
// there, is never made an event of.
func TestAcceptRefusedAltersNothing(t *testing.T) {
	t.Parallel()
	f := start(t, quiet)
	static := credential(t, "static_header", "s3cret", named("X-Key"))
	f.set(t, Courier{Name: "static", Scheme: static, Decoder: mapped(t)}) // X-Event-Id names its events
	shown := f.refusedRecord(t, withHeader(f.request(f.plain, "/v1/events/courier/static", mappedBody), "X-Event-Id", "e-s3cret"))
	if _, err := f.AcceptRefused(t.Context(), shown, true); event.CodeOf(err) != event.Incomplete || !strings.Contains(err.Error(), "header x-event-id") {
		t.Errorf("an event without its id: %v", err)
	}
	inside := f.refusedRecord(t, withHeader(f.request(f.plain, "/v1/events/courier/static", strings.Replace(mappedBody, "{", `{"key":"s3cret",`, 1)), "X-Event-Id", "e-1"))
	if _, err := f.AcceptRefused(t.Context(), inside, true); event.CodeOf(err) != event.PayloadTooLarge {
		t.Errorf("a body that shows a secret: %v", err)
	}
	if n := len(f.publisher.all()); n != 0 {
		t.Errorf("%d events kept", n)
	}
}

func TestAcceptRefusedIfVouchedFor(t *testing.T) {
	t.Parallel()
	f := start(t, quiet)
	static := credential(t, "static_header", "s3cret-static", named("X-Token"))
	f.set(t, Courier{Name: "static", Scheme: static})
	forged := f.refusedRecord(t, f.request(f.plain, "/v1/events/courier/demo", bodyWithKey("k1")))
	shown := f.refusedRecord(t, withHeader(f.request(f.plain, "/v1/events/courier/static", bodyWithKey("k2")), "X-Token", "s3cret-old"))
	if !shown.Request.Redacted || forged.Request.Redacted {
		t.Fatalf("redacted are %v and %v", forged.Request.Redacted, shown.Request.Redacted)
	}
	for _, tc := range []struct {
		record ingestion.Record
		says   string
	}{{forged, "x-signature-timestamp is missing"}, {shown, "vouch"}} {
		if _, err := f.AcceptRefused(t.Context(), tc.record, false); event.CodeOf(err) != event.InvalidSignature || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("unvouched for: %v, want %q", err, tc.says)
		}
		taken, err := f.AcceptRefused(t.Context(), tc.record, true)
		if err != nil || taken.KeyID != ingestion.KeyIDOperator {
			t.Errorf("vouched for: %+v, %v", taken, err)
		}
	}
	for _, e := range f.publisher.all() {
		if e.KeyID != ingestion.KeyIDOperator || !f.deps.Stamper.Verify(&e) {
			t.Errorf("kept is %+v", e)
		}
	}
}

// TestAcceptRefusedAsOfItsTime takes requests that were signed in time, and by a secret that
// counted then.
func TestAcceptRefusedAsOfItsTime(t *testing.T) {
	t.Parallel()
	f := start(t, quiet)
	timely := func(notAfter time.Time) *signature.Scheme {
		s, err := signature.New(signature.Config{
			Scheme: "gateway", TolerancePast: time.Minute, ToleranceFuture: time.Minute,
			Secrets: []signature.Secret{{ID: "k1", Key: []byte("demo-secret"), NotAfter: notAfter}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	f.set(t, Courier{Name: "other", Scheme: f.plain})
	record := f.refusedRecord(t, f.request(f.demo, "/v1/events/courier/other", goodBody))
	f.clock.advance(24 * time.Hour)
	f.set(t, Courier{Name: "other", Scheme: timely(noon.Add(time.Hour))})
	if taken, err := f.AcceptRefused(t.Context(), record, false); err != nil || taken.KeyID != "k1" {
		t.Errorf("got %+v, %v", taken, err)
	}
	f.set(t, Courier{Name: "other", Scheme: timely(noon.Add(-time.Hour))})
	if _, err := f.AcceptRefused(t.Context(), record, false); event.CodeOf(err) != event.InvalidSignature || !strings.Contains(err.Error(), "no longer valid") {
		t.Errorf("got %v", err)
	}
}

func TestAcceptRefusedRefuses(t *testing.T) {
	t.Parallel()
	f := start(t, quiet)
	good := f.refusedRecord(t, withHeader(f.request(f.demo, "/v1/events/courier/demo", goodBody), "Content-Type", "text/html"))
	f.set(t, Courier{Name: "rsa", Scheme: keyless(t)})
	for _, tc := range []struct {
		name   string
		change func(r *ingestion.Record)
		code   event.Code
		says   string
	}{
		{"an aggregate", func(r *ingestion.Record) { r.Request, r.Count = nil, 7 }, event.BadRequest, "an aggregate of 7 requests"},
		{"an observed one", func(r *ingestion.Record) { r.Outcome = ingestion.Observed }, event.BadRequest, "not refused but observed"},
		{"an unknown courier", func(r *ingestion.Record) { r.Courier = "" }, event.UnknownCourier, "no courier of ours"},
		{"a courier that is gone", func(r *ingestion.Record) { r.Courier = "gone" }, event.UnknownCourier, `"gone"`},
		{"a cut body", func(r *ingestion.Record) { r.Request.BodyBytes++ }, event.PayloadTooLarge, "of the"},
		{"public keys that are away", func(r *ingestion.Record) {
			r.Courier = "rsa"
			r.Request.Headers = append(r.Request.Headers, ingestion.Header{Name: "X-S", Value: strings.Repeat("ab", 256)})
		}, event.IntakeUnavailable, "public keys"},
		{"a doubled header", func(r *ingestion.Record) {
			r.Request.Headers = append(r.Request.Headers, ingestion.Header{Name: "x-signature", Value: "ab"})
		}, event.InvalidSignature, "more than once"},
	} {
		record, request := good, *good.Request
		request.Headers = slices.Clone(request.Headers)
		record.Request = &request
		tc.change(&record)
		if _, err := f.AcceptRefused(t.Context(), record, false); event.CodeOf(err) != tc.code || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: got %v, want %s with %q", tc.name, err, tc.code, tc.says)
		}
	}
	if n := len(f.publisher.all()); n != 0 {
		t.Errorf("%d events kept", n)
	}
	f.publisher.fail(event.Errorf(event.IntakeUnavailable, "publish", "the stream is full"))
	if _, err := f.AcceptRefused(t.Context(), good, false); event.CodeOf(err) != event.IntakeUnavailable || !strings.Contains(err.Error(), "the stream is full") {
		t.Errorf("got %v", err)
	}
	f.publisher.fail(errors.New("odd"))
	if _, err := f.AcceptRefused(t.Context(), good, false); event.CodeOf(err) != event.Internal {
		t.Errorf("got %v", err)
	}
	f.publisher.fail(nil)
	if taken, err := f.AcceptRefused(t.Context(), good, false); err != nil || taken.KeyID != "k1" {
		t.Errorf("got %+v, %v", taken, err)
	}
	f.recorded(t)
	if _, err := f.AcceptRefused(t.Context(), good, false); event.CodeOf(err) != event.IntakeUnavailable {
		t.Errorf("after the stop: %v", err)
	}
}
