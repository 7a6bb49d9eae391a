package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/bench"
	loadtest "github.com/fincart/courier-gateway/bench/load"
	"github.com/fincart/courier-gateway/ingest/signature"
	"github.com/fincart/courier-gateway/ops/terminal"
)

// counter is a progress that counts.
type counter struct {
	total, ok, failed int
	said              []string
}

func (c *counter) Step(ok bool) {
	if ok {
		c.ok++
	} else {
		c.failed++
	}
}

func (c *counter) Print(line string) { c.said = append(c.said, line) }

func (c *counter) Clear() {}

// courierCLI runs the commands of a courier, and the load tests, as a shell would.
type courierCLI struct {
	url, scheme, secret string
	config              *signature.Config // in place of scheme and secret
	mapped              bool
	stdin               io.Reader
	progress            counter
}

// run returns what was printed and the exit code.
func (c *courierCLI) run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errOut bytes.Buffer
	if c.stdin == nil {
		c.stdin = strings.NewReader("")
	}
	if c.scheme == "" {
		c.scheme, c.secret = "gateway", "a secret"
	}
	root := &cobra.Command{Use: "appliance", SilenceUsage: true, SilenceErrors: true}
	commands := &courierCommands{
		target:   c.target,
		progress: func(_ string, total int) progress { c.progress = counter{total: total}; return &c.progress },
		in:       c.stdin, out: &out, err: &errOut, now: time.Now,
	}
	root.AddCommand(commands.sign(), commands.send(), loadtest.Command(loadtest.Deps{
		Target: c.target, Progress: terminal.NewProgress(terminal.ProgressConfig{Out: &errOut, Now: time.Now}),
		Serve: &cobra.Command{Use: "serve"}, In: c.stdin, Out: &out, Now: time.Now,
	}))
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&errOut)
	if err := root.ExecuteContext(t.Context()); err != nil {
		fmt.Fprintln(&errOut, "Error:", err)
		code = 1
		if coded, ok := errors.AsType[interface {
			error
			ExitCode() int
		}](err); ok {
			code = coded.ExitCode()
		}
	}
	return out.String(), errOut.String(), code
}

func (c *courierCLI) target(_ *cobra.Command, courier string) (bench.Target, error) {
	switch courier {
	case "":
		courier = "demo"
	case "nobody":
		return bench.Target{}, errors.New("there is no courier nobody")
	}
	target := bench.Target{Courier: courier, URL: c.url, Signature: settings(c.scheme, c.secret), Mapped: c.mapped}
	if c.config != nil {
		target.Signature = *c.config
	}
	return target, nil
}

func inFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "event.json")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// shells returns the shells that are installed, of those that a curl line is for.
func shells(t *testing.T) (paths []string) {
	t.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("curl is not installed, and CI must not go without")
		}
		t.Skip("curl is not installed")
	}
	for _, name := range []string{"/bin/sh", "bash", "zsh"} {
		if path, err := exec.LookPath(name); err == nil {
			paths = append(paths, path)
		}
	}
	return paths
}

// canonical is the courier's body, as the intake wants it.
type canonical struct {
	EventID, EventType, Source, IdempotencyKey string
	OccurredAt                                 time.Time
	Payload                                    struct{ ShipmentID, OrderID, Status string }
}

func decode(t *testing.T, body []byte) (c canonical) {
	t.Helper()
	if err := json.Unmarshal(body, &c); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return c
}

