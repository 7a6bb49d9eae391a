package ingest

import (
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ingest/payload"
)

// ignoring reads the canonical body, and ignores what is not about shipments.
func ignoring(t testing.TB) *payload.Decoder {
	t.Helper()
	d, err := payload.NewDecoder(payload.Mapping{Ignore: []payload.IgnoreRule{{IsNot: []string{"shipment.*"}}}})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const assigned = `{"eventType":"driver.assigned","driver":{"id":8}}`

// TestIgnored: what says nothing of a shipment is answered as an event is and not queued,
// once it is verified and within its courier's limits.
func TestIgnored(t *testing.T) {
	t.Parallel()
	f := start(t, quiet)
	f.set(t,
		Courier{Name: "chat", Scheme: f.demo, Decoder: ignoring(t)},
		Courier{Name: "own", Scheme: f.demo, Decoder: ignoring(t), Success: Success{Status: 200, Body: []byte("OK")}},
		Courier{Name: "new", Scheme: f.demo, Decoder: ignoring(t), Observe: true},
		Courier{Name: "small", Scheme: f.demo, Decoder: ignoring(t), MaxBodyBytes: 10},
	)
	for _, tc := range []struct {
		name, courier, body string
		signed              bool
		status              int
		says                string
	}{
		{"ignored", "chat", assigned, true, 202, `"queued":false,"ignored":true,`},
		{"as the courier wants it", "own", assigned, true, 200, "OK"},
		{"not signed", "chat", assigned, false, 401, "INVALID_SIGNATURE"},
		{"too large", "small", assigned, true, 413, "PAYLOAD_TOO_LARGE"},
		{"about a shipment, and malformed", "chat", strings.Replace(goodBody, "shp_456", "", 1), true, 400, "payload.shipmentId"},
		{"without a type", "chat", `{"driver":{"id":8}}`, true, 400, "eventType"},
		{"no JSON", "chat", assigned + "}", true, 400, "not valid JSON"},
		{"not signed, and observed", "new", assigned, false, 202, `"ignored":true`},
	} {
		r := f.request(f.demo, "/v1/events/courier/"+tc.courier, tc.body)
		if !tc.signed {
			r.Header.Set("X-Signature", strings.Repeat("0f", 32))
		}
		if a := send(t, r); a.StatusCode != tc.status || !strings.Contains(string(a.body), tc.says) {
			t.Errorf("%s: answered %d %s", tc.name, a.StatusCode, a.body)
		}
	}
	if kept := f.publisher.all(); len(kept) != 0 {
		t.Errorf("%d are queued", len(kept))
	}
	for courier, want := range map[string]float64{"chat": 1, "own": 1, "new": 1} {
		if got, ok := f.metric(t, "requests_total code=IGNORED courier="+courier); !ok || got != want {
			t.Errorf("courier %s: %v are counted as ignored, want %v", courier, got, want)
		}
	}
	outcomes := map[string]ingestion.Outcome{}
	for _, r := range f.caught.all() {
		if r.Code == "" || r.Outcome == ingestion.Observed {
			outcomes[r.Courier] = r.Outcome
		}
	}
	if outcomes["chat"] != ingestion.Ignored || outcomes["own"] != ingestion.Ignored || outcomes["new"] != ingestion.Observed {
		t.Errorf("recorded are %v", outcomes)
	}
	if a := send(t, f.request(f.demo, "/v1/events/courier/chat", goodBody)); a.StatusCode != 202 || len(f.publisher.all()) != 1 {
		t.Errorf("an event is answered %d %s", a.StatusCode, a.body)
	}
}

// TestIgnoredAreSampled: a few have a record of their own, which can be accepted once the
// settings take it for an event; all others are in an aggregate.
func TestIgnoredAreSampled(t *testing.T) {
	t.Parallel()
	f := start(t, quiet)
	f.set(t, Courier{Name: "chatty", Scheme: f.demo, Decoder: ignoring(t)})
	shipped := strings.Replace(goodBody, "shipment.status.updated", "parcel.moved", 1)
	send(t, f.request(f.demo, "/v1/events/courier/chatty", shipped)) // so that the server runs
	f.flood(t, 999, 0, 202, f.raw(f.demo, "/v1/events/courier/chatty", shipped))
	samples := f.caught.all()
	if len(samples) == 0 || len(samples) > ignoredSamples.Burst {
		t.Fatalf("%d of 1000 have a record of their own", len(samples))
	}
	one := samples[0]
	if one.Outcome != ingestion.Ignored || one.Status != 202 || string(one.Request.Body) != shipped || one.Reason != `ignore[0]: the event type is not "shipment.*"` {
		t.Errorf("a sample is %+v", one)
	}
	if _, err := f.AcceptRefused(t.Context(), one, false); event.CodeOf(err) != event.InvalidPayload || !strings.Contains(err.Error(), "says nothing of a shipment") {
		t.Errorf("accepted while it is still ignored: %v", err)
	}
	f.set(t, Courier{Name: "chatty", Scheme: f.demo})
	if taken, err := f.AcceptRefused(t.Context(), one, false); err != nil || taken.EventID != "evt_123" || len(f.publisher.all()) != 1 {
		t.Errorf("accepted once it is none: %+v, %v", taken, err)
	}
	if counts := f.recorded(t).counts(); counts["chatty ignored "+one.Reason] != 1000 {
		t.Errorf("of 1000 are recorded %v", counts)
	}
}

// TestLeftOutIsCounted: what could not be read of an event refuses nothing.
func TestLeftOutIsCounted(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.set(t, Courier{Name: "push", Scheme: f.demo, Decoder: pushed(t)})
	body := strings.Replace(pushedBody, "2026-02-25T08:30:00Z", "0000-00-00T00:00:00Z", 1)
	if a := send(t, f.request(f.demo, "/v1/events/courier/push", body)); a.StatusCode != 202 {
		t.Errorf("answered %d %s", a.StatusCode, a.body)
	}
	if got, _ := f.metric(t, "left_out_total courier=push"); got != 1 {
		t.Errorf("%v are counted", got)
	}
}
