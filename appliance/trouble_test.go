package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/appliance/app"
	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/persistence/sqlite"
)

// reports waits until the operators' health has this status and, for each of words, a
// problem that says it. The couriers' own health has the same status and no problems.
func (a *testApp) reports(status string, words ...string) {
	a.t.Helper()
	var report app.HealthReport
	missing := func() string {
		report = app.HealthReport{}
		a.get("/health", &report)
		if report.Status != status {
			return status
		}
		for _, word := range words {
			if !strings.Contains(strings.Join(report.Problems, "\n"), word) {
				return word
			}
		}
		return ""
	}
	for deadline := time.Now().Add(40 * time.Second); missing() != ""; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			a.t.Fatalf("health is %+v, which says nothing of %q", report, missing())
		}
	}
}

// storeFile makes a store of its own and returns its closed file.
func storeFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "new.db")
	s, err := sqlite.Open(t.Context(), sqlite.Config{Path: path, Readers: 1, CacheBytes: 1 << 20, BusyTimeout: time.Second})
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestDamagedStoreDoesNotStopIntake starts on a store that can't be opened. What comes
// meanwhile is processed when the operator has put a good one in its place.
func TestDamagedStoreDoesNotStopIntake(t *testing.T) {
	t.Parallel()
	cfg := quick(t)
	path := filepath.Join(cfg.DataDir, "store.db")
	must(t, os.WriteFile(path, []byte(strings.Repeat("no database ", 1000)), 0o600))
	a := startApp(t, cfg, nil)
	a.accept(eventBody("early", "shp-early", "in_transit", time.Now()))
	a.reports("degraded", "can't be opened", path, "not a database", "backup")
	a.accept(eventBody("later", "shp-early", "delivered", time.Now()))
	eventually(t, "both to wait", func() bool { return a.state().Unprocessed() == 2 })
	must(t, os.Remove(path))
	a.reports("degraded", "not there any more")
	must(t, os.Rename(storeFile(t), path))
	a.reports("healthy")
	a.ends("early", event.Processed)
	a.ends("later", event.Processed)
}

// TestStoreThatGoesAwayIsNotHealthy moves the file of a running appliance away. Workers
// hold their events, and lose none when it is back.
func TestStoreThatGoesAwayIsNotHealthy(t *testing.T) {
	t.Parallel()
	a := startApp(t, quick(t), nil)
	a.accept(eventBody("before", "shp", "in_transit", time.Now()))
	a.ends("before", event.Processed)
	path := filepath.Join(a.cfg.DataDir, "store.db")
	must(t, os.Rename(path, path+".away"))
	a.accept(eventBody("during", "shp", "delivered", time.Now()))
	a.reports("degraded", "was moved or deleted", "workers hold events that they can't handle since")
	must(t, os.Rename(path+".away", path))
	if r := a.ends("during", event.Processed); len(r.Attempts) != 1 {
		t.Errorf("the outage cost attempts: %+v", r.Attempts)
	}
	a.reports("healthy")
}

// TestStampKeyIsNotMadeAgain: a new key beside a queue that the old one signed would
// turn what waits there into dead letters, one by one.
func TestStampKeyIsNotMadeAgain(t *testing.T) {
	t.Parallel()
	cfg := quick(t)
	held := &gate{}
	held.shut.Store(true)
	a := startApp(t, cfg, held.wrap)
	a.accept(eventBody("waits", "shp", "in_transit", time.Now()))
	a.halt()
	key := filepath.Join(cfg.DataDir, config.StampKeyFile)
	must(t, os.Rename(key, key+".away"))
	_, err := app.Start(t.Context(), cfg, app.Deps{Log: slog.New(slog.DiscardHandler), Version: "test"})
	if err == nil || !strings.Contains(err.Error(), key+" is gone, and the queue holds 1 events") || !strings.Contains(err.Error(), "1 of them unprocessed") {
		t.Fatalf("start without the key: %v", err)
	}
	if _, err := os.Stat(key); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a new key was made: %v", err)
	}
	_, command, _ := strings.Cut(err.Error(), "make a new key, ")
	command, _, _ = strings.Cut(command, ": the unprocessed")

	must(t, os.Rename(key+".away", key)) // the first way out
	a = startApp(t, cfg, nil)
	a.ends("waits", event.Processed)
	a.halt()

	must(t, os.Remove(key)) // the second
	if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key is %v, %v", info.Mode(), err)
	}
	a = startApp(t, cfg, nil)
	a.accept(eventBody("after", "shp", "delivered", time.Now()))
	a.ends("after", event.Processed)
}

