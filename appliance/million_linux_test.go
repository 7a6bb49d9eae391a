package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/signature"
)

// What a million waiting events may cost.
const (
	waiting     = 1_000_000
	idleMemory  = 150 << 20 // of an appliance with nothing to do
	moreMemory  = 50 << 20  // for the events that wait
	emptyStart  = time.Second
	loadedStart = 5 * time.Second
)

// TestMillionEventsWait lets a million events wait, all of them within the
// duplicate window, and holds the appliance to what that may cost: memory, and
// the time of a start after a clean stop and after a kill.
func TestMillionEventsWait(t *testing.T) {
	if !*drills {
		t.Skip("sends a million events, which takes a minute; run with -args -drills")
	}
	dir := t.TempDir()
	c, took := timedSpawn(t, dir, storeShut+"=1")
	t.Logf("empty: started in %v", took)
	if took > emptyStart {
		t.Errorf("the start of an empty appliance took %v, want %v", took, emptyStart)
	}
	last(t, 2*time.Second)
	idle := c.memory("VmRSS")
	t.Logf("idle: %d MiB", idle>>20)
	if idle > idleMemory {
		t.Errorf("idle it holds %d bytes, want %d", idle, idleMemory)
	}

	scheme := demoScheme(t, dir)
	sending := time.Now()
	c.sendMany(scheme, waiting)
	t.Logf("%d events sent in %v, then %d MiB, at most %d MiB", waiting, time.Since(sending), c.memory("VmRSS")>>20, c.memory("VmHWM")>>20)
	c.settlesAt(idle + moreMemory)

	for _, end := range []struct {
		name   string
		signal syscall.Signal
	}{
		{"a clean stop", syscall.SIGTERM},
		{"a kill", syscall.SIGKILL},
	} {
		if err := c.signalled(end.signal); err != nil && end.signal == syscall.SIGTERM {
			t.Errorf("stop: %v", err)
		}
		c, took = timedSpawn(t, dir, storeShut+"=1")
		t.Logf("after %s: started in %v", end.name, took)
		if took > loadedStart {
			t.Errorf("the start after %s took %v, want %v", end.name, took, loadedStart)
		}
		c.settlesAt(idle + moreMemory)
		conn, err := net.Dial("tcp", strings.TrimPrefix(c.public, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range []int{0, waiting / 2, waiting - 1} {
			if answer, err := exchange(conn, bufio.NewReader(conn), waitingEvent(scheme, i)); err != nil || !strings.Contains(answer, `"duplicate":true`) {
				t.Errorf("after %s, event %d sent again is answered %q, %v", end.name, i, answer, err)
			}
		}
		conn.Close()
	}
}

// timedSpawn starts an appliance and returns how long it took to serve.
func timedSpawn(t *testing.T, dir string, environment ...string) (*child, time.Duration) {
	t.Helper()
	start := time.Now()
	c := spawn(t, dir, append(environment, "APPLIANCE_JETSTREAM__DUPLICATE_WINDOW=10m")...)
	return c, time.Since(start)
}

// waitingEvent is the request for the i-th event.
func waitingEvent(scheme *signature.Scheme, i int) []byte {
	return signedRequest(scheme, "waiting-"+strconv.Itoa(i), i/4, time.Now())
}

// sendMany sends n events over 100 connections; each must be accepted.
func (c *child) sendMany(scheme *signature.Scheme, n int64) {
	c.t.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			conn, err := net.Dial("tcp", strings.TrimPrefix(c.public, "http://"))
			if err != nil {
				c.t.Error(err)
				return
			}
			defer conn.Close()
			in := bufio.NewReader(conn)
			for i := next.Add(1) - 1; i < n; i = next.Add(1) - 1 {
				if _, err := exchange(conn, in, waitingEvent(scheme, int(i))); err != nil {
					c.t.Errorf("event %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if c.t.Failed() {
		c.t.FailNow()
	}
}

// memory reads a figure of the process, in bytes.
func (c *child) memory(name string) int64 {
	c.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err != nil {
		c.t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if value, found := strings.CutPrefix(line, name+":"); found {
			n, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			if err != nil {
				c.t.Fatal(err)
			}
			return n << 10
		}
	}
	c.t.Fatalf("the process has no %s", name)
	return 0
}

// settlesAt waits until the process holds no more memory than that.
func (c *child) settlesAt(most int64) {
	c.t.Helper()
	start := time.Now()
	eventually(c.t, fmt.Sprintf("memory of no more than %d MiB", most>>20), func() bool { return c.memory("VmRSS") <= most })
	c.t.Logf("holds %d MiB after %v", c.memory("VmRSS")>>20, time.Since(start).Round(time.Second))
}
