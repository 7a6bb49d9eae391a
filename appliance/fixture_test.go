package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/appliance/app"
	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/signature"
	"github.com/fincart/courier-gateway/ingest/signature/jwks"
	"github.com/fincart/courier-gateway/ops"
	"github.com/fincart/courier-gateway/process"
)

// quick returns a configuration for tests: a directory of its own, free ports,
// and waits short enough to wait for.
func quick(t *testing.T) config.Config {
	t.Helper()
	c := config.Defaults()
	c.DataDir = t.TempDir()
	c.Ingest.Listen, c.Admin.Listen = "127.0.0.1:0", "127.0.0.1:0"
	c.JetStream.DiskReserveBytes = 0
	c.JetStream.AckWait = time.Second
	c.Process.RetryBase = 50 * time.Millisecond
	c.Process.ReconcileEvery, c.Process.ReconcileGrace = 50*time.Millisecond, 2*time.Second
	c.ShutdownTimeout = 15 * time.Second
	return c
}

// testApp is a running appliance and a client of it.
type testApp struct {
	*app.App
	t       *testing.T
	cfg     config.Config
	scheme  *signature.Scheme
	logs    *syncBuffer
	stopped bool
	reread  func() (config.Config, []string, error)
}

// startApp starts an appliance that stops with the test.
func startApp(t *testing.T, cfg config.Config, wrap func(process.Store) process.Store) *testApp {
	t.Helper()
	deps := app.Deps{WrapStore: wrap}
	a := &testApp{t: t, cfg: cfg, logs: &syncBuffer{}}
	deps.Log, deps.Version = slog.New(slog.NewTextHandler(a.logs, nil)), "test"
	deps.Reread = func() (config.Config, []string, error) { return a.reread() }
	var err error
	if a.App, err = app.Start(t.Context(), cfg, deps); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.halt)
	schemes, err := cfg.WithDemo().Schemes(jwks.At)
	if err != nil {
		t.Fatal(err)
	}
	a.scheme = schemes[config.DemoCourier]
	return a
}

// halt stops the appliance, once, and fails the test when that is not clean.
func (a *testApp) halt() {
	if a.stopped {
		return
	}
	a.stopped = true
	ctx, cancel := context.WithTimeout(context.Background(), a.cfg.ShutdownTimeout)
	defer cancel()
	if err := a.Stop(ctx); err != nil {
		a.t.Errorf("stop: %v\n%s", err, a.logs)
	}
}

// eventBody is a canonical event.
func eventBody(key, shipment, status string, at time.Time) []byte {
	return fmt.Appendf(nil, `{"eventId":"evt_%s","eventType":"shipment.status.updated","occurredAt":%q,"source":"test",`+
		`"idempotencyKey":%q,"payload":{"shipmentId":%q,"status":%q,"extra":[1,2,3]}}`,
		key, at.UTC().Format(time.RFC3339Nano), key, shipment, status)
}

// answer is what intake says to an event.
type answer struct {
	Status       int
	RetryAfter   string // the header
	Acknowledged bool   `json:"acknowledged"`
	Duplicate    bool   `json:"duplicate"`
	ErrorCode    string `json:"errorCode"`
	TraceID      string `json:"traceId"`
}

// post signs and posts a body.
func (a *testApp) post(body []byte) (answer, error) {
	return post(a.publicURL(), a.scheme, body)
}

func (a *testApp) publicURL() string { return "http://" + a.Public().String() }

var client = &http.Client{
	Timeout:   30 * time.Second,
	Transport: &http.Transport{MaxIdleConnsPerHost: 200},
}

func post(base string, scheme *signature.Scheme, body []byte) (answer, error) {
	return postTo(base+"/v1/events/courier", scheme, body)
}

func postTo(address string, scheme *signature.Scheme, body []byte) (answer, error) {
	req, err := http.NewRequest(http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("content-type", "application/json")
	for _, h := range scheme.Sign(body, time.Now()) {
		req.Header.Set(h.Name, h.Value)
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	out := answer{Status: resp.StatusCode, RetryAfter: resp.Header.Get("Retry-After")}
	return out, json.NewDecoder(resp.Body).Decode(&out)
}

// accept posts an event and fails the test unless it is accepted.
func (a *testApp) accept(body []byte) answer {
	a.t.Helper()
	got, err := a.post(body)
	if err != nil || got.Status != http.StatusAccepted || !got.Acknowledged {
		a.t.Fatalf("posting %s: %+v, %v", body, got, err)
	}
	return got
}

// get reads a document of the operators' API; found is false for a 404.
func (a *testApp) get(path string, into any) (found bool) {
	a.t.Helper()
	resp := askAdmin(a.t, a.cfg.DataDir, "http://"+a.Admin().String()+path)
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return false
	}
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		a.t.Fatalf("GET %s: %d, %v: %s", path, resp.StatusCode, err, raw)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		a.t.Fatalf("GET %s: %v: %s", path, err, raw)
	}
	return true
}

// askAdmin reads a URL of the operators' listener with the token that the appliance on a data
// directory has made.
func askAdmin(t testing.TB, dataDir, url string) *http.Response {
	t.Helper()
	access, err := config.ReadAccess(dataDir)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+access.Token)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// publicKeys returns how many public keys of a courier are loaded.
func (a *testApp) publicKeys(courier string) int {
	a.t.Helper()
	var list struct{ Couriers []ops.CourierInfo }
	a.get("/api/v1/couriers", &list)
	for _, c := range list.Couriers {
		if c.Name == courier && c.PublicKeys != nil {
			return c.PublicKeys.Count
		}
	}
	return 0
}

// cli runs a command against the appliance and returns what it prints.
func (a *testApp) cli(args ...string) (code int, out string) {
	var stdout, stderr bytes.Buffer
	args = append(args, "--admin-listen", a.Admin().String(), "--data-dir", a.cfg.DataDir)
	code = run(context.Background(), args, strings.NewReader(""), &stdout, &stderr)
	return code, stdout.String() + stderr.String()
}

// secretFile keeps a secret in a file and returns the reference to it.
func secretFile(t *testing.T, value string) config.Secret {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(value), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.Secret("file:" + path)
}

// asJSON renders a value for a failure message.
func asJSON(v any) string {
	raw, err := json.Marshal(v)
	return fmt.Sprintf("%s %v", raw, errors.Join(err))
}

// eventually waits until check holds, and fails the test when it does not.
func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	within(t, 30*time.Second, what, check)
}

// within is eventually with another patience.
func within(t *testing.T, patience time.Duration, what string, check func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !check() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain for: %s", what)
		case <-tick.C:
		}
	}
}

// ends waits until an event has a status and returns its ledger row.
func (a *testApp) ends(key string, status event.Status) event.Record {
	a.t.Helper()
	var r event.Record
	eventually(a.t, key+" to be "+string(status), func() bool {
		return a.get("/api/v1/events/"+key, &r) && r.Status == status
	})
	return r
}

// deadLetters returns the letters of a key.
func (a *testApp) deadLetters(key string) []event.DeadLetter {
	a.t.Helper()
	code, out := a.cli("dlq", "list", "--key", key, "--json")
	if code != 0 {
		a.t.Fatalf("dlq list: exit %d: %s", code, out)
	}
	var page struct {
		DeadLetters []event.DeadLetter `json:"deadLetters"`
	}
	if err := json.Unmarshal([]byte(out), &page); err != nil {
		a.t.Fatalf("dlq list: %v: %s", err, out)
	}
	return page.DeadLetters
}
