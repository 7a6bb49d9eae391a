package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/reprocess"
	"github.com/fincart/courier-gateway/ops"
	"github.com/fincart/courier-gateway/ops/admin"
	"github.com/fincart/courier-gateway/ops/admintest"
	"github.com/fincart/courier-gateway/ops/client"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// caller runs the operators' commands as a terminal or a script would.
type caller struct {
	address, token string
	stdin          string
	terminal       bool
}

// run returns what was printed and the exit code.
func (c caller) run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errOut bytes.Buffer
	root := &cobra.Command{Use: "appliance", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(Commands(Deps{
		Admin: func(*cobra.Command) (client.Config, error) {
			return client.Config{Address: c.address, Token: c.token}, nil
		},
		In: strings.NewReader(c.stdin), Out: &out, Err: &errOut, InTerminal: c.terminal, ErrTerminal: c.terminal,
		Now: func() time.Time { return admintest.Noon }, Zone: time.FixedZone("CET", 3600),
		Couriers: []*cobra.Command{
			{Use: "test COURIER FILE", Run: func(*cobra.Command, []string) { fmt.Fprintln(&out, "tested") }},
			{Use: "presets", Run: func(*cobra.Command, []string) { fmt.Fprintln(&out, "listed") }},
		},
	})...)
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

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not as in %s (-update rewrites it):\n%s", name, path, got)
	}
}

func TestOutputForPeople(t *testing.T) {
	t.Parallel()
	address := admintest.Start(t, admin.DefaultConfig(), admintest.Sample().Deps())
	for name, args := range map[string][]string{
		"events_show":    {"events", "show", "demo:evt_1"},
		"events_none":    {"events", "show", "nothing"},
		"events_several": {"events", "show", "shared"},
		"shipments_show": {"shipments", "show", "shp_1"},
		"dlq_list":       {"dlq", "list"},
		"dlq_list_page":  {"dlq", "list", "--limit", "2"},
		"dlq_list_all":   {"dlq", "list", "--limit", "2", "--all-pages"},
		"dlq_list_none":  {"dlq", "list", "--courier", "unknown"},
		"dlq_list_json":  {"dlq", "list", "--limit", "1", "--json"},
		"dlq_show":       {"dlq", "show", "1-abcd"},
		"dlq_dry_run":    {"dlq", "replay", "--all", "--dry-run"},
		"dlq_dry_run_id": {"dlq", "close", "--dry-run", "1-abcd", "9-none"},
		"health":         {"health"},

		"rejections_list":           {"rejections", "list"},
		"rejections_list_page":      {"rejections", "list", "--open", "--code", "invalid_signature", "--limit", "1"},
		"rejections_list_none":      {"rejections", "list", "--courier", "unknown"},
		"rejections_list_json":      {"rejections", "list", "--outcome", "Observed", "--json"},
		"rejections_show":           {"rejections", "show", admintest.RefusedID},
		"rejections_show_aggregate": {"rejections", "show", admintest.AggregateID},
		"rejections_show_accepted":  {"rejections", "show", admintest.LaterAcceptedID},
		"rejections_show_cut":       {"rejections", "show", admintest.CutID},
		"rejections_show_redacted":  {"rejections", "show", admintest.RedactedID},
		"rejections_show_observed":  {"rejections", "show", admintest.ObservedID},
		"rejections_dry_run":        {"rejections", "accept", "--all", "--dry-run"},
		"rejections_dry_run_ids":    {"rejections", "accept", "--dry-run", admintest.RefusedID, admintest.LaterAcceptedID, admintest.AggregateID, "nothing"},
		"couriers_list":             {"couriers", "list"},
		"couriers_reload":           {"couriers", "reload"},
		"couriers_unmapped":         {"couriers", "unmapped"},
		"events_reprocess":          {"events", "reprocess", "--yes"},
		"events_reprocess_dry_run":  {"events", "reprocess", "--dry-run", "--since", "36h", "--until", "2026-02-26T11:00:00Z"},
		"events_reprocess_json":     {"events", "reprocess", "--dry-run", "--json"},
		"events_reprocess_none":     {"events", "reprocess", "--courier", "alpha", "--dry-run"},
		"events_reprocess_times":    {"events", "reprocess", "--since", "yesterday", "--dry-run"},
		"events_reprocess_nothing":  {"events", "reprocess", "--since", "1h", "--until", "2h", "--dry-run"},
		"events_reprocess_unasked":  {"events", "reprocess"},

		"queue_losses":      {"queue", "losses"},
		"queue_losses_json": {"queue", "losses", "--json"},
		"queue_dry_run":     {"queue", "acknowledge-loss", "--all", "--dry-run"},
		"queue_dry_run_ids": {"queue", "acknowledge-loss", "--dry-run", "1", "9"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stdout, stderr, code := caller{address: address}.run(t, args...)
			golden(t, name, fmt.Sprintf("%s--- stderr\n%s--- exit %d\n", stdout, stderr, code))
		})
	}
}

