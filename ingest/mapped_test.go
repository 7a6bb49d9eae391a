package ingest

import (
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/ingest/payload"
	"github.com/fincart/courier-gateway/ingest/signature"
)

// mapped reads bodies like mappedBody.
func mapped(t testing.TB) *payload.Decoder {
	t.Helper()
	d, err := payload.NewDecoder(payload.Mapping{
		EventID: []string{"{header:x-event-id}", "{id}"}, Key: []string{"{dedupe}"}, Time: payload.TimeMapping{From: []string{"{at}"}, Formats: []string{"unix_ms"}},
		ShipmentID: []string{"{parcels[-1].number}"}, Status: []string{"{state}"},
		States: map[shipment.State][]string{shipment.Delivered: {"Delivered"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const mappedBody = `{"id":4711,"dedupe":"d-1","at":1772107200123,"state":"Delivered","parcels":[{"number":"a"},{"number":"shp_456"}],"more":{"x":[1,null]}}`

// pushed reads bodies with a history.
func pushed(t testing.TB) *payload.Decoder {
	t.Helper()
	d, err := payload.NewDecoder(payload.Mapping{
		EventID: []string{"{sha256:body}"}, ShipmentID: []string{"{number}"},
		Checkpoints: payload.CheckpointMapping{Path: "history", Time: payload.TimeMapping{From: []string{"{at}"}}, Status: []string{"{state}"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const pushedBody = `{"number":"shp_456","history":[{"at":"2026-02-25T08:30:00Z","state":"in_transit"},{"at":"2026-02-26T12:00:00Z","state":"delivered"}]}`

// stripes is an HMAC with a timestamp in the signature's header.
func stripes(t testing.TB) *signature.Scheme {
	t.Helper()
	s, err := signature.New(signature.Config{
		Scheme:    "hmac",
		Signature: signature.Place{Names: []string{"x-courier-signature"}, Format: "fields", Fields: []string{"v1"}},
		Timestamp: signature.Timestamp{From: "field", Names: []string{"t"}}, Message: []string{"timestamp", "literal:.", "body"},
		TolerancePast: signature.DefaultTolerance, ToleranceFuture: signature.DefaultTolerance,
		Secrets: []signature.Secret{{ID: "k7", Key: []byte("striped-secret")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMappedCourier(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	s := stripes(t)
	f.set(t, Courier{Name: "acme", Scheme: s, Decoder: mapped(t)}, Courier{Name: "push", Scheme: s, Decoder: pushed(t)})
	for _, tc := range []struct {
		path, body, header string
		wantID, wantKey    string
	}{
		{"/v1/events/courier/acme", mappedBody, "", "4711", "d-1"},
		{"/v1/events/courier/acme", strings.Replace(mappedBody, "d-1", "d-2", 1), "e\"vt ü", "e\"vt ü", "d-2"},
		{"/v1/events/courier/push", pushedBody, "", event.BodyHash([]byte(pushedBody)), event.BodyHash([]byte(pushedBody))},
	} {
		r := f.request(s, tc.path, tc.body)
		if tc.header != "" {
			r.Header.Set("X-Event-Id", tc.header)
		}
		a := send(t, r)
		d := a.document(t)
		if a.StatusCode != 202 || d.EventID != tc.wantID || d.IdempotencyKey != tc.wantKey {
			t.Errorf("got %d %s, want %s and %s", a.StatusCode, a.body, tc.wantID, tc.wantKey)
		}
		kept := f.publisher.all()
		e := kept[len(kept)-1]
		if e.EventID != tc.wantID || e.Key != tc.wantKey || e.Scheme != "hmac" || e.KeyID != "k7" || string(e.Body) != tc.body || !f.deps.Stamper.Verify(&e) {
			t.Errorf("kept is %+v", e)
		}
	}
	expectProblem(t, send(t, f.request(s, "/v1/events/courier/acme", goodBody)), 400, event.InvalidPayload, "")
	a := send(t, f.request(s, "/v1/events/courier/acme", `{"id":{},"at":"yesterday"}`))
	expectProblem(t, a, 400, event.InvalidPayload, "")
	var paths []string
	for _, e := range a.document(t).Errors {
		paths = append(paths, e.Path)
	}
	if got := strings.Join(paths, " "); got != "id at dedupe parcels[-1].number" {
		t.Errorf("faults at %s", got)
	}
	expectProblem(t, send(t, f.request(s, "/v1/events/courier/demo", mappedBody)), 401, event.InvalidSignature, "")
}

func TestSuccess(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	for _, tc := range []struct {
		name        string
		success     Success
		status      int
		contentType string
		body        string // "JSON" for ours
	}{
		{"as it is", Success{}, 202, "application/json", "JSON"},
		{"a status", Success{Status: 200}, 200, "application/json", "JSON"},
		{"no content", Success{Status: 204}, 204, "", ""},
		{"reset content", Success{Status: 205}, 205, "", ""},
		{"a body", Success{Status: 200, Body: []byte("OK")}, 200, "text/plain; charset=utf-8", "OK"},
		{"an empty body", Success{Status: 200, Body: []byte{}}, 200, "", ""},
		{"a body of a type", Success{Body: []byte("<ok/>"), ContentType: "text/xml"}, 202, "text/xml", "<ok/>"},
	} {
		f.set(t, Courier{Name: "choosy", Scheme: f.plain, Success: tc.success})
		for range 2 { // a duplicate is answered alike
			r := f.request(f.plain, "/v1/events/courier/choosy", bodyWithKey(tc.name))
			r.Header.Set("X-Request-Id", "trace-1")
			a := send(t, r)
			ours := string(a.body)
			if tc.body == "JSON" {
				ours = tc.body
				if d := a.document(t); !*d.Acknowledged || d.IdempotencyKey != tc.name {
					t.Errorf("%s: answered %s", tc.name, a.body)
				}
			}
			if a.StatusCode != tc.status || a.Header.Get("Content-Type") != tc.contentType || ours != tc.body || a.Header.Get("X-Request-Id") != "trace-1" {
				t.Errorf("%s: answered %d %q %q %v", tc.name, a.StatusCode, a.Header.Get("Content-Type"), a.body, a.Header)
			}
		}
	}
	for want, s := range map[string]Success{
		"status 199": {Status: 199}, "status 300": {Status: 300}, "status -1": {Status: -1}, "can't have": {Status: 204, Body: []byte("x")},
		"no body of its own": {ContentType: "text/xml"}, "no header can carry": {Body: []byte("x"), ContentType: "text/xml\r\nX-Y: z"},
	} {
		err := f.SetCouriers(Couriers{All: []Courier{{Name: "odd", Scheme: f.demo, Success: s}}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}