// ask posts body with these headers and returns the status.
func ask(t *testing.T, url, body string, headers map[string]string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func TestSignHeadersAreAccepted(t *testing.T) {
	t.Parallel()
	const body = `{"eventId":"evt_1"}`
	for _, scheme := range []string{"gateway", "gateway-body"} {
		in := newIntake(t, scheme, "a secret")
		for _, args := range [][]string{{}, {"--algorithm", "hmac-sha512"}, {"--courier", "other"}, {"--timestamp", strconv.FormatInt(time.Now().Add(-time.Minute).Unix(), 10)}} {
			c := &courierCLI{url: in.URL, scheme: scheme, secret: "a secret"}
			stdout, stderr, code := c.run(t, append([]string{"sign", inFile(t, body)}, args...)...)
			headers := map[string]string{}
			for line := range strings.Lines(stdout) {
				name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
				headers[name] = value
			}
			if status := ask(t, in.URL, body, headers); status != 202 || code != 0 {
				t.Errorf("%s %v: %d, exit %d: %s%s", scheme, args, status, code, stdout, stderr)
			}
			c.stdin = strings.NewReader(body)
			stdout, _, _ = c.run(t, append([]string{"sign", "--json", "-"}, args...)...)
			var shown struct{ Headers map[string]string }
			if err := json.Unmarshal([]byte(stdout), &shown); err != nil {
				t.Fatalf("%v: %s", err, stdout)
			}
			headers = shown.Headers
			if status := ask(t, in.URL, body, headers); status != 202 {
				t.Errorf("%s %v --json: %d: %s", scheme, args, status, stdout)
			}
			if status := ask(t, in.URL, body+" ", headers); status != 401 {
				t.Errorf("%s %v: another body is answered %d", scheme, args, status)
			}
		}
	}
}

func TestSignByAGivenTime(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{"1772107200": "1772107200", "2026-02-26T12:00:00Z": "1772107200", "2026-02-26T13:00:00+01:00": "1772107200"} {
		stdout, _, code := (&courierCLI{url: "http://x"}).run(t, "sign", "--timestamp", given)
		if !strings.Contains(stdout, "x-signature-timestamp: "+want+"\n") || code != 0 {
			t.Errorf("%s: exit %d: %s", given, code, stdout)
		}
	}
}

func TestSignPrintsACurlLineThatWorks(t *testing.T) {
	t.Parallel()
	in := newIntake(t, "gateway", "a secret")
	stdout, stderr, code := (&courierCLI{url: in.URL}).run(t, "sign", "--curl", "--courier", "other", inFile(t, "{\"it's\":\n1}\n"))
	if code != 0 || strings.Count(stdout, "\n") != 1 {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	for _, shell := range shells(t) {
		if out, err := exec.CommandContext(t.Context(), shell, "-c", stdout).CombinedOutput(); err != nil || !strings.Contains(string(out), `"acknowledged":true`) {
			t.Errorf("%s: %v: %s", shell, err, out)
		}
	}
	if bodies, paths := in.received(); len(bodies) == 0 || bodies[0] != "{\"it's\":\n1}\n" || paths[0] != "/v1/events/courier/other" {
		t.Errorf("received %q at %q", bodies, paths)
	}
}

func TestSendFilesAndStandardInput(t *testing.T) {
	t.Parallel()
	one, two, many := inFile(t, `{"n":1}`), inFile(t, "{\"n\":\n2}"), inFile(t, "{\"n\":1}\n\n  {\"n\":2}\r\n{\"n\":3}")
	for _, c := range []struct {
		args  string
		stdin string
		want  []string
	}{
		{one, "", []string{`{"n":1}`}},
		{one + " " + two, "", []string{`{"n":1}`, "{\"n\":\n2}"}},
		{"-", "  {} \n", []string{"  {} \n"}},
		{"--ndjson " + many, "", []string{`{"n":1}`, `{"n":2}`, `{"n":3}`}},
		{"--ndjson - " + many, "{}\n[]", []string{`{}`, `[]`, `{"n":1}`, `{"n":2}`, `{"n":3}`}},
	} {
		in := newIntake(t, "gateway", "a secret")
		stdout, stderr, code := (&courierCLI{url: in.URL, stdin: strings.NewReader(c.stdin)}).run(t, append([]string{"send"}, strings.Fields(c.args)...)...)
		if bodies, _ := in.received(); !slices.Equal(bodies, c.want) || code != 0 {
			t.Errorf("%s: exit %d, received %q: %s%s", c.args, code, bodies, stdout, stderr)
		}
	}
}

func TestSendMakesEventsUp(t *testing.T) {
	t.Parallel()
	in := newIntake(t, "gateway", "a secret")
	c := &courierCLI{url: in.URL}
	if stdout, stderr, code := c.run(t, "send", "--count", "300", "--concurrency", "8"); code != 0 || stdout != "" || !strings.HasPrefix(stderr, "300 accepted in ") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	if c.progress.total != 300 || c.progress.ok != 300 {
		t.Errorf("progress %+v", c.progress)
	}
	bodies, _ := in.received()
	keys := map[string]bool{}
	for _, body := range bodies {
		keys[decode(t, []byte(body)).IdempotencyKey] = true
	}
	if len(keys) != 300 {
		t.Errorf("%d keys", len(keys))
	}
}

func TestSendOverrides(t *testing.T) {
	t.Parallel()
	in := newIntake(t, "gateway", "a secret")
	run := func(args ...string) canonical {
		t.Helper()
		if stdout, stderr, code := (&courierCLI{url: in.URL}).run(t, append([]string{"send"}, args...)...); code != 0 {
			t.Errorf("%v: exit %d: %s%s", args, code, stdout, stderr)
		}
		return decode(t, []byte(in.last()))
	}
	first := run("--event-id", "evt_1", "--shipment", "shp_1", "--status", "in_transit")
	if first.EventID != "evt_1" || first.IdempotencyKey != "demo:evt_1" || first.Payload.ShipmentID != "shp_1" || first.Payload.Status != "in_transit" || first.Source != "demo" {
		t.Errorf("%+v", first)
	}
	if c := run("--key", "k/1"); c.IdempotencyKey != "k/1" {
		t.Errorf("%+v", c)
	}
	if c := run("--shipment", "shp_1", "--status", "delivered"); c.OccurredAt.Before(first.OccurredAt) || c.EventID == first.EventID {
		t.Errorf("%+v does not follow %+v", c, first)
	}
	if c := run("--shipment", "shp_2", "--count", "6"); c.Payload.Status != "delivered" && c.Payload.Status != "returned" {
		t.Errorf("the shipment's way ends in %+v", c)
	}
}

func TestSendTheSameEventOften(t *testing.T) {
	t.Parallel()
	in := newIntake(t, "gateway", "a secret")
	_, stderr, code := (&courierCLI{url: in.URL}).run(t, "send", "--count", "30", "--concurrency", "4", "--event-id", "evt_1")
	if code != 0 || !strings.HasPrefix(stderr, "30 accepted (29 duplicates) in ") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	bodies, _ := in.received()
	if same := slices.Compact(bodies); len(same) != 1 {
		t.Errorf("%d different bodies", len(same))
	}
}

func TestSendPrintsAnswers(t *testing.T) {
	t.Parallel()
	in := newIntake(t, "gateway", "a secret")
	stdout, stderr, code := (&courierCLI{url: in.URL}).run(t, "send", "--event-id", "evt_1")
	if want := `202 {"acknowledged":true,"eventId":"evt_1","duplicate":false}` + "\n"; stdout != want || stderr != "" || code != 0 {
		t.Errorf("exit %d: %q, %q", code, stdout, stderr)
	}
	stdout, _, _ = (&courierCLI{url: in.URL}).run(t, "send", "--json", "--event-id", "evt_1", "--count", "2")
	dec := json.NewDecoder(strings.NewReader(stdout))
	for range 2 {
		var a struct {
			Status int
			Body   struct{ Acknowledged, Duplicate bool }
		}
		if err := dec.Decode(&a); err != nil || a.Status != 202 || !a.Body.Acknowledged || !a.Body.Duplicate {
			t.Errorf("%+v, %v: %s", a, err, stdout)
		}
	}
}

func TestSendFailsWhenRefused(t *testing.T) {
	t.Parallel()
	in := newIntake(t, "gateway", "another secret")
	stdout, stderr, code := (&courierCLI{url: in.URL}).run(t, "send")
	if code != 1 || !strings.HasPrefix(stdout, "401 {") || !strings.Contains(stdout, "INVALID_SIGNATURE") || stderr != "Error: the event was refused\n" {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	stdout, stderr, code = (&courierCLI{url: in.URL}).run(t, "send", "--count", "30")
	if code != 1 || strings.Count(stdout, "401 {") != 30 || !strings.Contains(stderr, "0 accepted, 30 refused") || !strings.Contains(stderr, "30 of 30 events were not accepted") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	if _, _, code := (&courierCLI{url: newIntake(t, "gateway", "a secret").URL}).run(t, "send", "--timestamp", "2001-01-01T00:00:00Z"); code != 1 {
		t.Errorf("a stale timestamp: exit %d", code)
	}
}

func TestSendGoesOnPastWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	in := newIntake(t, "gateway", "a secret")
	c := &courierCLI{url: in.URL}
	_, stderr, code := c.run(t, "send", inFile(t, "1"), "/none/such", inFile(t, "2"))
	if bodies, _ := in.received(); code != 1 || !slices.Equal(bodies, []string{"1", "2"}) || len(c.progress.said) != 1 || !strings.Contains(c.progress.said[0], "/none/such") {
		t.Errorf("exit %d, received %q, said %q: %s", code, bodies, c.progress.said, stderr)
	}
	if _, stderr, code := c.run(t, "send", "/none/such"); code != 1 || !strings.Contains(stderr, "/none/such") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestSendStopsWhenNothingAnswers(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	c := &courierCLI{url: "http://" + ln.Addr().String()}
	_, stderr, code := c.run(t, "send", "--count", "100000", "--concurrency", "3")
	if code != 1 || !strings.Contains(stderr, "is `appliance serve` running?") || strings.Count(stderr, "serve") != 1 || len(c.progress.said) > 0 {
		t.Errorf("exit %d, said %q: %s", code, c.progress.said, stderr)
	}
	if c.progress.failed > 3 {
		t.Errorf("tried %d times", c.progress.failed)
	}
}

func TestSendDoesNotFollowAndIsSafeForTerminals(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "http://127.0.0.1:1/")
		w.WriteHeader(http.StatusTemporaryRedirect)
		fmt.Fprint(w, "go \x1b[2Jaway\u202e")
	}))
	t.Cleanup(server.Close)
	stdout, _, code := (&courierCLI{url: server.URL}).run(t, "send")
	if code != 1 || !strings.HasPrefix(stdout, "307 ") || strings.ContainsAny(stdout, "\x1b\u202e") {
		t.Errorf("exit %d: %q", code, stdout)
	}
}

