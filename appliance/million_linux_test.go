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
	moreMemory  = 50 << 20  // for the events that wait, whatever else goes on
	emptyStart  = time.Second
	loadedStart = 5 * time.Second
)

const (
	fewEvents      = 50_000 // that wait while it is measured what the load itself takes
	lightPerSecond = 300
	lightFor       = 15 * time.Second
)

// TestMillionEventsWait lets a million events wait, all of them within the
// duplicate window, and holds the appliance to what that may cost: memory at rest,
// under a full load and beside light traffic, each compared with the same without
// a backlog; and the time of a start after a clean stop and after a kill.
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
	light := c.peak("light traffic", func() { c.sendLight(scheme, "before-") })
	full := c.peak("full load, few events waiting", func() { c.sendMany(scheme, 0, fewEvents) })
	c.peak("full load, a million events waiting in the end", func() { c.sendMany(scheme, fewEvents, waiting) }).within(full.bytes + moreMemory)
	c.settlesAt(idle + moreMemory)
	c.peak("light traffic beside a million events", func() { c.sendLight(scheme, "beside-") }).within(light.bytes + moreMemory)
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
		conn := c.dial()
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

// peak returns the most that the process holds meanwhile.
func (c *child) peak(what string, do func()) peak {
	c.t.Helper()
	// The system starts to measure again: proc(5), clear_refs.
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", c.cmd.Process.Pid), []byte("5"), 0); err != nil {
		c.t.Fatal(err)
	}
	start := time.Now()
	do()
	p := peak{c.t, what, c.memory("VmHWM")}
	c.t.Logf("%s: at most %d MiB in %v", what, p.bytes>>20, time.Since(start).Round(time.Second))
	return p
}

type peak struct {
	t     *testing.T
	what  string
	bytes int64
}

func (p peak) within(most int64) {
	p.t.Helper()
	if p.bytes > most {
		p.t.Errorf("%s: it holds %d bytes, want %d at most", p.what, p.bytes, most)
	}
}

// sendLight sends few events a second for a while; each must be accepted.
func (c *child) sendLight(scheme *signature.Scheme, tag string) {
	c.t.Helper()
	conn := c.dial()
	defer conn.Close()
	in := bufio.NewReader(conn)
	tick := time.NewTicker(time.Second / lightPerSecond)
	defer tick.Stop()
	for i, end := 0, time.Now().Add(lightFor); time.Now().Before(end); i++ {
		<-tick.C
		if _, err := exchange(conn, in, signedRequest(scheme, tag+strconv.Itoa(i), i/4, time.Now())); err != nil {
			c.t.Fatalf("event %d: %v", i, err)
		}
	}
}

// dial connects to the couriers' listener.
func (c *child) dial() net.Conn {
	c.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.public, "http://"))
	if err != nil {
		c.t.Fatal(err)
	}
	return conn
}

// sendMany sends the events from first to n over 100 connections; each must be
// accepted.
func (c *child) sendMany(scheme *signature.Scheme, first, n int64) {
	c.t.Helper()
	var next atomic.Int64
	next.Store(first)
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

// settlesAt waits until the process holds no more memory than that, for some seconds
// on end so that a moment's low does not count.
func (c *child) settlesAt(most int64) {
	c.t.Helper()
	const within, rest = 30 * time.Second, 5 * time.Second
	start := time.Now()
	since, highest := start, int64(0)
	for time.Since(since) < rest {
		now := c.memory("VmRSS")
		if highest = max(highest, now); now > most {
			since, highest = time.Now(), 0
		}
		if since.Sub(start) > within {
			c.t.Fatalf("after %v it holds %d bytes, want %d", within, now, most)
		}
		last(c.t, 100*time.Millisecond)
	}
	c.t.Logf("at rest: at most %d MiB, reached after %v", highest>>20, since.Sub(start).Round(time.Second))
}