func TestOutputIsSafeForTerminals(t *testing.T) {
	t.Parallel()
	address := admintest.Start(t, admin.DefaultConfig(), admintest.Sample().Deps())
	for _, args := range [][]string{
		{"dlq", "list"}, {"dlq", "show", "1-abcd"}, {"dlq", "list", "--json"}, {"dlq", "show", "1-abcd", "--json"}, {"events", "show", "demo:evt_1"},
		{"events", "show", "\x1b[2J\u202e"},
		{"rejections", "list"}, {"rejections", "list", "--json"}, {"rejections", "show", admintest.RefusedID}, {"rejections", "show", admintest.RefusedID, "--json"},
		{"rejections", "show", admintest.LaterAcceptedID}, {"rejections", "show", admintest.RedactedID}, {"rejections", "accept", "--dry-run", "--all"}, {"rejections", "accept", "--yes", admintest.LaterAcceptedID},
		{"couriers", "list"}, {"couriers", "list", "--json"}, {"couriers", "unmapped"}, {"couriers", "unmapped", "--json"}, {"queue", "losses"}, {"queue", "losses", "--json"},
	} {
		stdout, stderr, _ := caller{address: address}.run(t, args...)
		if i := strings.IndexAny(stdout+stderr, "\x1b\u202e\u009b\a\b"); i >= 0 {
			t.Errorf("%q prints a character that acts on terminals: %q", args, (stdout + stderr)[i:])
		}
	}
}

func TestStatusForPeople(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	counts, worker, reconciler := m.Totals, m.Deps().Worker(), m.Deps().Reconciler()
	counts.Approximate = map[string]string{"processed": "about", "pending": "at least"}
	status := ops.Status{
		Version: "1.2.3", Role: "all", StartedAt: admintest.Noon.Add(-27 * time.Hour), UptimeSeconds: 97200, At: admintest.Noon, DataDir: "./data",
		Listeners: []ops.Listener{{Name: "public", Address: "0.0.0.0:8443", TLS: true}, {Name: "admin", Address: "127.0.0.1:8081"}},
		NotReady:  "draining", Observing: []string{"open", "x\x1b[31m"}, Health: ops.Health{Status: "degraded", Parts: map[string]string{"redis": "disconnected", "mongo": "embedded", "cache": "redis", "store": "sqlite"}},
		Attention: []ops.Attention{{Courier: "acme", What: "it has sent nothing for 5h0m0s", Do: "ask the sender"}},
		Queue:     &ops.QueueStatus{QueueState: m.Queue, Unprocessed: 4}, Store: &counts, Worker: &worker, Reconciler: &reconciler,
		Problems: []string{"store: TIMEOUT"},
	}
	status.Queue.Problem = "disk reserve reached"
	status.Queue.Servers = &event.QueueServers{
		Wanted: 3, Leader: "n1", Replicas: []event.QueueReplica{{Name: "n2", Current: true}, {Name: "n3", Missing: true}, {Name: "n4", Lag: 7}},
		Connected: map[string]string{"publish": "n2", "admin": "n1", "consume": ""},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w, status) }))
	t.Cleanup(server.Close)
	stdout, _, code := caller{address: server.URL}.run(t, "status")
	golden(t, "status", stdout)
	if code != 0 {
		t.Errorf("exit %d", code)
	}
	var back ops.Status
	stdout, _, _ = caller{address: server.URL}.run(t, "status", "--json")
	if err := json.Unmarshal([]byte(stdout), &back); err != nil || back.Queue == nil || back.Queue.LastSeq != 44 {
		t.Errorf("%v: %s", err, stdout)
	}
}

