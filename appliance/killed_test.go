package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/process"
)

// storeSticks, in the environment, makes the store of what the test binary serves
// get stuck forever, and say so in the log, so that the process can be killed just
// there: with stuckAfter once it has applied events, with stuckOver before it
// applies the event of that key.
const (
	storeSticks = "RUN_WITH_STORE_STUCK"
	stuckAfter  = "after"
	stuckOver   = "poison"
	stuckSays   = "the store is stuck"
)

// sticking is a store that gets stuck, as a whole.
type sticking struct {
	process.Store
	when  string
	calls sync.RWMutex // locked once it is stuck
}

func (s *sticking) wrap(inner process.Store) process.Store { s.Store = inner; return s }

func (s *sticking) stick() {
	s.calls.Lock()
	fmt.Fprintln(os.Stderr, stuckSays)
	select {}
}

func (s *sticking) Records(ctx context.Context, ids []event.Identity) ([]event.Record, error) {
	s.calls.RLock()
	defer s.calls.RUnlock()
	return s.Store.Records(ctx, ids)
}

func (s *sticking) Shipments(ctx context.Context, refs []shipment.Ref) ([]shipment.Shipment, error) {
	s.calls.RLock()
	defer s.calls.RUnlock()
	return s.Store.Shipments(ctx, refs)
}

func (s *sticking) Commit(ctx context.Context, changes []event.Change) ([]error, error) {
	applies, poisoned := false, false
	for _, c := range changes {
		applies = applies || c.Shipment != nil
		for _, r := range c.Records {
			poisoned = poisoned || c.Shipment != nil && r.Key == stuckOver
		}
	}
	if poisoned && s.when == stuckOver {
		s.stick()
	}
	errs, err := s.commit(ctx, changes)
	if applies && s.when == stuckAfter {
		s.stick()
	}
	return errs, err
}

func (s *sticking) commit(ctx context.Context, changes []event.Change) ([]error, error) {
	s.calls.RLock()
	defer s.calls.RUnlock()
	return s.Store.Commit(ctx, changes)
}

func (c *child) stuck() bool { return strings.Contains(c.log.String(), stuckSays) }

// killed ends the child as nothing can prepare for.
func (c *child) killed() {
	c.t.Helper()
	if err := c.signalled(syscall.SIGKILL); err == nil {
		c.t.Fatal("the process survived kill -9")
	}
}

// advisoryAgain is enough for an advisory that a process has in hand and doesn't answer,
// which the broker hands out again after half a minute.
const advisoryAgain = 90 * time.Second

// killedUntilDeadLettered starts one process after the other, kills each that gets stuck
// over the poisonous event, and returns the one that finds it dead. Five kills are
// enough when each counts; but the broker writes its counts of deliveries ten times a
// second, and forgets those of a process that ends sooner. A machine too busy to keep
// an event alive in time costs one more: the broker then hands it out to a process
// that is stuck already.
func killedUntilDeadLettered(t *testing.T, dir string, environment ...string) *child {
	t.Helper()
	for kills := 0; ; kills++ {
		c := spawn(t, dir, append(environment, storeSticks+"="+stuckOver)...)
		within(t, advisoryAgain, "a store that is stuck, or a dead letter", func() bool { return c.stuck() || len(deadLettersOf(c)) > 0 })
		if !c.stuck() {
			t.Logf("dead after %d kills", kills)
			return c
		}
		if kills == 30 {
			t.Fatalf("the event is still tried after %d kills", kills)
		}
		c.killed()
	}
}

// ofPoison checks that there is one dead letter, of the poisonous event, none of
// whose attempts was answered.
func ofPoison(c *child) event.DeadLetter {
	c.t.Helper()
	letters := deadLettersOf(c)
	if len(letters) != 1 || letters[0].Key != stuckOver || letters[0].Code != event.AttemptsExhausted || !strings.HasPrefix(letters[0].Message, "5 deliveries") {
		c.t.Fatalf("dead letters are %s", asJSON(letters))
	}
	for _, a := range letters[0].Attempts {
		if a.Outcome != event.WasLost {
			c.t.Errorf("attempt %d ended as %q, want one without an answer", a.Number, a.Outcome)
		}
	}
	return letters[0]
}

// batchOf stores events under keys, to be handed out as a batch by the next process.
func batchOf(t *testing.T, dir string, keys []string, shipment func(key string) string) {
	t.Helper()
	c := spawn(t, dir, storeShut+"=1")
	scheme := demoScheme(t, dir)
	for i, key := range keys {
		at := time.Now().Add(time.Duration(i) * time.Second)
		if got, err := post(c.public, scheme, eventBody(key, shipment(key), "in_transit", at)); err != nil || !got.Acknowledged {
			t.Fatalf("posting %s: %+v, %v", key, got, err)
		}
	}
	c.killed()
}

// cli runs a command against the child, which must succeed, and returns what it
// prints.
func (c *child) cli(args ...string) []byte {
	c.t.Helper()
	var stdout, stderr bytes.Buffer
	args = append(args, "--config", os.DevNull, "--data-dir", c.dir)
	if code := run(c.t.Context(), args, strings.NewReader(""), &stdout, &stderr); code != 0 {
		c.t.Fatalf("%v: exit %d: %s", args, code, stderr.String())
	}
	return stdout.Bytes()
}

