package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/ingest/signature"
	"github.com/fincart/courier-gateway/ingest/signature/jwks"
)

// asAppliance, in the environment, makes the test binary run a command as the
// appliance does, so that tests can kill a process of their own; storeShut makes
// what it serves never reach its store.
const (
	asAppliance = "RUN_AS_APPLIANCE"
	storeShut   = "RUN_WITH_STORE_SHUT"
)

func TestMain(m *testing.M) {
	if os.Getenv(asAppliance) != "" {
		if filepath.Base(os.Args[0]) == curl {
			os.Exit(postAsCurl(os.Args[1:]))
		}
		c := &cli{in: os.Stdin, out: os.Stdout, err: os.Stderr}
		if os.Getenv(storeShut) != "" {
			g := &gate{}
			g.shut.Store(true)
			c.wrapStore = g.wrap
		}
		if when := os.Getenv(storeSticks); when != "" {
			c.wrapStore = (&sticking{when: when}).wrap
		}
		os.Exit(c.run(context.Background(), os.Args[1:]))
	}
	code := m.Run()
	for _, dir := range temporary {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// child is an appliance in a process of its own.
type child struct {
	dir    string // of its data
	t      *testing.T
	cmd    *exec.Cmd
	public string // URL
	admin  string // URL
	ended  chan error
	log    *syncBuffer
}

// syncBuffer keeps what a process prints.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

var welcomeLines = regexp.MustCompile(`(couriers post to|operators) +(http://[^/ ]+)`)

// spawn starts an appliance on dir, with more environment, and waits until it
// serves.
func spawn(t *testing.T, dir string, environment ...string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0], "serve", "--data-dir", dir, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), asAppliance+"=1",
		"APPLIANCE_JETSTREAM__ACK_WAIT=1s", "APPLIANCE_JETSTREAM__DISK_RESERVE_BYTES=0",
		"APPLIANCE_PROCESS__RECONCILE_EVERY=50ms", "APPLIANCE_SHUTDOWN_TIMEOUT=15s")
	cmd.Env = append(cmd.Env, environment...)
	hasPublic := !slices.Contains(environment, "APPLIANCE_ROLE=process")
	c := &child{t: t, dir: dir, cmd: cmd, ended: make(chan error, 1), log: &syncBuffer{}}
	cmd.Stderr = c.log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := bufio.NewScanner(out)
	for (c.admin == "" || hasPublic && c.public == "") && lines.Scan() {
		if m := welcomeLines.FindStringSubmatch(lines.Text()); m != nil && m[1] == "operators" {
			c.admin = m[2]
		} else if m != nil {
			c.public = m[2]
		}
	}
	if c.admin == "" || hasPublic && c.public == "" {
		t.Fatalf("the appliance did not start:\n%s", c.log)
	}
	go func() {
		_, _ = io.Copy(io.Discard, out)
		c.ended <- cmd.Wait()
	}()
	return c
}

// signalled sends a signal and returns how the process ended.
func (c *child) signalled(s os.Signal) error {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
	select {
	case err := <-c.ended:
		return err
	case <-time.After(30 * time.Second):
		c.t.Fatalf("the process did not end:\n%s", c.log)
		return nil
	}
}

// traffic posts events from many connections, with a pause between two of each,
// until stop is called, and keeps the keys of all that were acknowledged and of
// those that got neither a 202 nor a clear refusal.
type traffic struct {
	mu      sync.Mutex
	acked   []string
	ackedAt []time.Time
	broken  []string // requests without an answer
	count   atomic.Int64
	// inFlight counts the requests that are sent or being answered.
	inFlight atomic.Int64
	stop     func()
}

// ackedBefore returns what was acknowledged before a moment.
func (l *traffic) ackedBefore(moment time.Time) (keys []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, key := range l.acked {
		if l.ackedAt[i].Before(moment) {
			keys = append(keys, key)
		}
	}
	return keys
}

func startLoad(c *child, scheme *signature.Scheme, tag string, pause time.Duration) *traffic {
	l := &traffic{}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				key := fmt.Sprintf("%s-%d-%d", tag, w, i)
				body := eventBody(key, fmt.Sprintf("shp-%d-%d", w, i%250), "in_transit", time.Now())
				l.inFlight.Add(1)
				got, err := post(c.public, scheme, body)
				l.inFlight.Add(-1)
				at := time.Now()
				l.mu.Lock()
				switch {
				case err != nil:
					l.broken = append(l.broken, key+": "+err.Error())
				case got.Status == http.StatusAccepted:
					l.acked, l.ackedAt = append(l.acked, key), append(l.ackedAt, at)
					l.count.Add(1)
				case got.Status != http.StatusServiceUnavailable:
					l.broken = append(l.broken, fmt.Sprintf("%s: %+v", key, got))
				}
				l.mu.Unlock()
				if err != nil {
					return // the process is gone
				}
				last(c.t, pause)
			}
		})
	}
	l.stop = func() { cancel(); wg.Wait() }
	return l
}

// get reads a document of the operators' API.
func (c *child) get(path string, into any) {
	c.t.Helper()
	if raw := c.fetch(path); json.Unmarshal(raw, into) != nil {
		c.t.Fatalf("GET %s: not what was expected: %s", path, raw)
	}
}

// fetch reads what the admin listener has under a path.
func (c *child) fetch(path string) []byte {
	c.t.Helper()
	return content(c.t, askAdmin(c.t, c.dir, c.admin+path))
}

// fetch reads what is under a URL.
func fetch(t testing.TB, url string) []byte {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	return content(t, resp)
}

// content returns what an answer has, which must be a 200.
func content(t testing.TB, resp *http.Response) []byte {
	t.Helper()
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %d, %v: %s", resp.Request.URL, resp.StatusCode, err, raw)
	}
	return raw
}