func TestJSONHasTheDocumentedNames(t *testing.T) {
	t.Parallel()
	address := admintest.Start(t, admin.DefaultConfig(), admintest.Sample().Deps())
	for command, names := range map[string]string{
		"events show demo:evt_1":       "courier idempotencyKey status eventId receivedAt attempts traceId sequence conflicts",
		"shipments show shp_1":         "courier shipmentId state rawStatus history leg",
		"dlq show 1-abcd":              "id courier idempotencyKey errorCode message attempts headers body reviewStatus",
		"dlq list":                     "deadLetters",
		"dlq list --courier none":      "deadLetters",
		"status":                       "version role health queue store worker reconciler listeners dataDir",
		"health":                       "status redis mongo timestamp",
		"dlq replay --dry-run 1-abcd":  "action dryRun done failed untried",
		"dlq review 3-abcd --note x":   "action dryRun done failed untried",
		"dlq list --limit 1 --code ''": "deadLetters",

		"rejections list":                                        "records",
		"rejections list --courier none":                         "records",
		"rejections show " + admintest.RefusedID:                 "id courier outcome count bytes at until errorCode reason detail status address traceId request",
		"rejections accept --all --dry-run":                      "action dryRun done failed untried",
		"rejections accept --yes --vouch " + admintest.RefusedID: "action dryRun done failed untried",
		"couriers list":                                          "couriers",
		"queue losses":                                           "losses",
		"queue acknowledge-loss --all --dry-run":                 "action dryRun done failed untried",
		"couriers reload":                                        "couriers changed",
	} {
		args := strings.Fields(strings.ReplaceAll(command, "''", "domain_invalid"))
		stdout, stderr, code := caller{address: address}.run(t, append(args, "--json")...)
		var members map[string]any
		if err := json.Unmarshal([]byte(stdout), &members); err != nil || code != 0 {
			t.Errorf("%s: exit %d, %v: %s%s", command, code, err, stdout, stderr)
		}
		for name := range strings.FieldsSeq(names) {
			if _, ok := members[name]; !ok {
				t.Errorf("%s: no %q in %s", command, name, stdout)
			}
		}
	}
}

func TestAllPagesAsJSON(t *testing.T) {
	t.Parallel()
	address := admintest.Start(t, admin.DefaultConfig(), admintest.Sample().Deps())
	for args, want := range map[string]int{"--all-pages": 3, "--all-pages --limit=1": 3, "--limit=1": 1, "--limit=2 --after=2-abcd": 1} {
		stdout, _, code := caller{address: address}.run(t, append([]string{"dlq", "list", "--json"}, strings.Fields(args)...)...)
		var page ops.DeadLetterPage
		if err := json.Unmarshal([]byte(stdout), &page); err != nil || len(page.DeadLetters) != want || code != 0 {
			t.Errorf("%s: exit %d, %v: %s", args, code, err, stdout)
		}
		if more := args == "--limit=1"; (page.Next != "") != more {
			t.Errorf("%s: next %q", args, page.Next)
		}
	}
}