// deadLettersOf returns all dead letters.
func deadLettersOf(c *child) []event.DeadLetter {
	c.t.Helper()
	var page struct {
		DeadLetters []event.DeadLetter `json:"deadLetters"`
	}
	if out := c.cli("dlq", "list", "--json"); json.Unmarshal(out, &page) != nil {
		c.t.Fatalf("dlq list: %s", out)
	}
	return page.DeadLetters
}

// TestWorkerKilledInMidBatch kills the process after the commit of a batch and
// before its verdicts reach the broker, which therefore hands all of it out again.
func TestWorkerKilledInMidBatch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var keys []string
	for i := range 20 {
		keys = append(keys, fmt.Sprintf("mid-%d", i))
	}
	batchOf(t, dir, keys, func(string) string { return "shp-mid" })
	c := spawn(t, dir, storeSticks+"="+stuckAfter)
	eventually(t, "the store to be stuck", c.stuck)
	c.killed()

	c = spawn(t, dir)
	c.checksAll(keys)
	var s shipment.Shipment
	if out := c.cli("shipments", "show", "shp-mid", "--json"); json.Unmarshal(out, &s) != nil {
		t.Fatalf("shipments show: %s", out)
	}
	times := map[string]int{}
	for _, point := range s.History {
		times[point.Key]++
	}
	for _, key := range keys {
		if times[key] != 1 {
			t.Errorf("event %s has %d checkpoints in its shipment, want 1", key, times[key])
		}
	}
	if len(s.History) != len(keys) {
		t.Errorf("%d checkpoints, want %d", len(s.History), len(keys))
	}
}

// TestInFlightOfAKilledProcessIsProcessedAtOnce: with the acknowledgement wait as it is
// by default, which is too long to wait for, and the ledger showing the attempt that ended with
// the process.
func TestInFlightOfAKilledProcessIsProcessedAtOnce(t *testing.T) {
	t.Parallel()
	const patient = "APPLIANCE_JETSTREAM__ACK_WAIT=30s"
	dir := t.TempDir()
	var keys []string
	for i := range 50 {
		keys = append(keys, fmt.Sprintf("held-%d", i))
	}
	batchOf(t, dir, slices.Insert(slices.Clone(keys), 25, stuckOver), func(key string) string { return "shp-" + key })
	c := spawn(t, dir, patient, storeSticks+"="+stuckOver)
	eventually(t, "the store to be stuck", c.stuck)
	// The broker writes ten times a second what it has delivered.
	eventually(t, "the deliveries to be written", func() bool { return deliveriesWritten(t, dir) })
	_, q := c.counts()
	if q.InFlight < len(keys)/2 {
		t.Fatalf("%d events are in flight", q.InFlight)
	}
	c.killed()

	began := time.Now()
	c = spawn(t, dir, patient)
	within(t, 20*time.Second, "all to be processed", func() bool {
		records, q := c.counts()
		return records[event.Processed] == int64(len(keys)+1) && q.Unprocessed() == 0
	})
	t.Logf("all that was in flight was processed %v after the start began", time.Since(began).Round(10*time.Millisecond))
	redelivered := metric(t, c.fetch("/metrics"), "courier_gateway_jetstream_deliveries_total")
	if redelivered != float64(q.InFlight) {
		t.Errorf("%v deliveries after the start, want each of %d once", redelivered, q.InFlight)
	}
}

// deliveriesWritten reports whether the state of the processors on disk is older than half
// a second, and so will not be followed by another one while nothing happens.
func deliveriesWritten(t *testing.T, dir string) bool {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "jetstream", "jetstream", "*", "streams", "EVENTS", "obs", "processors", "o.dat"))
	if err != nil || len(names) != 1 {
		t.Fatalf("the state of the processors is in %v, %v", names, err)
	}
	info, err := os.Stat(names[0])
	return err == nil && time.Since(info.ModTime()) > 500*time.Millisecond
}

// impatient makes an event without an answer come again soon.
var impatient = []string{"APPLIANCE_JETSTREAM__ACK_WAIT=1s", "APPLIANCE_PROCESS__RETRY_BASE=20ms"}

// TestEventWithoutAnAnswerIsADeadLetter kills process after process over an event:
// no attempt is ever answered, so it is the broker's own advisory that ends it.
func TestEventWithoutAnAnswerIsADeadLetter(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	batchOf(t, dir, []string{stuckOver}, func(string) string { return "shp-poison" })
	c := killedUntilDeadLettered(t, dir, impatient...)
	letter := ofPoison(c)
	c.killed()

	c = spawn(t, dir, impatient...) // without the cause
	c.cli("dlq", "replay", letter.ID, "--yes")
	var r event.Record
	eventually(t, "the replay to come through", func() bool {
		return json.Unmarshal(c.cli("events", "show", stuckOver, "--json"), &r) == nil && r.Status == event.Processed
	})
}

// TestEventThatKillsProcessesSparesItsNeighbours has an event in the midst of a batch
// end one process after the other, each of which has everything in hand.
func TestEventThatKillsProcessesSparesItsNeighbours(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var neighbours []string
	for i := range 50 {
		neighbours = append(neighbours, fmt.Sprintf("by-%d", i))
	}
	batchOf(t, dir, slices.Insert(slices.Clone(neighbours), 25, stuckOver), func(key string) string { return "shp-" + key })
	c := killedUntilDeadLettered(t, dir, impatient...)
	within(t, advisoryAgain, "the other events to be tried", func() bool {
		_, q := c.counts()
		return q.LastSeq > 0 && q.Advisories == 0 && q.Unprocessed() == 0
	})
	c.checksAll(neighbours)
	ofPoison(c)
}