// TestStoreOlderThanTheQueue deletes the store beside a queue that knows of outcomes, and
// puts an earlier copy back.
func TestStoreOlderThanTheQueue(t *testing.T) {
	t.Parallel()
	cfg := quick(t)
	path := filepath.Join(cfg.DataDir, "store.db")
	process := func(key string, nth uint64) {
		t.Helper()
		a := startApp(t, cfg, nil)
		a.accept(eventBody(key, "shp-"+key, "in_transit", time.Now()))
		eventually(t, key+" to be verified", func() bool { return a.state().Verified == nth })
		a.halt()
	}
	process("first", 1)
	early, err := os.ReadFile(path)
	must(t, err)
	process("second", 2)

	restart := func(status string, words ...string) {
		t.Helper()
		a := startApp(t, cfg, nil)
		compared(a)
		a.reports(status, words...)
		a.halt()
	}
	restart("healthy")
	must(t, os.WriteFile(path, early, 0o600))
	restart("degraded", "older or emptier", "the events 2 to 3 of the queue (2)", "accept_older_store")
	restart("degraded", "the events 2 to 3 of the queue (2)") // until an operator has accepted it
	must(t, os.Remove(path))
	restart("degraded", "the events 1 to 5 of the queue (5)")
	cfg.Persistence.AcceptOlderStore = true
	restart("healthy")
	cfg.Persistence.AcceptOlderStore = false
	restart("healthy")
}

// compared waits until the reconciler has compared the store with the queue: it has
// verified an event since.
func compared(a *testApp) {
	a.t.Helper()
	before := a.state().Verified
	a.accept(eventBody(fmt.Sprintf("compared-%d", time.Now().UnixNano()), "shp-compared", "in_transit", time.Now()))
	eventually(a.t, "an event to be verified", func() bool { return a.state().Verified > before })
}

// TestStoreThatLostRowsToRetentionIsNotOlder: of what has expired the queue knows more
// than the store, too.
func TestStoreThatLostRowsToRetentionIsNotOlder(t *testing.T) {
	t.Parallel()
	cfg := quick(t)
	a := startApp(t, cfg, nil)
	a.accept(eventBody("gone", "shp", "in_transit", time.Now()))
	eventually(t, "the event to be verified", func() bool { return a.state().Verified == 1 })
	a.halt()
	expiring := cfg
	expiring.Persistence.SweepEvery, expiring.Persistence.LedgerTTL = 20*time.Millisecond, time.Millisecond
	a = startApp(t, expiring, nil)
	eventually(t, "the row to expire", func() bool { var r event.Record; return !a.get("/api/v1/events/gone", &r) })
	a.halt()
	a = startApp(t, cfg, nil)
	compared(a)
	a.reports("healthy")
}

// TestReloadThatFailedIsNotHealthy, until one succeeds.
func TestReloadThatFailedIsNotHealthy(t *testing.T) {
	t.Parallel()
	a := startApp(t, quick(t), nil)
	a.reread = func() (config.Config, []string, error) {
		return config.Config{}, nil, errors.New("couriers.acme.scheme: is wrong")
	}
	if _, err := a.Reload(); err == nil {
		t.Fatal("a wrong configuration was taken over")
	}
	a.reports("degraded", "not active", "couriers.acme.scheme: is wrong", "couriers reload")
	a.reread = func() (config.Config, []string, error) { return a.cfg, nil, nil }
	if _, err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	a.reports("healthy")
}

// TestCourierAllRefusedIsNotHealthy sends what is signed with a wrong secret,
// until one is accepted.
func TestCourierAllRefusedIsNotHealthy(t *testing.T) {
	t.Parallel()
	a := startApp(t, quick(t), nil)
	const allRefused = 10 // from so many on
	for range allRefused {
		resp, err := client.Post(a.publicURL()+"/v1/events/courier", "application/json", strings.NewReader("{}"))
		must(t, err)
		if resp.Body.Close(); resp.StatusCode != http.StatusUnauthorized {
			t.Fatalf("status %d", resp.StatusCode)
		}
	}
	a.reports("degraded", fmt.Sprintf("courier demo: all of its %d requests", allRefused), "INVALID_SIGNATURE")
	a.accept(eventBody("good", "shp", "in_transit", time.Now()))
	a.reports("healthy")
}