func TestWrongUsageExitsWith2(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	address := admintest.Start(t, admin.DefaultConfig(), m.Deps())
	for _, line := range []string{
		"health --timeout 0s", "events", "events list", "dlq", "dlq nope", "dlq list --status open", "dlq list --code DOMAIN_INVALD", "dlq replay --all --yes --code nope", "rejections list --code nope", "rejections accept --all --yes --code nope", "dlq list --limit -1", "dlq list --limit 501",
		"dlq replay", "dlq replay 1-abcd --all --yes", "dlq replay 1-abcd --courier demo --yes", "dlq replay --all --status open --yes",
		"dlq replay 1-abcd", "dlq replay --all", "dlq close 1-abcd",
		"rejections", "rejections nope", "rejections list --outcome accepted", "rejections list --limit 501", "rejections accept", "rejections accept a --all --yes",
		"rejections accept a --courier demo --yes", "rejections accept --all --vouch --yes", "rejections accept --all --limit -1 --yes", "rejections accept " + admintest.RefusedID,
		"rejections accept --all", "couriers", "couriers nope",
		"queue", "queue nope", "queue acknowledge-loss", "queue acknowledge-loss 1 --all", "queue acknowledge-loss 1", "queue acknowledge-loss --all",
	} {
		stdout, stderr, code := caller{address: address}.run(t, strings.Fields(line)...)
		if code != 2 || stdout != "" {
			t.Errorf("%s: exit %d: %s%s", line, code, stdout, stderr)
		}
	}
	for _, line := range []string{
		"status extra", "status --nope", "health --timeout x", "events show", "events show a b", "shipments show", "dlq list x", "dlq list --limit x", "dlq show",
		"dlq close --yes", "dlq close --note x --yes", "dlq review", "dlq review --yes 1-abcd", "dlq close --all --yes",
		"rejections list x", "rejections show", "rejections show a b", "rejections accept --status pending", "couriers list x", "couriers reload x",
		"queue losses x",
	} {
		if stdout, _, code := (caller{address: address}).run(t, strings.Fields(line)...); code == 0 || stdout != "" {
			t.Errorf("%s: exit %d: %s", line, code, stdout)
		}
	}
	if len(m.Replayed()) > 0 || m.Letter(0).ReviewStatus != event.ReviewPending || len(m.Intake.Accepted()) > 0 {
		t.Error("something was done nevertheless")
	}
	if losses := m.Losses(); !losses[1].AcknowledgedAt.IsZero() {
		t.Errorf("%+v was acknowledged nevertheless", losses[1])
	}
}

func TestReplayAsksOnATerminal(t *testing.T) {
	t.Parallel()
	for answer, done := range map[string]bool{"y\n": true, "YES\n": true, "n\n": false, "\n": false, "": false, "yo\n": false} {
		m := admintest.Sample()
		_, stderr, code := caller{address: admintest.Start(t, admin.DefaultConfig(), m.Deps()), stdin: answer, terminal: true}.run(t, "dlq", "replay", "1-abcd")
		if (len(m.Replayed()) == 1) != done || (code == 0) != done || !strings.Contains(stderr, "Replay 1 dead letter? [y/N]") {
			t.Errorf("answer %q: replayed %v, exit %d: %s", answer, m.Replayed(), code, stderr)
		}
	}
}

func TestReplayGoesOnPastFailures(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	m.Broken["2-abcd"] = event.Errorf(event.Forged, "replay", "no valid stamp")
	address := admintest.Start(t, admin.DefaultConfig(), m.Deps())
	stdout, stderr, code := caller{address: address}.run(t, "dlq", "replay", "--yes", "1-abcd", "2-abcd", "1-abcd", "9-none", "3-abcd")
	golden(t, "dlq_replay_failures", fmt.Sprintf("%s--- stderr\n%s--- exit %d\n", stdout, stderr, code))
	if fmt.Sprint(m.Replayed()) != "[1-abcd 3-abcd]" {
		t.Errorf("replayed %v", m.Replayed())
	}

	stdout, _, code = caller{address: address}.run(t, "dlq", "replay", "--yes", "--json", "2-abcd", "3-abcd")
	var report actionReport
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != 1 {
		t.Fatalf("exit %d, %v: %s", code, err, stdout)
	}
	if len(report.Done) != 1 || report.Done[0].Nonce != "nonce-3-abcd" || len(report.Failed) != 1 || report.Failed[0].Code != event.Forged {
		t.Errorf("report %+v", report)
	}
}

