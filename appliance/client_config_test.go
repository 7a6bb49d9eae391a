package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/fincart/courier-gateway/appliance/config"
)

// brokenFiles are configuration files that no serve would start with, by what is wrong
// with them; each has the admin address for %s.
var brokenFiles = map[string]string{
	"a syntax error behind":  "[admin]\nlisten = %q # ours\n\n[ingest]\nlisten = \"127.0.0.1:1\nmax_body_bytes = = 3\n",
	"a syntax error before":  "role = all = \"x\n[ingest\nlisten = 5\n[ admin ] # here\nlisten = %q\n",
	"half a file":            "admin.listen = %q\n[couriers.acme]\nsecrets = [\"env:AC",
	"an inline table":        "admin = { listen = %q }\n[[[\n",
	"an unknown key":         "[admin]\nlisten = %q\nlisten_address = 3\n[jetstrem]\nmax = 1\n",
	"wrong types elsewhere":  "data_dir = 3\n[admin]\nlisten = %q\n[ingest]\nlisten = [1]\n[process]\nworkers = \"many\"\n",
	"a bad courier":          "[admin]\nlisten = %q\n[couriers.acme]\npreset = \"no-such-thing\"\nsecrets = 7\n",
	"a missing secret":       "[admin]\nlisten = %q\ntoken = \"file:/no/such/token\"\n[couriers.acme]\nsecrets = [\"env:NO_SUCH_VARIABLE\"]\n",
	"a token of wrong type":  "[admin]\nlisten = %q\ntoken = 5\n",
	"two of the same key":    "[admin]\nlisten = %q\nlisten = \"127.0.0.1:1\"\n",
	"another table's listen": "[admin]\nlisten = %q\n[jetstream]\nlisten = \"127.0.0.1:1\"\nbroken\n",
	"binary at its end":      "[admin]\nlisten = %q\n\x00\x01\xff\xfe\x80",
}

// health runs the container's health check with these arguments.
func healthCheck(args ...string) (code int, stdout, stderr string) {
	var out, errOut bytes.Buffer
	code = run(context.Background(), append([]string{"health"}, args...), strings.NewReader(""), &out, &errOut)
	return code, out.String(), errOut.String()
}

// TestClientsSurviveABrokenFile saves a broken file beside a running appliance. Its
// health check finds it by what can be read of the file.
func TestClientsSurviveABrokenFile(t *testing.T) {
	t.Parallel()
	a := startApp(t, quick(t), nil)
	for what, content := range brokenFiles {
		path := configFile(t, fmt.Sprintf(content, a.Admin()))
		if l, err := config.Load(path, nil); err == nil && l.Check() == nil {
			t.Errorf("%s: the file is not broken", what)
		}
		code, out, errOut := healthCheck("--config", path)
		if code != 0 || !strings.HasPrefix(out, "healthy") {
			t.Errorf("%s: exit %d: %s%s", what, code, out, errOut)
		}
	}
}

// TestClientsReportABrokenFile: what can't be used is named, with the file.
func TestClientsReportABrokenFile(t *testing.T) {
	t.Parallel()
	a := startApp(t, quick(t), nil)
	for what, test := range map[string]struct{ content, want string }{
		"a syntax error":   {"role = \n", "appliance.toml:1:"},
		"binary":           {"\x7fELF\x02\x01\x01\x00\xff\xfe", "has a mistake"},
		"a wrong type":     {"[admin]\nlisten = 8081\n", "admin.listen"},
		"no address":       {"[admin]\nlisten = \"nowhere\"\n", "admin.listen"},
		"an unread secret": {"[admin]\ntoken = \"file:/no/such/token\"\n", "admin.token can't be read"},
		"a secret itself":  {"[admin]\ntoken = \"hunter2\"\n", "admin.token can't be read"},
	} {
		path := configFile(t, test.content)
		code, out, errOut := healthCheck("--config", path, "--admin-listen", a.Admin().String())
		if code != 0 || !strings.Contains(errOut, test.want) || strings.Contains(errOut, "hunter2") {
			t.Errorf("%s: exit %d: %s%s", what, code, out, errOut)
		}
	}
	missing := filepath.Join(t.TempDir(), "missing.toml")
	unreadable := t.TempDir()
	for _, path := range []string{missing, unreadable} {
		code, out, errOut := healthCheck("--config", path, "--admin-listen", a.Admin().String())
		if code != 0 || !strings.Contains(errOut, path) {
			t.Errorf("%s: exit %d: %s%s", path, code, out, errOut)
		}
	}
	good := configFile(t, fmt.Sprintf("[admin]\nlisten = %q\n", a.Admin()))
	if code, out, errOut := healthCheck("--config", good); code != 0 || errOut != "" {
		t.Errorf("a good file: exit %d: %s%s", code, out, errOut)
	}
}

