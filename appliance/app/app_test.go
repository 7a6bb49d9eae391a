package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/ingest/signature/jwks"
)

// started is a running appliance, and a client of both of its listeners.
type started struct {
	*App
	t   *testing.T
	cfg config.Config
}

// quick returns a configuration for tests: a directory of its own, free ports and a
// reconciler that does not wait.
func quick(t *testing.T) config.Config {
	t.Helper()
	c := config.Defaults()
	c.DataDir = t.TempDir()
	c.Ingest.Listen, c.Admin.Listen = "127.0.0.1:0", "127.0.0.1:0"
	c.JetStream.DiskReserveBytes = 0
	c.Process.ReconcileEvery = 50 * time.Millisecond
	return c
}

// startApp starts an appliance that stops with the test.
func startApp(t *testing.T, cfg config.Config, deps Deps) *started {
	t.Helper()
	var logs bytes.Buffer
	deps.Log, deps.Version = slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelError})), "test"
	a, err := Start(t.Context(), cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cfg.ShutdownTimeout)
		defer cancel()
		if err := a.Stop(ctx); err != nil {
			t.Errorf("stop: %v\n%s", err, logs.String())
		}
	})
	return &started{App: a, t: t, cfg: cfg}
}

// post sends an event as the courier "demo" and returns whether it is a duplicate.
func (a *started) post(key, shipment string) (duplicate bool) {
	a.t.Helper()
	schemes, err := a.cfg.WithDemo().Schemes(jwks.At)
	if err != nil {
		a.t.Fatal(err)
	}
	body := fmt.Appendf(nil, `{"eventId":"evt_%s","eventType":"shipment.status.updated","occurredAt":%q,"source":"test",`+
		`"idempotencyKey":%q,"payload":{"shipmentId":%q,"status":"delivered"}}`, key, time.Now().UTC().Format(time.RFC3339), key, shipment)
	request, err := http.NewRequest(http.MethodPost, "http://"+a.Public().String()+"/v1/events/courier", bytes.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	request.Header.Set("content-type", "application/json")
	for _, h := range schemes[config.DemoCourier].Sign(body, time.Now()) {
		request.Header.Set(h.Name, h.Value)
	}
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ Acknowledged, Duplicate bool }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusAccepted || !answer.Acknowledged {
		a.t.Fatalf("the event %s is answered %d %+v, %v", key, resp.StatusCode, answer, err)
	}
	return answer.Duplicate
}

// get reads a document of the operators' API; found is false for a 404.
func (a *started) get(path string, into any) (found bool) {
	a.t.Helper()
	access, err := config.ReadAccess(a.cfg.DataDir)
	if err != nil {
		a.t.Fatal(err)
	}
	request, err := http.NewRequest(http.MethodGet, "http://"+a.Admin().String()+path, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+access.Token)
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return false
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil || resp.StatusCode != http.StatusOK {
		a.t.Fatalf("GET %s: %d, %v", path, resp.StatusCode, err)
	}
	return true
}

// processed waits until an event is.
func (a *started) processed(key string) {
	a.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for r := (event.Record{}); r.Status != event.Processed; a.get("/api/v1/events/"+key, &r) {
		select {
		case <-tick.C:
		case <-deadline:
			a.t.Fatalf("the event %s is not processed: %+v", key, r)
		}
	}
}

func TestTwoAppliancesInOneProcess(t *testing.T) {
	t.Parallel()
	a, b := startApp(t, quick(t), Deps{}), startApp(t, quick(t), Deps{})
	a.post("same", "shp-a")
	if b.post("same", "shp-b") {
		t.Error("the second appliance takes the first one's event for its own")
	}
	a.processed("same")
	b.processed("same")
	var s shipment.Shipment
	if a.get("/api/v1/shipments/shp-b", &s) {
		t.Errorf("the first appliance knows the second one's shipment: %+v", s)
	}
}

func TestOneDirectoryOneAppliance(t *testing.T) {
	t.Parallel()
	a := startApp(t, quick(t), Deps{})
	_, err := Start(t.Context(), a.cfg, Deps{Log: slog.New(slog.DiscardHandler), Version: "test"})
	if err == nil || !strings.Contains(err.Error(), a.cfg.DataDir) {
		t.Errorf("a second appliance on the same directory: error is %v, want one that names it", err)
	}
	a.post("alive", "shp-alive")
}