func TestReplayAllTakesTheOpenOnes(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"":                        "[1-abcd 2-abcd]",
		"--limit 1":               "[1-abcd]",
		"--status closed":         "[3-abcd]",
		"--key demo:dead_2":       "[2-abcd]",
		"--courier unknown":       "[]",
		"--status pending --json": "[1-abcd]",
	} {
		m := admintest.Sample()
		_, stderr, code := caller{address: admintest.Start(t, admin.DefaultConfig(), m.Deps())}.run(t, append([]string{"dlq", "replay", "--all", "--yes"}, strings.Fields(args)...)...)
		if fmt.Sprint(m.Replayed()) != want || code != 0 {
			t.Errorf("%s: replayed %v, exit %d: %s", args, m.Replayed(), code, stderr)
		}
	}
}

func TestReplayAllOfManyPages(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	letter := m.Letters[0]
	m.Letters = nil
	for i := range 2*ops.MaxPage + 1 {
		letter.ID = fmt.Sprintf("%d-abcd", i)
		m.Letters = append(m.Letters, letter)
	}
	stdout, _, code := caller{address: admintest.Start(t, admin.DefaultConfig(), m.Deps())}.run(t, "dlq", "replay", "--all", "--yes")
	if len(m.Replayed()) != len(m.Letters) || code != 0 || !strings.HasSuffix(stdout, fmt.Sprintf("\n%d dead letters replayed\n", len(m.Letters))) {
		t.Errorf("replayed %d of %d, exit %d: %s", len(m.Replayed()), len(m.Letters), code, stdout)
	}
	if lines := strings.Count(stdout, "\n"); lines > maxListed+2 {
		t.Errorf("%d lines for people", lines)
	}
}

func TestReplayStopsWhenTheApplianceIsGone(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	server := httptest.NewUnstartedServer(nil)
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 2 {
			panic(http.ErrAbortHandler) // hangs up
		}
		answer(w, event.ReplayLink{Nonce: "n", Sequence: 7, At: admintest.Noon})
	})
	server.Start()
	t.Cleanup(server.Close)
	stdout, stderr, code := caller{address: server.URL}.run(t, "dlq", "replay", "--yes", "a", "b", "c", "d")
	if code != ExitUnreachable || asked.Load() != 2 || !strings.Contains(stdout, "1 dead letter replayed, 1 failed, 2 not tried") || !strings.Contains(stderr, "3 of 4 dead letters") {
		t.Errorf("exit %d, asked %d times: %s%s", code, asked.Load(), stdout, stderr)
	}
}

func TestCloseAndReviewWithNote(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	c := caller{address: admintest.Start(t, admin.DefaultConfig(), m.Deps())}
	if stdout, stderr, code := c.run(t, "dlq", "close", "1-abcd", "--note", "known", "--yes"); code != 0 {
		t.Errorf("close: exit %d: %s%s", code, stdout, stderr)
	}
	if stdout, stderr, code := c.run(t, "dlq", "review", "2-abcd", "--note", "asked the courier"); code != 0 {
		t.Errorf("review: exit %d: %s%s", code, stdout, stderr)
	}
	if one, two := m.Letter(0), m.Letter(1); one.ReviewStatus != event.ReviewClosed || one.Note != "known" || two.ReviewStatus != event.ReviewReviewed || two.Note != "asked the courier" {
		t.Errorf("letters %+v, %+v", one, two)
	}
}

func TestHealthExitCodes(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]int{"healthy": 0, "degraded": 0, "unhealthy": 1, "": 1} {
		deps := admintest.Sample().Deps()
		deps.Health = func() (int, []byte) {
			if status == "unhealthy" {
				return 503, []byte(`{"status":"unhealthy"}`)
			}
			return 200, []byte(`{"status":"` + status + `"}`)
		}
		stdout, stderr, code := caller{address: admintest.Start(t, admin.DefaultConfig(), deps)}.run(t, "health")
		if code != want || strings.Count(stdout, "\n") != 1 {
			t.Errorf("%q: exit %d: %s%s", status, code, stdout, stderr)
		}
	}
	if _, _, code := (caller{address: "127.0.0.1:1"}).run(t, "health"); code != 1 {
		t.Errorf("unreachable: exit %d", code)
	}
}