// TestClientsOrderOfSources: flags go before the environment, that before the file,
// that before the default.
func TestClientsOrderOfSources(t *testing.T) {
	token := secretFile(t, "of the environment")
	file := configFile(t, "[admin]\nlisten = \"127.0.0.1:1001\"\ntoken = \"file:/of/the/file\"\n")
	t.Setenv(config.EnvConfig, file)
	client := func(args ...string) config.Client {
		t.Helper()
		c := &cli{}
		root := c.root()
		cmd, rest, err := root.Find(append([]string{"health"}, args...))
		if err == nil {
			err = cmd.ParseFlags(rest)
		}
		if err != nil {
			t.Fatal(err)
		}
		asked, err := askedOf(cmd)
		if err != nil {
			t.Fatal(err)
		}
		return config.ReadClient(asked)
	}
	want := func(cfg config.Client, listen string, token config.Secret) {
		t.Helper()
		if cfg.Address != listen || cfg.Token != token || len(cfg.Warnings) > 0 {
			t.Errorf("got %+v, want %s and %s", cfg, listen, token)
		}
	}
	want(client(), "127.0.0.1:1001", "file:/of/the/file")
	t.Setenv("APPLIANCE_ADMIN__LISTEN", "127.0.0.1:1002")
	t.Setenv("APPLIANCE_ADMIN__TOKEN", string(token))
	want(client(), "127.0.0.1:1002", token)
	want(client("--admin-listen", "127.0.0.1:1003"), "127.0.0.1:1003", token)
	want(client("--config", os.DevNull, "--admin-listen", "127.0.0.1:1003"), "127.0.0.1:1003", token)
}

// TestSenderNeedsItsCourierOnly: mistakes that have nothing to do with the courier don't
// keep a command from signing as it.
func TestSenderNeedsItsCourierOnly(t *testing.T) {
	t.Parallel()
	secret := secretFile(t, "a secret")
	sign := func(more string) (int, string) {
		path := configFile(t, fmt.Sprintf("%s\n[couriers.acme]\nsecrets = [%q]\n", more, secret))
		var out bytes.Buffer
		code := run(context.Background(), []string{"sign", "--config", path, "--courier", "acme", "-"}, strings.NewReader("{}"), &out, &out)
		return code, out.String()
	}
	for _, more := range []string{"", "[process]\nworkers = \"many\"\n", "[jetstrem]\nmode = 1\n"} {
		if code, out := sign(more); code != 0 {
			t.Errorf("with %q: exit %d: %s", more, code, out)
		}
	}
	if code, out := sign("[couriers.other]\nsecretz = 3\n"); code == 0 {
		t.Errorf("with a mistake in the couriers: %s", out)
	}
}

// TestFoundFileShowsNoSecret: what signs may be sent to an address that only a file in the
// working directory names, a secret itself may not.
func TestFoundFileShowsNoSecret(t *testing.T) {
	t.Chdir(t.TempDir())
	var shown atomic.Bool
	planted := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		shown.Store(strings.Contains(fmt.Sprint(r.Header, r.URL), "a-secret-of-somebody"))
	}))
	defer planted.Close()
	for scheme, needsConfig := range map[string]bool{
		"bearer": true, "static_header": true, "query_token": true, "gateway": false,
	} {
		content := fmt.Sprintf("[ingest]\npublic_url = %q\n[couriers.acme]\nscheme = %q\nsecrets = [%q]\n",
			planted.URL, scheme, secretFile(t, "a-secret-of-somebody"))
		if strings.HasPrefix(scheme, "static") || strings.HasPrefix(scheme, "query") {
			content += "signature.names = [\"x-secret\"]\n"
		}
		if err := os.WriteFile(config.DefaultFile, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		send := func(more ...string) string {
			var out bytes.Buffer
			run(t.Context(), append([]string{"send", "--shipment", "shp_1"}, more...), strings.NewReader(""), &out, &out)
			return out.String()
		}
		out := send()
		if refused := strings.Contains(out, "--config "+config.DefaultFile); refused != needsConfig || shown.Load() {
			t.Errorf("%s: refused %t, shown %t: %s", scheme, refused, shown.Load(), out)
		}
		for _, asked := range [][]string{{"--config", config.DefaultFile}, {"--url", planted.URL}} {
			shown.Store(false)
			if out := send(asked...); shown.Load() != needsConfig {
				t.Errorf("%s with %s: shown %t: %s", scheme, asked, shown.Load(), out)
			}
		}
		shown.Store(false)
	}
}

// configFile writes a configuration file and returns its path.
func configFile(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "appliance.toml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
