package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/process"
)

// storeSticks, in the environment, makes the store of what the test binary serves
// get stuck for ever, and say so in the log, so that the process can be killed just
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

func (s *sticking) Shipments(ctx context.Context, refs []event.ShipmentRef) ([]event.Shipment, error) {
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

// killedStuck waits until the child's store is stuck and kills the child.
func (c *child) killedStuck() {
	c.t.Helper()
	eventually(c.t, "the store to be stuck", func() bool { return strings.Contains(c.log.String(), stuckSays) })
	if err := c.signalled(syscall.SIGKILL); err == nil {
		c.t.Fatal("the process survived kill -9")
	}
}

// cli runs a command against the child, which must succeed, and returns what it
// prints.
func (c *child) cli(args ...string) []byte {
	c.t.Helper()
	var stdout, stderr bytes.Buffer
	args = append(args, "--config", os.DevNull, "--admin-listen", strings.TrimPrefix(c.admin, "http://"))
	if code := run(c.t.Context(), args, strings.NewReader(""), &stdout, &stderr); code != 0 {
		c.t.Fatalf("%v: exit %d: %s", args, code, stderr.String())
	}
	return stdout.Bytes()
}

// letters returns all dead letters.
func (c *child) letters() []event.DeadLetter {
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
	c := spawn(t, dir, storeShut+"=1") // so that the events come as a batch
	scheme := demoScheme(t, dir)
	var keys []string
	for i := range 20 {
		key := fmt.Sprintf("mid-%d", i)
		keys = append(keys, key)
		at := time.Now().Add(time.Duration(i) * time.Second)
		if got, err := post(c.public, scheme, eventBody(key, "shp-mid", "in_transit", at)); err != nil || !got.Acknowledged {
			t.Fatalf("posting %s: %+v, %v", key, got, err)
		}
	}
	if err := c.signalled(syscall.SIGKILL); err == nil {
		t.Fatal("the process survived kill -9")
	}
	spawn(t, dir, storeSticks+"="+stuckAfter).killedStuck()

	c = spawn(t, dir)
	c.provesAll(keys)
	var s event.Shipment
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

// TestEventThatNobodyAnswersIsADeadLetter kills five processes over an event: no
// attempt is ever answered, so it is the broker's own advisory that ends it.
func TestEventThatNobodyAnswersIsADeadLetter(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	environment := []string{"APPLIANCE_JETSTREAM__ACK_WAIT=200ms", "APPLIANCE_PROCESS__RETRY_BASE=20ms"}
	for n := range 5 {
		c := spawn(t, dir, append(environment, storeSticks+"="+stuckOver)...)
		if n == 0 {
			body := eventBody(stuckOver, "shp-poison", "in_transit", time.Now())
			if got, err := post(c.public, demoScheme(t, dir), body); err != nil || !got.Acknowledged {
				t.Fatalf("posting: %+v, %v", got, err)
			}
		}
		c.killedStuck()
	}

	c := spawn(t, dir, environment...)
	eventually(t, "the dead letter", func() bool { return len(c.letters()) == 1 })
	letter := c.letters()[0]
	if letter.Code != event.AttemptsExhausted || letter.Key != stuckOver || len(letter.Attempts) != 5 {
		t.Errorf("the dead letter is %s", asJSON(letter))
	}
	for _, a := range letter.Attempts {
		if a.Outcome != event.WasLost {
			t.Errorf("attempt %d ended as %q, want one that nobody answered", a.Number, a.Outcome)
		}
	}
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
	environment := []string{"APPLIANCE_JETSTREAM__ACK_WAIT=200ms", "APPLIANCE_PROCESS__RETRY_BASE=20ms"}
	c := spawn(t, dir, append(environment, storeShut+"=1")...) // so that the events come as a batch
	scheme := demoScheme(t, dir)
	var neighbours []string
	for i := range 50 {
		key := fmt.Sprintf("by-%d", i)
		neighbours = append(neighbours, key)
		if i == 25 {
			key, neighbours = stuckOver, neighbours[:i]
		}
		if got, err := post(c.public, scheme, eventBody(key, "shp-"+key, "in_transit", time.Now())); err != nil || !got.Acknowledged {
			t.Fatalf("posting %s: %+v, %v", key, got, err)
		}
	}
	if err := c.signalled(syscall.SIGKILL); err == nil {
		t.Fatal("the process survived kill -9")
	}
	poisoned := append(environment, storeSticks+"="+stuckOver)
	for range 5 {
		spawn(t, dir, poisoned...).killedStuck()
	}

	c = spawn(t, dir, poisoned...)
	eventually(t, "the dead letter", func() bool { return len(c.letters()) > 0 })
	c.provesAll(neighbours)
	if letters := c.letters(); len(letters) != 1 || letters[0].Key != stuckOver || letters[0].Code != event.AttemptsExhausted || len(letters[0].Attempts) != 5 {
		t.Errorf("dead letters are %s", asJSON(letters))
	}
}
