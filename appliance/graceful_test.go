package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ingest/event"
)

// stops is how often a service is stopped under load in these tests.
func stops() int {
	if *drills {
		return 10
	}
	return 2
}

// TestGracefulStopsUnderLoad stops the whole appliance by SIGTERM while couriers post,
// again and again on one data directory. docs/graceful-shutdown-validation.md has the
// table that a run with -drills prints.
func TestGracefulStopsUnderLoad(t *testing.T) {
	dir := t.TempDir()
	log := newStopLog(t, "all")
	var acked []string
	for i := range stops() {
		c := spawn(t, dir)
		load := startLoad(c, demoScheme(t, dir), fmt.Sprintf("stop-%d", i), 0)
		eventually(t, "events to be acknowledged", func() bool { return load.count.Load() > 500 })
		log.stop(c, load)
		acked = append(acked, load.acked...)
	}
	c := spawn(t, dir)
	c.checksAll(acked)
	log.attempts(c, acked)
	c.ends()
}

// TestDrainDelayKeepsTheListenerOpen: after SIGTERM the readiness is 503 and events are
// accepted still, until a second signal.
func TestDrainDelayKeepsTheListenerOpen(t *testing.T) {
	dir := t.TempDir()
	c := spawn(t, dir, "APPLIANCE_INGEST__DRAIN_DELAY=1m")
	load := startLoad(c, demoScheme(t, dir), "drained", 5*time.Millisecond)
	eventually(t, "events to be acknowledged", func() bool { return load.count.Load() > 20 })
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the readiness to be 503", func() bool {
		answer, err := http.Get(c.admin + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		return answer.StatusCode == http.StatusServiceUnavailable
	})
	before := load.count.Load()
	eventually(t, "events to be acknowledged while it is not ready", func() bool { return load.count.Load() > before+50 })
	load.stop()
	if len(load.broken) > 0 {
		t.Errorf("%d requests failed, such as %s", len(load.broken), load.broken[0])
	}
	if err := c.signalled(syscall.SIGTERM); err != nil {
		t.Errorf("the service ended with %v\n%s", err, c.log)
	}
}

// TestGracefulStopsOfEachRole does the same with separate services: first to the one that
// answers couriers, then to the one that processes, while the other one goes on.
func TestGracefulStopsOfEachRole(t *testing.T) {
	f := newFleet(t, startNATS(t))
	intakeDir, workerDir := t.TempDir(), t.TempDir()
	intake, worker := f.start(config.RoleIngest, intakeDir), f.start(config.RoleProcess, workerDir)
	var acked []string
	log := newStopLog(t, config.RoleIngest)
	for i := range stops() {
		load := startLoad(intake, f.scheme, fmt.Sprintf("intake-%d", i), 0)
		eventually(t, "events to be acknowledged", func() bool { return load.count.Load() > 200 })
		log.stop(intake, load)
		acked = append(acked, load.acked...)
		intake = f.start(config.RoleIngest, intakeDir)
	}
	log.summary()
	log = newStopLog(t, config.RoleProcess)
	load := startLoad(intake, f.scheme, "worker", 2*time.Millisecond)
	for range stops() {
		before := load.count.Load()
		eventually(t, "events to be acknowledged", func() bool { return load.count.Load() > before+200 })
		log.stop(worker, nil)
		worker = f.start(config.RoleProcess, workerDir)
	}
	load.stop()
	if len(load.broken) > 0 {
		t.Errorf("%d requests failed while the other service was stopped, such as %s", len(load.broken), load.broken[0])
	}
	acked = append(acked, load.acked...)
	worker.checksAll(acked)
	log.attempts(worker, acked)
	intake.ends()
	worker.ends()
}

// stopLog checks how services stop and prints a table of it.
type stopLog struct {
	t    *testing.T
	role string
	took []time.Duration
}

func newStopLog(t *testing.T, role string) *stopLog {
	t.Log("| role | requests in flight | answered 202 after the signal | no connection | without an answer | time to the end |")
	return &stopLog{t: t, role: role}
}

// stop stops a service by SIGTERM and then what posts to it, if anything does. No request
// that reached the service may go without an answer.
func (l *stopLog) stop(c *child, load *traffic) {
	l.t.Helper()
	var inFlight int64
	if load != nil {
		inFlight = load.inFlight.Load()
	}
	at := time.Now()
	if err := c.signalled(syscall.SIGTERM); err != nil {
		l.t.Fatalf("the service ended with %v\n%s", err, c.log)
	}
	took := time.Since(at)
	l.took = append(l.took, took)
	if load == nil {
		l.t.Logf("| %s | | | | | %d ms |", l.role, took.Milliseconds())
		return
	}
	load.stop()
	unanswered := slices.DeleteFunc(slices.Clone(load.broken), func(s string) bool { return strings.Contains(s, "connection refused") })
	l.t.Logf("| %s | %d | %d | %d | %d | %d ms |", l.role, inFlight, len(load.acked)-len(load.ackedBefore(at)),
		len(load.broken)-len(unanswered), len(unanswered), took.Milliseconds())
	if len(unanswered) > 0 {
		l.t.Errorf("%d requests had no answer, such as %s", len(unanswered), unanswered[0])
	}
}

// summary prints how long the stops took.
func (l *stopLog) summary() {
	l.t.Helper()
	slices.Sort(l.took)
	l.t.Logf("%d stops of the role %q: median %d ms, longest %d ms", len(l.took), l.role,
		l.took[len(l.took)/2].Milliseconds(), l.took[len(l.took)-1].Milliseconds())
}

// attempts checks that being stopped costs no event an attempt, and prints the summary.
func (l *stopLog) attempts(c *child, keys []string) {
	l.t.Helper()
	l.summary()
	most := 0
	for _, key := range keys {
		var r event.Record
		c.get("/api/v1/events/"+key, &r)
		most = max(most, len(r.Attempts))
	}
	l.t.Logf("%d events acknowledged, all processed once, at most %d attempt(s) each", len(keys), most)
	if most > 1 {
		l.t.Errorf("an event has %d attempts; a stop should cost none", most)
	}
}
