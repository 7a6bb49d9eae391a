package app

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/ingest/event"
)

// TestLedgerReadsTheAdminAPI holds the joint of load tests and admin API against each
// answer that the proof depends on. The whole of it is tested on a real appliance by
// TestBenchOnItsOwnAppliance.
func TestLedgerReadsTheAdminAPI(t *testing.T) {
	t.Parallel()
	answers := map[string]string{
		"/api/v1/status":                                      `{"version":"v1","queue":{"lastSequence":7,"verified":6},"store":{"events":{"processed":5}},"reconciler":{"requeued":2}}`,
		"/api/v1/events/demo:a%2Fb?courier=demo":              `{"status":"processed"}`,
		"/api/v1/shipments/shp_1?courier=demo":                `{"rawStatus":"delivered"}`,
		"/api/v1/dead-letters?courier=demo&limit=500":         `{"deadLetters":[{"id":"1","idempotencyKey":"a"},{"id":"2","idempotencyKey":"b"}],"next":"2"}`,
		"/api/v1/dead-letters?after=2&courier=demo&limit=500": `{"deadLetters":[{"id":"3","idempotencyKey":"c"}]}`,
	}
	metrics := "# HELP x\ncourier_gateway_process_processed_total_else 7\ncourier_gateway_process_processed_total 42\n"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" {
			fmt.Fprint(w, metrics)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		text, found := answers[r.RequestURI]
		if !found {
			w.WriteHeader(http.StatusNotFound)
			text = `{"errorCode":"NOT_FOUND","detail":"there is none"}`
		}
		fmt.Fprint(w, text)
	}))
	t.Cleanup(server.Close)
	l, err := NewLedger(server.URL, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if f, err := l.Figures(ctx); err != nil || f.Version != "v1" || f.Queue.LastSeq != 7 || f.Queue.Verified != 6 || f.Store.Records[event.Processed] != 5 || f.Requeued != 2 {
		t.Errorf("figures are %+v, %v", f, err)
	}
	if r, err := l.Event(ctx, "demo:a/b", "demo"); err != nil || r.Status != event.Processed {
		t.Errorf("the event is %+v, %v", r, err)
	}
	if s, err := l.Shipment(ctx, "shp_1", "demo"); err != nil || s.RawStatus != "delivered" {
		t.Errorf("the shipment is %+v, %v", s, err)
	}
	var keys []string
	for d, err := range l.DeadLetters(ctx, "demo") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, d.Key)
	}
	if !slices.Equal(keys, []string{"a", "b", "c"}) {
		t.Errorf("the dead letters are %v", keys)
	}
	if n, err := l.Applied(ctx); err != nil || n != 42 {
		t.Errorf("applied %d times, %v", n, err)
	}

	if _, err := l.Event(ctx, "other", "demo"); event.CodeOf(err) != event.NotFound {
		t.Errorf("an event that is not there: %v", err)
	}
	if _, err := l.Shipment(ctx, "other", "demo"); event.CodeOf(err) != event.NotFound {
		t.Errorf("a shipment that is not there: %v", err)
	}
	for _, err := range l.DeadLetters(ctx, "other") {
		if err == nil {
			t.Error("a page that is not there")
		}
	}
	metrics = ""
	if _, err := l.Applied(ctx); event.CodeOf(err) != event.NotFound {
		t.Errorf("a metric that is not there: %v", err)
	}
	answers["/api/v1/status"] = `{"version":"v1","problems":["the store: down"]}`
	if _, err := l.Figures(ctx); err == nil || !strings.Contains(err.Error(), "the store: down") {
		t.Errorf("no figures: %v", err)
	}
}
