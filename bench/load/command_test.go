package load

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/fincart/courier-gateway/bench"
	"github.com/fincart/courier-gateway/bench/proof"
)

// cli runs the commands as a shell would.
type cli struct {
	url    string
	admin  string
	ledger *fake // nil for one that is asked at the admin address
	stdin  io.Reader
}

// run returns what was printed and the exit code.
func (c *cli) run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errOut bytes.Buffer
	root := &cobra.Command{Use: "appliance", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(Command(Deps{
		Target: func(*cobra.Command, string) (bench.Target, error) {
			return bench.Target{Courier: "demo", URL: c.url, Signature: settings("gateway")}, nil
		},
		Admin: func(_ *cobra.Command, address, _ string) (string, string, error) {
			return cmp.Or(address, c.admin), "", nil
		},
		Ledger: func(address, _ string, via http.RoundTripper) (proof.Ledger, error) {
			if _, err := url.Parse("http://" + strings.TrimPrefix(address, "http://")); err != nil {
				return nil, err
			}
			return &askedLedger{fake: c.ledger, address: address, via: via}, nil
		},
		Progress: printed{&errOut}, Serve: &cobra.Command{Use: "serve"}, In: c.stdin, Out: &out, Now: time.Now,
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

// askedLedger is a fake's, or one that does not answer: it only connects.
type askedLedger struct {
	*fake
	address string
	via     http.RoundTripper
}

func (l *askedLedger) Figures(ctx context.Context) (proof.Figures, error) {
	if l.fake != nil {
		return l.fake.Figures(ctx)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+strings.TrimPrefix(l.address, "http://"), nil)
	if err == nil {
		_, err = l.via.RoundTrip(r)
	}
	return proof.Figures{}, err
}

// printed is progress that prints its lines only.
type printed struct{ out io.Writer }

func (p printed) Print(line string) { fmt.Fprintln(p.out, line) }
func (printed) During(ctx context.Context, line func() (string, float64)) {
	line()
	<-ctx.Done()
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "results")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBenchARunningAppliance(t *testing.T) {
	t.Parallel()
	d := newFake(t, bench.Faults{Seed: 1, Transient: 0.1})
	page, results := filepath.Join(t.TempDir(), "report.html"), filepath.Join(t.TempDir(), "results.gob")
	c := &cli{ledger: d}
	stdout, stderr, code := c.run(t, "bench", "--target", d.URL, "--duration", "1s", "--rate", "300/s", "--seed", "7",
		"--duplicates", "10%", "--invalid", "10%", "--out-of-order", "10%", "--p95", "0", "--within", "30s", "--json", "--html", page, "--results", results)
	if code != 0 {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	var got Report
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	if !got.Passed || got.Run.Seed != "7" || got.Run.Sync != "none" || got.Run.Version != "fake" || len(got.Samples) == 0 ||
		got.Proof.Transient == 0 || got.Proof.Recovered != got.Proof.Transient || got.Proof.Acknowledged != uint64(len(d.records)) {
		t.Errorf("%+v\n%+v", got.Run, got.Proof)
	}
	if want := " --duplicates=10% --duration=1s --invalid=10% --out-of-order=10% --p95=0s --rate=300/s --target=" + d.URL + " --within=30s --seed=7"; !strings.HasSuffix(got.Run.Command, want) {
		t.Errorf("the command is %s", got.Run.Command)
	}
	if raw, err := os.ReadFile(page); err != nil || !bytes.Contains(raw, []byte("every threshold reached")) {
		t.Errorf("%v: %s", err, raw)
	}
	if requests := countResults(t, results); requests < 250 || requests != 300 {
		t.Errorf("%d results are in the file", requests)
	}
	for _, want := range []string{"sending: open loop, 300/s, 100 connections, for 1s", "waiting for the backlog", "reading the ledger", "report: " + page} {
		if !strings.Contains(stderr, want) {
			t.Errorf("%q is not said: %s", want, stderr)
		}
	}
}

func countResults(t *testing.T, file string) (n int) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for decode := vegeta.DecoderFor(f); ; n++ {
		var r vegeta.Result
		if err := decode(&r); errors.Is(err, io.EOF) {
			return n
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestBenchExitsWith3WhenAThresholdIsMissed(t *testing.T) {
	t.Parallel()
	d := newFake(t, bench.Faults{})
	n := 0
	d.refuse = func(string) int { // one in twenty
		d.mu.Lock()
		defer d.mu.Unlock()
		if n++; n%20 == 0 {
			return http.StatusServiceUnavailable
		}
		return 0
	}
	stdout, stderr, code := (&cli{ledger: d}).run(t, "bench", "--target", d.URL, "--events", "200", "--connections", "4")
	if code != 3 || !strings.Contains(stdout, "MISSED") || !strings.Contains(stderr, "threshold was missed") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	if !strings.Contains(stdout, "proof: every event looked up") {
		t.Errorf("no proof: %s", stdout)
	}
}

// Of a backlog that did not drain, a sample of the ledger may show good rows only.
func TestBenchOfABacklogThatDoesNotDrain(t *testing.T) {
	t.Parallel()
	d := newFake(t, bench.Faults{})
	d.behind = 30
	stdout, stderr, code := (&cli{ledger: d}).run(t, "bench", "--target", d.URL, "--events", "100", "--check", "10",
		"--drain-timeout", "20ms", "--p95", "0", "--within", "30s", "--json")
	var got Report
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("exit %d: %v: %s%s", code, err, stdout, stderr)
	}
	if missed := missedIDs(got.Criteria); code != 3 || !slices.Equal(missed, []string{"SC-002"}) {
		t.Errorf("exit %d, missed are %v: %s", code, missed, stderr)
	}
	if p := got.Proof; p.LookedUp != 10 || p.NotTerminal != 30 || len(p.Findings) != 1 || !strings.Contains(p.Findings[0], "70 of 100 queued events") {
		t.Errorf("%+v", p)
	}
}

func TestBenchMeasuresOnly(t *testing.T) {
	t.Parallel()
	d := newFake(t, bench.Faults{})
	for _, client := range []string{clientLean, clientVegeta} {
		stdout, stderr, code := (&cli{admin: "127.0.0.1:1"}).run(t, "bench", "--target", d.URL, "--events", "100", "--client", client, "--check", "none", "--p95", "0", "--within", "30s")
		if code != 0 || strings.Contains(stdout, "SC-002") || !strings.Contains(stdout, "SC-001") {
			t.Errorf("%s: exit %d: %s%s", client, code, stdout, stderr)
		}
	}
}

func TestBenchWithoutAnAdminListenerSendsNothing(t *testing.T) {
	t.Parallel()
	d := newFake(t, bench.Faults{})
	_, stderr, code := (&cli{admin: "127.0.0.1:1"}).run(t, "bench", "--target", d.URL, "--events", "100")
	if code != 1 || !strings.Contains(stderr, "--check none") || len(d.records) > 0 {
		t.Errorf("exit %d, %d events: %s", code, len(d.records), stderr)
	}
	if _, stderr, code := (&cli{}).run(t, "bench", "--target", d.URL, "--events", "100", "--admin", "http://192.0.2.1"); code != 2 || len(d.records) > 0 {
		t.Errorf("exit %d, %d events: %s", code, len(d.records), stderr)
	}
}

func TestBenchIsNotForOtherMachines(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"http://192.0.2.1:80", "http://[2001:db8::1]"} {
		if _, stderr, code := (&cli{}).run(t, "bench", "--target", target); code != 2 || !strings.Contains(stderr, "--allow-remote") {
			t.Errorf("%s: exit %d: %s", target, code, stderr)
		}
	}
}

func TestBenchUsage(t *testing.T) {
	t.Parallel()
	d := newFake(t, bench.Faults{})
	for _, line := range []string{
		"--admin x", "--allow-remote", "--connections 0", "--connections 100000", "--duration 0s", "--timeout -1s", "--drain-timeout 0s",
		"--client curl", "--invalid 100%", "--seed x", "--seed -1", "--check some", "--check 0",
		"--target URL --transient 5%", "--target URL --permanent 5%", "--target URL --sync always", "--target URL --keep", "--target URL --appliance-config x",
		"--target nowhere", "--target URL --admin http://%zz",
	} {
		args := append([]string{"bench"}, strings.Fields(strings.ReplaceAll(line, "URL", d.URL))...)
		if stdout, stderr, code := (&cli{ledger: d}).run(t, args...); code != 2 || stdout != "" {
			t.Errorf("%s: exit %d: %s%s", line, code, stdout, stderr)
		}
	}
	if len(d.records) > 0 {
		t.Errorf("%d events were sent nevertheless", len(d.records))
	}
	for _, line := range []string{"--rate x", "--duplicates 10", "--transient 200%", "x"} {
		if _, _, code := (&cli{}).run(t, append([]string{"bench"}, strings.Fields(line)...)...); code == 0 {
			t.Errorf("%s: exit 0", line)
		}
	}
}

func TestTargetsAreForVegeta(t *testing.T) {
	t.Parallel()
	d := newFake(t, bench.Faults{})
	stdout, stderr, code := (&cli{url: d.URL}).run(t, "bench", "targets", "--count", "50", "--seed", "3", "--duplicates", "20%", "--out-of-order", "20%")
	if code != 0 || strings.Count(stdout, "\n") != 50 {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	again, _, _ := (&cli{url: d.URL}).run(t, "bench", "targets", "--count", "50", "--seed", "3", "--duplicates", "20%", "--out-of-order", "20%", "--timestamp", "1772107200")
	targets, err := vegeta.ReadAllTargets(vegeta.NewJSONTargeter(strings.NewReader(stdout), nil, nil))
	if err != nil || len(targets) != 50 || strings.Count(again, "\n") != 50 {
		t.Fatalf("%d targets, %v", len(targets), err)
	}
	bodies := map[string]bool{}
	for _, target := range targets {
		bodies[string(target.Body)] = true
		req, err := target.Request()
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusAccepted || req.Method != http.MethodPost || req.URL.Path != "/v1/events/courier/demo" {
			t.Fatalf("%+v is answered %d", target, resp.StatusCode)
		}
	}
	if len(bodies) != len(d.records) || len(bodies) == 50 || len(bodies) < 30 {
		t.Errorf("%d different events, %d taken", len(bodies), len(d.records))
	}
}

func TestVegetaShootsTargetsAndAssertJudges(t *testing.T) {
	t.Parallel()
	d := newFake(t, bench.Faults{})
	stdout, _, _ := (&cli{url: d.URL}).run(t, "bench", "targets", "--count", "100")
	attacker := vegeta.NewAttacker(vegeta.Workers(4), vegeta.MaxWorkers(4))
	var results bytes.Buffer
	encode := vegeta.NewEncoder(&results)
	for r := range attacker.Attack(vegeta.NewJSONTargeter(strings.NewReader(stdout), nil, nil), vegeta.Rate{}, 0, "x") {
		if r.Error == vegeta.ErrNoTargets.Error() {
			continue
		}
		if err := encode(r); err != nil {
			t.Fatal(err)
		}
	}
	out, stderr, code := (&cli{stdin: &results}).run(t, "bench", "assert", "--p95", "0", "--within", "30s")
	if code != 0 || !strings.Contains(out, "fresh     202     100") {
		t.Errorf("exit %d: %s%s", code, out, stderr)
	}
	if len(d.records) != 100 {
		t.Errorf("%d events were taken", len(d.records))
	}
}

// results returns vegeta's results of so many requests that took this long, the
// last of them refused.
func results(t *testing.T, encoding func(io.Writer) vegeta.Encoder, n, refused int, took time.Duration) string {
	t.Helper()
	var out bytes.Buffer
	encode := encoding(&out)
	for i := range n {
		r := vegeta.Result{Seq: uint64(i), Code: 202, Timestamp: noon.Add(time.Duration(i) * time.Millisecond), Latency: took, Method: "POST", URL: "http://x", Body: []byte("{}")}
		if i >= n-refused {
			r.Code, r.Error = 503, "503 Service Unavailable"
		}
		if err := encode(&r); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

func TestAssert(t *testing.T) {
	t.Parallel()
	encodings := map[string]func(io.Writer) vegeta.Encoder{"gob": vegeta.NewEncoder, "json": vegeta.NewJSONEncoder, "csv": vegeta.NewCSVEncoder}
	for name, encoding := range encodings {
		for _, c := range []struct {
			refused int
			took    time.Duration
			args    string
			code    int
		}{
			{0, time.Millisecond, "", 0},
			{2, time.Millisecond, "", 0},
			{3, time.Millisecond, "", 3},
			{3, time.Millisecond, "--acknowledged 98%", 0},
			{0, 160 * time.Millisecond, "", 3},
			{0, 160 * time.Millisecond, "--p95 200ms", 0},
			{0, 160 * time.Millisecond, "--p95 0", 0},
			{0, 11 * time.Millisecond, "--p99 10ms", 3},
			{0, 3 * time.Second, "--p95 0", 3},
			{0, 3 * time.Second, "--p95 0 --within 4s", 0},
		} {
			in := results(t, encoding, 200, c.refused, c.took)
			args := append([]string{"bench", "assert"}, strings.Fields(c.args)...)
			if stdout, stderr, code := (&cli{stdin: strings.NewReader(in)}).run(t, args...); code != c.code || stdout == "" {
				t.Errorf("%s, %d refused, %v %s: exit %d: %s%s", name, c.refused, c.took, c.args, code, stdout, stderr)
			}
			if _, _, code := (&cli{}).run(t, append(args, file(t, in))...); code != c.code {
				t.Errorf("%s from a file: exit %d", name, code)
			}
		}
	}
}

func TestAssertReports(t *testing.T) {
	t.Parallel()
	page := filepath.Join(t.TempDir(), "report.html")
	in := results(t, vegeta.NewEncoder, 100, 0, 5*time.Millisecond)
	stdout, stderr, code := (&cli{}).run(t, "bench", "assert", "--json", "--html", page, file(t, in))
	var got Report
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 || got.Latency.Count != 100 || got.Latency.P50 < 0.005 || got.Latency.P50 > 0.0051 {
		t.Errorf("exit %d, %v: %s%s", code, err, stdout, stderr)
	}
	if _, err := os.Stat(page); err != nil {
		t.Error(err)
	}
}

func TestAssertNeedsResults(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"", "hello\n", "{}", results(t, vegeta.NewCSVEncoder, 3, 0, 1) + "1,2\n"} {
		if stdout, stderr, code := (&cli{stdin: strings.NewReader(in)}).run(t, "bench", "assert"); code != 1 || stdout != "" {
			t.Errorf("%q: exit %d: %s%s", in, code, stdout, stderr)
		}
	}
	if _, stderr, code := (&cli{}).run(t, "bench", "assert", "/none/such"); code != 1 || !strings.Contains(stderr, "/none/such") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}
