package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/signature"
)

// flood is how long the drill's bad sender goes on.
var flood = flag.Duration("flood", 6*time.Second, "how long the drill's bad sender floods")

// Rates of the drill, in requests per second.
const (
	floodRate = 10_000
	calmRate  = 200
)

// TestFloodOfBadRequests floods an appliance with requests whose signature is
// wrong, while another courier goes on as always: it hardly notices, every refusal
// is accounted for, and neither memory nor disk grows with the flood.
func TestFloodOfBadRequests(t *testing.T) {
	if !*drills {
		t.Skip("measures latency, which the race detector and other tests would spoil; run with -args -drills")
	}
	dir := t.TempDir()
	settings := filepath.Join(dir, "couriers.toml")
	text := ""
	for _, name := range []string{"good", "bad"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("the secret of "+name), 0o600); err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprintf("[couriers.%s]\nsecrets = [%q]\n", name, "file:"+filepath.Join(dir, name))
	}
	if err := os.WriteFile(settings, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := spawn(t, filepath.Join(dir, "data"), "APPLIANCE_CONFIG="+settings)
	scheme := loaded(t, text).Couriers["good"].scheme(&faults{}, "couriers.good", newKeySource)

	calm := steady(c, scheme, "calm", *flood)
	f := startFlood(t, c)
	last(t, *flood/6) // until buffers and pools have grown to their size
	before := c.footprint(filepath.Join(dir, "data"))
	under := steady(c, scheme, "under", *flood)
	after := c.footprint(filepath.Join(dir, "data"))
	refused := f.stop()

	t.Logf("p99 of the good courier: %v in calm, %v under %.0f refusals/s", calm, under, float64(refused)/f.took.Seconds())
	t.Logf("memory %d -> %d MiB, disk %d -> %d KiB", before.memory>>20, after.memory>>20, before.disk>>10, after.disk>>10)
	if under > max(2*calm, 50*time.Millisecond) { // the floor is for machines that are busy with other things
		t.Errorf("the good courier's p99 rose from %v to %v", calm, under)
	}
	if grown := after.memory - before.memory; grown > 48<<20 { // the store's page cache fills meanwhile
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	if grown := after.disk - before.disk; grown > 8<<20 || after.log > 68<<20 {
		t.Errorf("the store grew by %d MiB, its log has %d MiB", grown>>20, after.log>>20)
	}
	if err := c.signalled(syscall.SIGTERM); err != nil { // which writes the last sums
		t.Fatalf("the process ended with %v\n%s", err, c.log)
	}
	c = spawn(t, filepath.Join(dir, "data"), "APPLIANCE_CONFIG="+settings)
	if n := c.recorded("bad"); n != refused {
		t.Errorf("%d refusals are on record, %d were answered", n, refused)
	}
	if err := c.signalled(syscall.SIGTERM); err != nil {
		t.Errorf("the process ended with %v\n%s", err, c.log)
	}
}

// steady posts good events at calmRate for a while and returns the 99th percentile
// of how long an answer took.
func steady(c *child, scheme *signature.Scheme, tag string, d time.Duration) time.Duration {
	c.t.Helper()
	var mu sync.Mutex
	var took []time.Duration
	var wg sync.WaitGroup
	tick := time.NewTicker(time.Second / calmRate)
	defer tick.Stop()
	for i := range int(d.Seconds() * calmRate) {
		<-tick.C
		wg.Go(func() {
			key := fmt.Sprintf("%s-%d", tag, i)
			body := eventBody(key, "shp-"+key, "in_transit", time.Now())
			began := time.Now()
			got, err := postTo(c.public+"/v1/events/courier/good", scheme, body)
			mu.Lock()
			defer mu.Unlock()
			took = append(took, time.Since(began))
			if err != nil || got.Status != http.StatusAccepted {
				c.t.Errorf("the good courier's %s was answered %+v, %v", key, got, err)
			}
		})
	}
	wg.Wait()
	slices.Sort(took)
	return took[len(took)*99/100]
}

// flooding is a bad sender at work.
type flooding struct {
	t       *testing.T
	refused atomic.Int64
	quit    context.CancelFunc
	senders sync.WaitGroup
	began   time.Time
	took    time.Duration
}

// startFlood sends requests with a wrong signature over a few connections, many at
// once on each, at floodRate.
func startFlood(t *testing.T, c *child) *flooding {
	t.Helper()
	body := eventBody("bad", "shp-bad", "in_transit", time.Now())
	request := fmt.Appendf(nil, "POST /v1/events/courier/bad HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"+
		"X-Signature: %s\r\nX-Signature-Timestamp: %d\r\nX-Signature-Algorithm: hmac-sha256\r\nContent-Length: %d\r\n\r\n%s",
		strings.Repeat("0", 64), time.Now().Unix(), len(body), body)
	ctx, quit := context.WithCancel(t.Context())
	f := &flooding{t: t, quit: quit, began: time.Now()}
	const connections, pause = 4, 5 * time.Millisecond
	volley := bytes.Repeat(request, floodRate*int(pause)/int(time.Second)/connections+1)
	for range connections {
		conn, err := net.Dial("tcp", strings.TrimPrefix(c.public, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		f.senders.Go(func() { f.send(ctx, conn, volley, pause) })
		f.senders.Go(func() { f.count(conn) })
	}
	return f
}

// send sends volleys until ctx ends, then says that no more will come.
func (f *flooding) send(ctx context.Context, conn net.Conn, volley []byte, pause time.Duration) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for ctx.Err() == nil {
		<-tick.C
		if _, err := conn.Write(volley); err != nil {
			f.t.Errorf("the flood was cut off: %v", err)
			return
		}
	}
	if half, ok := conn.(*net.TCPConn); ok {
		_ = half.CloseWrite()
	}
}

// count counts the answers until there are no more, and closes the connection.
func (f *flooding) count(conn net.Conn) {
	defer conn.Close()
	answers := bufio.NewReader(conn)
	for {
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			return
		}
		if resp.StatusCode != http.StatusUnauthorized {
			f.t.Errorf("a bad request was answered %d", resp.StatusCode)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		f.refused.Add(1)
	}
}

// stop ends the flood and returns how many requests were refused.
func (f *flooding) stop() int64 {
	f.quit()
	f.senders.Wait()
	f.took = time.Since(f.began)
	return f.refused.Load()
}

// footprint is what a process takes: memory, and disk space of its store. The
// store's write-ahead log is used again and again, and has a size of its own.
type footprint struct{ memory, disk, log int64 }

// footprint measures a process.
func (c *child) footprint(dir string) (p footprint) {
	c.t.Helper()
	resp, err := client.Get(c.admin + "/metrics")
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "process_resident_memory_bytes "); ok {
			bytes, err := strconv.ParseFloat(value, 64)
			if err != nil {
				c.t.Fatal(err)
			}
			p.memory = int64(bytes)
		}
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasPrefix(d.Name(), "store.db") {
			return err
		}
		info, err := d.Info()
		switch {
		case err != nil:
		case strings.HasSuffix(path, "-wal"):
			p.log += info.Size()
		default:
			p.disk += info.Size()
		}
		return err
	})
	if err != nil || p.memory == 0 {
		c.t.Fatalf("measure the process: %+v, %v", p, err)
	}
	return p
}

// recorded returns how many refused requests of a courier are on record.
func (c *child) recorded(courier string) (n int64) {
	c.t.Helper()
	after := ""
	for {
		resp, err := client.Get(c.admin + "/api/v1/rejections?limit=500&outcome=all&courier=" + courier + "&after=" + after)
		if err != nil {
			c.t.Fatal(err)
		}
		var page struct {
			Records []event.IngestionRecord `json:"records"`
			Next    string                  `json:"next"`
		}
		err = json.NewDecoder(resp.Body).Decode(&page)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			c.t.Fatalf("rejections: %d, %v", resp.StatusCode, err)
		}
		for _, r := range page.Records {
			n += r.Count
		}
		if after = page.Next; after == "" {
			return n
		}
	}
}
