package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/bench"
	loadtest "github.com/fincart/courier-gateway/bench/load"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/process"
)

// TestBenchOnItsOwnAppliance is a load test as people run it: a process of its
// own, every kind of request, both kinds of faults, and a check of every event.
func TestBenchOnItsOwnAppliance(t *testing.T) {
	t.Setenv(asAppliance, "1")
	t.Setenv("TMPDIR", t.TempDir())
	settings := filepath.Join(t.TempDir(), "quick.toml")
	quick := "[process]\nretry_base = \"100ms\"\nreconcile_every = \"50ms\"\n[jetstream]\nack_wait = \"1s\"\ndisk_reserve_bytes = 0\n"
	if err := os.WriteFile(settings, []byte(quick), 0o600); err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(t.TempDir(), "report.html")
	var out, errOut bytes.Buffer
	code := run(context.Background(), []string{
		"bench", "--events", "600", "--connections", "16", "--duplicates", "10%", "--invalid", "10%", "--out-of-order", "20%",
		"--transient", "10%", "--permanent", "5%", "--seed", "11", "--appliance-config", settings, "--sync", "interval",
		"--within", "1m", "--p95", "0", "--json", "--html", page,
	}, strings.NewReader(""), &out, &errOut)
	var report loadtest.Report
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatalf("exit %d: %v\n%s%s", code, err, out.String(), errOut.String())
	}
	p := report.Proof
	if code != 0 || !report.Passed || p == nil {
		t.Fatalf("exit %d: %+v\n%+v\n%s", code, report.Criteria, p, errOut.String())
	}
	for _, c := range report.Criteria {
		if !c.Measured {
			t.Errorf("%s (%s) was not measured", c.ID, c.What)
		}
	}
	if p.Acknowledged != 600 || p.LookedUp != 600 || p.Transient < 30 || p.Permanent < 10 || report.Run.Sync != "interval" ||
		p.Ledger[event.Processed]+p.Ledger[event.DeadLettered] != 600 || uint64(p.Ledger[event.DeadLettered]) != p.Permanent {
		t.Errorf("%+v, sync %s", p, report.Run.Sync)
	}
	if info, err := os.Stat(page); err != nil || info.Size() < 10_000 {
		t.Errorf("the page is %v, %v", info, err)
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("left behind are %v, %v", left, err)
	}
}

func TestBenchServeEndsWithItsStdin(t *testing.T) {
	t.Setenv(loadtest.SecretVariable, "secret")
	var out, errOut bytes.Buffer
	code := run(context.Background(), []string{
		"bench", "serve", "--data-dir", t.TempDir(), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--until-stdin-ends",
	}, strings.NewReader(""), &out, &errOut)
	var ready loadtest.Ready
	if err := json.Unmarshal(out.Bytes(), &ready); err != nil || code != 0 || ready.PID != os.Getpid() ||
		!strings.HasPrefix(ready.URL, "http://127.0.0.1:") || !strings.HasPrefix(ready.Admin, "http://127.0.0.1:") || ready.DataDir == "" {
		t.Errorf("exit %d, %v: %s%s", code, err, out.String(), errOut.String())
	}
}

func TestBenchServeTakesNoSettingsFromTheEnvironment(t *testing.T) {
	t.Setenv(loadtest.SecretVariable, "secret")
	t.Setenv("APPLIANCE_DATA_DIR", "/production")
	var out, errOut bytes.Buffer
	code := run(context.Background(), []string{"bench", "serve", "--data-dir", t.TempDir()}, strings.NewReader(""), &out, &errOut)
	if code != exitUsage || out.Len() > 0 || !strings.Contains(errOut.String(), "APPLIANCE_DATA_DIR") {
		t.Errorf("exit %d: %s%s", code, out.String(), errOut.String())
	}
}

func TestBenchServeNeedsASecret(t *testing.T) {
	t.Setenv(loadtest.SecretVariable, "")
	var out, errOut bytes.Buffer
	code := run(context.Background(), []string{
		"bench", "serve", "--data-dir", t.TempDir(), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
	}, strings.NewReader(""), &out, &errOut)
	if code != exitFailed || out.Len() > 0 || !strings.Contains(errOut.String(), loadtest.SecretVariable) {
		t.Errorf("exit %d: %s%s", code, out.String(), errOut.String())
	}
}

// recording is a store that remembers what it was asked to commit.
type recording struct {
	process.Store
	commits [][]event.Change
	err     error
}

func (r *recording) Commit(_ context.Context, changes []event.Change) ([]error, error) {
	r.commits = append(r.commits, changes)
	if r.err != nil {
		return nil, r.err
	}
	errs := make([]error, len(changes))
	for i, c := range changes {
		if c.Records[0].Version == 7 { // stands for a conflict
			errs[i] = event.Errorf(event.VersionConflict, "test", "moved")
		}
	}
	return errs, nil
}

func TestFaultyStoreFailsThoseItShould(t *testing.T) {
	t.Parallel()
	faults := bench.Faults{Seed: 1, Transient: 0.3, Permanent: 0.3}
	find := func(f bench.Fault) event.Record {
		for i := range 10_000 {
			r := event.Record{Attempts: []event.Attempt{{Number: 1}}}
			r.Key = "k" + time.Duration(i).String()
			if faults.Of(r.Key) == f {
				return r
			}
		}
		t.Fatalf("no key has the fault %+v", f)
		return event.Record{}
	}
	well, once, never := find(bench.Fault{}), find(bench.Fault{Failures: 1}), find(bench.Fault{Permanent: true})
	again := once
	again.Attempts = []event.Attempt{{Number: 1, Outcome: event.WillRetry}, {Number: 2}}
	moved := well
	moved.Version = 7
	apply := func(r ...event.Record) event.Change { return event.Change{Shipment: &shipment.Shipment{}, Records: r} }
	changes := []event.Change{
		apply(well), apply(once), apply(never), apply(again), apply(moved), apply(well, once),
		{Records: []event.Record{never}}, // the record of its failure
	}
	want := []event.Code{"", event.Throttled, event.DomainInvalid, "", event.VersionConflict, event.Throttled, ""}
	inner := &recording{}
	store := &faultyStore{Store: inner, faults: faults}
	errs, err := store.Commit(t.Context(), changes)
	if err != nil || len(errs) != len(want) || len(inner.commits) != 1 || len(inner.commits[0]) != 4 {
		t.Fatalf("%v, %v, passed on %+v", errs, err, inner.commits)
	}
	for i := range want {
		if event.CodeOf(errs[i]) != want[i] {
			t.Errorf("change %d: %v, want %q", i, errs[i], want[i])
		}
	}
	inner.err = errors.New("down")
	if _, err := store.Commit(t.Context(), changes); !errors.Is(err, inner.err) {
		t.Errorf("the store is down: %v", err)
	}
}