// metric returns the value of a metric without labels.
func metric(t testing.TB, exposition []byte, name string) float64 {
	t.Helper()
	for line := range strings.Lines(string(exposition)) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return v
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// counts reads how many events have which status, and the queue's figures.
func (c *child) counts() (map[event.Status]int64, event.QueueState) {
	c.t.Helper()
	var s struct {
		Queue event.QueueState  `json:"queue"`
		Store event.StoreCounts `json:"store"`
	}
	c.get("/api/v1/status", &s)
	return s.Store.Records, s.Queue
}

// checksAll waits until the queue is drained and checks every acknowledged
// event: terminal, with one outcome, which its shipment shows once.
func (c *child) checksAll(keys []string) {
	c.t.Helper()
	// The figures are up to a second old, so they must include all events.
	c.drains(uint64(len(keys)))
	if named := lossesOf(c); len(named) > 0 {
		c.t.Errorf("a queue that has lost nothing names %+v", named)
	}
	shipments := map[string]bool{}
	for _, key := range keys {
		shipments[c.checksOne(key)] = true
	}
	applied := c.applied(shipments)
	for _, key := range keys {
		// The ledger has one row for each identity, whatever was done to the shipment.
		if n := applied[key]; n != 1 {
			c.t.Errorf("event %s stands %d times in the histories of the shipments, want once", key, n)
		}
	}
	records, _ := c.counts()
	if n := records[event.Received] + records[event.Processing] + records[event.Failed]; n != 0 {
		c.t.Errorf("%d events are not terminal: %v", n, records)
	}
	c.t.Logf("%d acknowledged events, all processed once; the ledger has %v", len(keys), records)
}

// drains waits until a queue of at least so many events is processed and verified. How
// fast that is depends on the store and on the machine, so it waits as long as the
// backlog shrinks.
func (c *child) drains(atLeast uint64) {
	c.t.Helper()
	for {
		_, before := c.counts()
		if before.LastSeq >= atLeast && before.Unprocessed() == 0 && before.Verified == before.LastSeq {
			return
		}
		eventually(c.t, fmt.Sprintf("a backlog of %d events, %d of them unverified, to shrink", before.Unprocessed(), before.LastSeq-before.Verified), func() bool {
			_, q := c.counts()
			return q.LastSeq > before.LastSeq || q.Unprocessed() < before.Unprocessed() || q.Verified > before.Verified
		})
	}
}

// checksOne checks the ledger row of an event and returns its shipment.
func (c *child) checksOne(key string) (shipment string) {
	c.t.Helper()
	var r event.Record
	c.get("/api/v1/events/"+key, &r)
	succeeded := 0
	for _, a := range r.Attempts {
		if a.Outcome == event.Succeeded {
			succeeded++
		}
	}
	if r.Status != event.Processed || succeeded != 1 {
		c.t.Errorf("acknowledged event %s is %q and succeeded %d times", key, r.Status, succeeded)
	}
	return r.ShipmentID
}

// processed reports whether the ledger has an event as processed.
func (c *child) processed(key string) bool {
	c.t.Helper()
	resp := askAdmin(c.t, c.dir, c.admin+"/api/v1/events/"+key)
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return false
	}
	var r event.Record
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil || resp.StatusCode != http.StatusOK {
		c.t.Fatalf("looking up %s: %d, %v", key, resp.StatusCode, err)
	}
	return r.Status == event.Processed
}

// applied counts how often each event is in the histories of shipments.
func (c *child) applied(shipments map[string]bool) map[string]int {
	c.t.Helper()
	times := map[string]int{}
	for id := range shipments {
		var s shipment.Shipment
		c.get("/api/v1/shipments/"+id, &s)
		if s.Dropped > 0 {
			c.t.Errorf("the history of %s is too long to prove anything: %d are gone", id, s.Dropped)
		}
		for _, checkpoint := range s.History {
			times[checkpoint.Key]++
		}
	}
	return times
}

// demoScheme is the scheme of a data directory's demo courier.
func demoScheme(t *testing.T, dir string) *signature.Scheme {
	t.Helper()
	cfg := config.Defaults()
	cfg.DataDir = dir
	schemes, err := cfg.WithDemo().Schemes(jwks.At)
	if err != nil {
		t.Fatal(err)
	}
	return schemes[config.DemoCourier]
}

func TestKilledUnderLoadAndStartedAgain(t *testing.T) {
	dir := t.TempDir()
	var acked []string
	for round := range 3 {
		c := spawn(t, dir)
		l := startLoad(c, demoScheme(t, dir), fmt.Sprintf("kill-%d", round), 0)
		eventually(t, "some events to be acknowledged", func() bool { return l.count.Load() > 500 })
		if err := c.signalled(syscall.SIGKILL); err == nil {
			t.Fatal("the process survived kill -9")
		}
		l.stop()
		acked = append(acked, l.acked...)
	}
	c := spawn(t, dir)
	c.checksAll(acked)
	if err := c.signalled(syscall.SIGTERM); err != nil {
		t.Errorf("the process ended with %v\n%s", err, c.log)
	}
}

func TestStartsWithinASecond(t *testing.T) {
	dir := t.TempDir()
	best := time.Hour
	for range 3 { // the machine may be busy once, but not always
		began := time.Now()
		c := spawn(t, dir+fmt.Sprint(began.UnixNano()))
		best = min(best, time.Since(began))
		if err := c.signalled(syscall.SIGTERM); err != nil {
			t.Errorf("the process ended with %v\n%s", err, c.log)
		}
	}
	if best > time.Second {
		t.Errorf("the fastest of three first starts took %v, want less than a second", best)
	}
}
