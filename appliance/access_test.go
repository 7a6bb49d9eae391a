package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
)

// asks returns the status of a request to the operators' listener with a token.
func (a *testApp) asks(token, path string) int {
	a.t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+a.Admin().String()+path, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// access reads what an appliance has left for commands.
func (a *testApp) access() config.Access {
	a.t.Helper()
	access, err := config.ReadAccess(a.cfg.DataDir)
	if err != nil {
		a.t.Fatal(err)
	}
	return access
}

// TestOtherUsersCantUseTheAdminAPI: without the file that only the owner reads, the API
// answers nobody.
func TestOtherUsersCantUseTheAdminAPI(t *testing.T) {
	t.Parallel()
	a := startApp(t, quick(t), nil)
	for _, path := range []string{"/livez", "/readyz", "/health", "/version", "/metrics", "/api/v1/status"} {
		if status := a.asks("", path); status != http.StatusOK {
			t.Errorf("%s: %d", path, status)
		}
	}
	for _, path := range []string{"/api/v1/rejections", "/openapi.json", "/debug/pprof/"} {
		if status := a.asks("", path); status != http.StatusUnauthorized {
			t.Errorf("%s without a token: %d", path, status)
		}
		if status := a.asks(a.access().Token, path); status != http.StatusOK {
			t.Errorf("%s with the token: %d", path, status)
		}
	}
	if code, out := a.cli("rejections", "list"); code != 0 {
		t.Errorf("rejections list by the owner: exit %d: %s", code, out)
	}
	elsewhere := *a
	elsewhere.cfg.DataDir = t.TempDir()
	if code, out := elsewhere.cli("rejections", "list"); code == 0 || !strings.Contains(out, "--data-dir") {
		t.Errorf("rejections list by another user: exit %d: %s", code, out)
	}
	if code, out := elsewhere.cli("health"); code != 0 {
		t.Errorf("health by another user: exit %d: %s", code, out)
	}
}

// TestTokensAreRotatedWhileItRuns replaces a configured token in its file, and one that
// was made by removing it.
func TestTokensAreRotatedWhileItRuns(t *testing.T) {
	t.Parallel()
	cfg := quick(t)
	dashboard := secretFile(t, "the token of the dashboard")
	cfg.Admin.Tokens = map[string]config.AdminToken{"dashboard": {Role: "read", Token: dashboard}}
	a := startApp(t, cfg, nil)
	a.reread = func() (config.Config, []string, error) { return cfg, nil, nil }
	reload := func() {
		t.Helper()
		if _, err := a.Reload(); err != nil {
			t.Fatal(err)
		}
	}
	made := a.access().Token
	if read, profiles := a.asks("the token of the dashboard", "/api/v1/status"), a.asks("the token of the dashboard", "/debug/pprof/"); read != 200 || profiles != 403 {
		t.Errorf("with the role read: %d and %d", read, profiles)
	}
	for _, err := range []error{
		os.WriteFile(dashboard.File(), []byte("another token of it"), 0o600), os.Remove(filepath.Join(cfg.DataDir, config.AccessFile)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	reload()
	for token, want := range map[string]int{"the token of the dashboard": 401, "another token of it": 200, made: 401, a.access().Token: 200} {
		if status := a.asks(token, "/api/v1/status"); status != want {
			t.Errorf("%q: %d, want %d", token, status, want)
		}
	}
	if code, out := a.cli("status"); code != 0 {
		t.Errorf("status: exit %d: %s", code, out)
	}
}

// TestAdminListenerSpeaksTLS: commands on the same machine trust the certificate that the
// appliance was given, whoever has signed it, and its next one.
func TestAdminListenerSpeaksTLS(t *testing.T) {
	t.Parallel()
	cfg, first, next := quick(t), newCertificate(t), newCertificate(t)
	cfg.Admin.TLSCertFile, cfg.Admin.TLSKeyFile = first.cert, first.key
	a := startApp(t, cfg, nil)
	if address := a.access().Address; address != "https://"+a.Admin().String() {
		t.Errorf("the address is %s", address)
	}
	if code, out := a.cli("status"); code != 0 || !strings.Contains(out, "https") && !strings.Contains(out, a.Admin().String()) {
		t.Errorf("status: exit %d: %s", code, out)
	}
	if status := a.asks(a.access().Token, "/api/v1/status"); status != http.StatusBadRequest {
		t.Errorf("without TLS: %d", status)
	}
	for from, to := range map[string]string{next.cert: first.cert, next.key: first.key} {
		content, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the next certificate to be served", func() bool {
		code, _ := a.cli("status")
		return code == 0
	})
	impostor := *a
	impostor.cfg.DataDir = t.TempDir()
	other := newCertificate(t)
	planted := `{"address":"https://` + a.Admin().String() + `","token":"x","certificate":"` + other.cert + `"}`
	if err := os.WriteFile(filepath.Join(impostor.cfg.DataDir, config.AccessFile), []byte(planted), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := impostor.cli("status"); code == 0 || !strings.Contains(out, "another certificate") {
		t.Errorf("a listener with another certificate is asked: exit %d: %s", code, out)
	}
}

// TestOwnSecretsGetIntoNoRecord sends to the couriers' listener, by mistake, what belongs to
// the operators' listener, or to nobody.
func TestOwnSecretsGetIntoNoRecord(t *testing.T) {
	t.Parallel()
	cfg := quick(t)
	cfg.Admin.Tokens = map[string]config.AdminToken{"dashboard": {Role: "read", Token: secretFile(t, "the-token-of-the-dashboard")}}
	a := startApp(t, cfg, nil)
	a.reread = func() (config.Config, []string, error) { return cfg, nil, nil }
	stamp, err := os.ReadFile(filepath.Join(cfg.DataDir, config.StampKeyFile))
	first := a.access().Token
	if err = errors.Join(err, os.Remove(filepath.Join(cfg.DataDir, config.AccessFile))); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	secrets := []string{"the-token-of-the-dashboard", strings.TrimSpace(string(stamp)), a.access().Token}
	if slices.Contains(secrets, first) {
		t.Error("the reload has made no token")
	}
	for _, secret := range secrets {
		req, err := http.NewRequest(http.MethodPost, a.publicURL()+"/v1/events/courier", strings.NewReader(`{"oops":"`+secret+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Request-Id", secret)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	var page struct {
		Records []ingestion.Record `json:"records"`
	}
	eventually(t, "the refusals to be on record", func() bool {
		_, out := a.cli("rejections", "list", "--json")
		return json.Unmarshal([]byte(out), &page) == nil && len(page.Records) == len(secrets)
	})
	for _, listed := range page.Records {
		_, shown := a.cli("rejections", "show", listed.ID, "--json")
		var record ingestion.Record
		if err := json.Unmarshal([]byte(shown), &record); err != nil || string(record.Request.Body) != `{"oops":"` {
			t.Errorf("the record has the body %q, %v", record.Request.Body, err)
		}
		for i, secret := range secrets {
			if strings.Contains(shown, secret) {
				t.Errorf("secret %d is on record: %s", i, shown)
			}
		}
	}
}
