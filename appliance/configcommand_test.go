package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSecretsAreReferencesAndStayHidden(t *testing.T) {
	t.Setenv("ACME_SECRET", "hunter2")
	path := configFile(t, "[couriers.acme]\nsecrets = [\"env:ACME_SECRET\", \"oops-a-literal\"]\n")
	var out, errOut bytes.Buffer
	if code := run(t.Context(), []string{"config", "show", "--config", path}, nil, &out, &errOut); code != 0 {
		t.Fatalf("config show: exit %d: %s", code, errOut.String())
	}
	if code := run(t.Context(), []string{"config", "check", "--config", path}, nil, &out, &errOut); code != 1 {
		t.Errorf("config check: exit %d, want 1", code)
	}
	all := out.String() + errOut.String()
	for _, secret := range []string{"hunter2", "oops-a-literal"} {
		if strings.Contains(all, secret) {
			t.Errorf("a secret is shown:\n%s", all)
		}
	}
	if !strings.Contains(all, "env:ACME_SECRET") || !strings.Contains(errOut.String(), "couriers.acme.secrets[1]: ") {
		t.Errorf("the reference or the fault is missing:\n%s", all)
	}
}

// TestAddressesAreShownWithoutCredentials has the broker's token in its address,
// where a password's user would be.
func TestAddressesAreShownWithoutCredentials(t *testing.T) {
	t.Setenv("APPLIANCE_JETSTREAM__URLS", "nats://s3cr3t@a:4222,nats://s3cr3t:s3cr3t@b:4222,s3cr3t@c:4222,nats://d:4222")
	var out, errOut bytes.Buffer
	if code := run(t.Context(), []string{"config", "show", "--config", os.DevNull}, nil, &out, &errOut); code != 0 {
		t.Fatalf("config show: exit %d: %s", code, errOut.String())
	}
	for _, host := range []string{"nats://xxxxx@a:4222", "nats://xxxxx@b:4222", "xxxxx@c:4222", "nats://d:4222"} {
		if !strings.Contains(out.String(), host) {
			t.Errorf("there is no %s in\n%s", host, out.String())
		}
	}
	if strings.Contains(out.String(), "s3cr3t") {
		t.Errorf("a credential is shown:\n%s", out.String())
	}
}

func TestConfigCheckReportsMissingSecrets(t *testing.T) {
	path := configFile(t, "[couriers.a]\nsecrets = [\"env:NO_SUCH_VARIABLE\"]\n[couriers.b]\nsecrets = [\"file:/no/such/file\"]\n[ingest]\ndefault_courier = \"a\"\n")
	var out, errOut bytes.Buffer
	if code := run(t.Context(), []string{"config", "check", "--config", path}, nil, &out, &errOut); code != 1 {
		t.Errorf("exit %d, want 1", code)
	}
	for _, key := range []string{"couriers.a.secrets[0]: ", "couriers.b.secrets[0]: "} {
		if !strings.Contains(errOut.String(), key) {
			t.Errorf("the error does not name %q:\n%s", key, errOut.String())
		}
	}
}

func TestConfigCheckAsJSON(t *testing.T) {
	check := func(document string) (code int, report string) {
		path := configFile(t, document)
		var out, errOut bytes.Buffer
		code = run(t.Context(), []string{"config", "check", "--json", "--config", path}, nil, &out, &errOut)
		var compact bytes.Buffer
		if err := json.Compact(&compact, out.Bytes()); err != nil {
			t.Fatalf("%v: %s", err, out.String())
		}
		return code, strings.ReplaceAll(compact.String(), path, "F")
	}
	for document, want := range map[string]string{
		"":                              `{"ok":true,"file":"F","faults":[],"warnings":[]}`,
		"role = 1\n[log]\nleve = \"x\"": `{"ok":false,"file":"F","faults":[{"path":"role","message":"\"1\" is none of all, ingest, process","file":"F","line":1,"column":1},{"path":"log.leve","message":"there is no such key; did you mean \"level\"?","file":"F","line":3,"column":1}],"warnings":[]}`,
		"role = all":                    `{"ok":false,"faults":[{"path":"$","message":"a text needs quotes around it","file":"F","line":1,"column":8}],"warnings":[]}`,
	} {
		code, got := check(document)
		if got != want || (code == 0) != (document == "") {
			t.Errorf("%q: exit %d, got\n%s, want\n%s", document, code, got, want)
		}
	}
}

// TestConfigCheckWarnsOfTheDisk where the queue's directory is not there yet.
func TestConfigCheckWarnsOfTheDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there")
	var out, errOut bytes.Buffer
	path := configFile(t, fmt.Sprintf("data_dir = %q\n[jetstream]\ndisk_reserve_bytes = 1_152_921_504_606_846_976\n", dir))
	code := run(t.Context(), []string{"config", "check", "--config", path}, nil, &out, &errOut)
	if said := out.String(); code != 0 || !strings.Contains(said, "jetstream.disk_reserve_bytes: the disk of ") || !strings.Contains(said, "iB free") {
		t.Errorf("exit %d, %s %s", code, said, errOut.String())
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the check has made %s: %v", dir, err)
	}
}

func TestExitCodes(t *testing.T) {
	tests := []struct {
		args string
		code int
	}{
		{"version", 0}, {"--help", 0}, {"completion bash", 0}, {"completion zsh", 0}, {"completion fish", 0},
		{"nonsense", 2}, {"version extra", 2}, {"serve --nonsense", 2}, {"events show", 2},
		{"config check --config /no/such/file", 1},
		{"status --admin-listen 127.0.0.1:1", 5}, {"couriers presets nosuch", 4},
		{"health --admin-listen 127.0.0.1:1", 1},
	}
	for _, tt := range tests {
		var out, errOut bytes.Buffer
		if code := run(t.Context(), strings.Fields(tt.args), nil, &out, &errOut); code != tt.code {
			t.Errorf("appliance %s: exit %d, want %d\n%s", tt.args, code, tt.code, errOut.String())
		}
	}
}

// TestLikelyMistakesAreWarnedOf: they are printed, by key and without the value, and the
// configuration is good.
func TestLikelyMistakesAreWarnedOf(t *testing.T) {
	t.Setenv("ACME_SECRET", "\"hunter2\"")
	path := configFile(t, "[couriers.acme]\nsecrets = [\"env:ACME_SECRET\"]\n")
	var out, errOut bytes.Buffer
	code := run(t.Context(), []string{"config", "check", "--config", path, "--data-dir", t.TempDir()}, nil, &out, &errOut)
	for _, want := range []string{"WARNING couriers.acme.secrets[0]: env:ACME_SECRET is in quotes", "has only 9 bytes", "The configuration is good."} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("there is no %q in\n%s", want, out.String())
		}
	}
	if all := out.String() + errOut.String(); code != 0 || strings.Contains(all, "hunter2") {
		t.Errorf("exit %d:\n%s", code, all)
	}
}