func TestSendTrustsTheGivenCertificates(t *testing.T) {
	t.Parallel()
	in := newIntake(t, "gateway", "a secret")
	server := httptest.NewUnstartedServer(in)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are meant to be
	server.StartTLS()
	t.Cleanup(server.Close)
	ca := inFile(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	c := &courierCLI{url: server.URL}
	if stdout, stderr, code := c.run(t, "send", "--ca", ca); code != 0 {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	if _, stderr, code := c.run(t, "send", "--count", "100000"); code != 1 || !strings.Contains(stderr, "--ca") || c.progress.failed > 1 {
		t.Errorf("exit %d after %d: %s", code, c.progress.failed, stderr)
	}
	for _, bad := range []string{"/none/such", inFile(t, "no certificate")} {
		if _, stderr, code := c.run(t, "send", "--ca", bad); code != 1 || !strings.Contains(stderr, bad) {
			t.Errorf("%s: exit %d: %s", bad, code, stderr)
		}
	}
	if bodies, _ := in.received(); len(bodies) != 1 {
		t.Errorf("%d events arrived", len(bodies))
	}
}

func TestURL(t *testing.T) {
	t.Parallel()
	in := newIntake(t, "gateway", "a secret")
	if _, stderr, code := (&courierCLI{url: "http://127.0.0.1:1"}).run(t, "send", "--url", in.URL+"/hook"); code != 0 {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if _, paths := in.received(); !slices.Equal(paths, []string{"/hook"}) {
		t.Errorf("paths %q", paths)
	}
}

func TestWrongUsageExitsWith2(t *testing.T) {
	t.Parallel()
	in := newIntake(t, "gateway", "a secret")
	for _, line := range []string{
		"sign --algorithm md5", "sign --timestamp noon", "sign --url nowhere", "sign --json --curl",
		"send --count 0", "send --concurrency 0", "send --ndjson", "send --count 2 f", "send --status x -", "send --url h:1", "send --algorithm none", "send --timestamp x",
	} {
		if stdout, stderr, code := (&courierCLI{url: in.URL}).run(t, strings.Fields(line)...); code != 2 || stdout != "" {
			t.Errorf("%s: exit %d: %s%s", line, code, stdout, stderr)
		}
	}
	for _, line := range []string{"sign a b", "sign --nope", "send --count x", "send --nope"} {
		if stdout, _, code := (&courierCLI{url: in.URL}).run(t, strings.Fields(line)...); code == 0 || stdout != "" {
			t.Errorf("%s: exit %d: %s", line, code, stdout)
		}
	}
	if bodies, _ := in.received(); len(bodies) > 0 {
		t.Errorf("sent %q nevertheless", bodies)
	}
	if _, stderr, code := (&courierCLI{}).run(t, "sign", "--courier", "nobody"); code != 1 || !strings.Contains(stderr, "no courier nobody") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestSendEndsWithItsContext(t *testing.T) {
	t.Parallel()
	in := newIntake(t, "gateway", "a secret")
	r, w := io.Pipe() // an input that never comes
	defer w.Close()
	c := &courierCommands{in: r, out: io.Discard, err: io.Discard, now: time.Now, progress: func(string, int) progress { return &counter{} }}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		v := &bench.Courier{Signer: newSigner(t, in.URL, settings("gateway", "a secret")), Now: time.Now}
		ended <- c.sendAll(ctx, v, c.fileBodies([]string{"-"}, true), 0, sendFlags{concurrency: 2})
	}()
	cancel()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("ended as if all were sent")
		}
	case <-time.After(10 * time.Second):
		t.Error("still waiting for the input")
	}
}