// TestProblemsOfSeveralLines has a list of faults, as a reload that failed leaves it.
func TestProblemsOfSeveralLines(t *testing.T) {
	t.Parallel()
	health := ops.Health{Status: "degraded", Problems: []string{"it is not active:\na.toml:1: one\nb.toml:2: two"}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == ops.StatusPath {
			answer(w, ops.Status{Health: health, Ready: true})
			return
		}
		answer(w, health)
	}))
	t.Cleanup(server.Close)
	for command, want := range map[string]string{
		"health": "  it is not active:\n  a.toml:1: one\n  b.toml:2: two\n",
		"status": "PROBLEM    it is not active:\n           a.toml:1: one\n           b.toml:2: two\n",
	} {
		if stdout, stderr, code := (caller{address: server.URL}).run(t, command); code != 0 || !strings.Contains(stdout+stderr, want) {
			t.Errorf("%s: exit %d: %s%s", command, code, stdout, stderr)
		}
	}
}

// deadlines notes how long a request may take, and refuses it.
type deadlines struct{ left time.Duration }

func (d *deadlines) RoundTrip(r *http.Request) (*http.Response, error) {
	at, _ := r.Context().Deadline()
	d.left = time.Until(at)
	return nil, errors.New("refused")
}

func TestStatusWaitsNotLong(t *testing.T) {
	t.Parallel()
	asked := &deadlines{}
	root := &cobra.Command{Use: "appliance", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(Commands(Deps{
		Admin: func(*cobra.Command) (client.Config, error) {
			return client.Config{Address: "a:1", Transport: asked}, nil
		},
		Now: time.Now, Zone: time.UTC,
	})...)
	root.SetArgs([]string{"status"})
	if err := root.ExecuteContext(t.Context()); err == nil || asked.left <= 0 || asked.left > 5*time.Second {
		t.Errorf("%v, it may take %v", err, asked.left)
	}
}

func TestReprocessWithAnIDThatSelectsNothing(t *testing.T) {
	t.Parallel()
	deps := admintest.Sample().Deps()
	deps.Reprocess = func(context.Context, reprocess.Request) (reprocess.Page, error) {
		return reprocess.Page{Read: 2, To: 2}, nil
	}
	address := admintest.Start(t, admin.DefaultConfig(), deps)
	for args, want := range map[string]int{"--id nope": ExitNotFound, "--id nope --json": ExitNotFound, "--courier nope": 0} {
		_, stderr, code := caller{address: address}.run(t, append([]string{"events", "reprocess", "--dry-run"}, strings.Fields(args)...)...)
		if code != want || !strings.Contains(stderr, `"nope"`) {
			t.Errorf("%s: exit %d, want %d: %s", args, code, want, stderr)
		}
	}
}

func TestTokenIsSent(t *testing.T) {
	t.Parallel()
	cfg := admin.DefaultConfig()
	cfg.Tokens = []admin.Token{{Name: "admin", Role: admin.Admin, Secret: []byte("a token of some length")}}
	address := admintest.Start(t, cfg, admintest.Sample().Deps())
	if _, stderr, code := (caller{address: address, token: "a token of some length"}).run(t, "dlq", "list"); code != 0 {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if _, stderr, code := (caller{address: address, token: "wrong"}).run(t, "dlq", "list"); code != 1 || !strings.Contains(stderr, "APPLIANCE_ADMIN__TOKEN") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if _, _, code := (caller{address: address}).run(t, "health"); code != 0 {
		t.Errorf("health needs no token, but exits with %d", code)
	}
}

// answer answers 200 with v.
func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func TestRefusalIsOneSafeLine(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	m.Fault = event.Errorf(event.DependencyDown, "mongo find", "connection refused\nError: forged\x1b[2J")
	address := admintest.Start(t, admin.DefaultConfig(), m.Deps())
	for _, args := range [][]string{{"events", "show", "k"}, {"dlq", "list"}, {"dlq", "replay", "--all", "--yes"}} {
		_, stderr, code := caller{address: address}.run(t, args...)
		if code != 1 || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, `refused\x0aError: forged\x1b[2J`) {
			t.Errorf("%v: exit %d: %q", args, code, stderr)
		}
	}
}
