package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/appliance/config/sendertest"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ingest/signature"
	"github.com/fincart/courier-gateway/ingest/signature/jwks"
)

// flood is how long the drill's bad sender goes on.
var flood = flag.Duration("flood", 6*time.Second, "how long the drill's bad sender floods")

// Rates of the drill, in requests per second.
const (
	floodRate = 10_000
	calmRate  = 200
)

// besieged is an appliance with the couriers good and bad, and what it was like in
// calm.
type besieged struct {
	*child
	settings, data string
	scheme         *signature.Scheme // of good
	calm           latency
	grown          int64 // disk, while the good courier sent in calm
}

// besiege starts the appliance of a drill, and watches it in calm.
func besiege(t *testing.T) *besieged {
	t.Helper()
	if !*drills {
		t.Skip("measures latency, which the race detector and other tests would spoil; run with -args -drills")
	}
	dir := t.TempDir()
	b := &besieged{settings: filepath.Join(dir, "couriers.toml"), data: filepath.Join(dir, "data")}
	text := ""
	for _, name := range []string{"good", "bad"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("the secret of "+name), 0o600); err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprintf("[couriers.%s]\nsecrets = [%q]\n", name, "file:"+filepath.Join(dir, name))
	}
	if err := os.WriteFile(b.settings, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if b.scheme, err = sendertest.Load(t, text).Scheme("good", jwks.At); err != nil {
		t.Fatal(err)
	}
	b.child = spawn(t, b.data, "APPLIANCE_CONFIG="+b.settings)
	steady(b.child, b.scheme, "first", *flood/6)
	before := b.footprint(b.data)
	b.calm = steady(b.child, b.scheme, "calm", *flood)
	b.grown = b.footprint(b.data).disk - before.disk
	return b
}

// endures watches the appliance while a flood, which has begun, goes on: what is in
// use of memory grows by no more than so many bytes, all that the process holds by no
// more than the garbage that may lie beside it, and disk by so many, beside what the
// good courier's events took in calm. It returns how long the good courier waited.
func (b *besieged) endures(memory, disk int64) (under latency) {
	b.t.Helper()
	last(b.t, *flood/6) // until buffers and pools have grown to their size
	before := b.footprint(b.data)
	under = steady(b.child, b.scheme, "under", *flood)
	after := b.footprint(b.data)
	b.t.Logf("memory in use %d -> %d MiB, resident %d -> %d MiB, disk %d -> %d KiB, of which good events take %d KiB",
		before.inUse>>20, after.inUse>>20, before.resident>>20, after.resident>>20, before.disk>>10, after.disk>>10, b.grown>>10)
	if grown := after.inUse - before.inUse; grown > memory {
		b.t.Errorf("%d MiB more are in use", grown>>20)
	}
	if more := after.resident - before.inUse; more > memory+garbageBytes*5/4 { // the collector is late at times
		b.t.Errorf("%d MiB are resident, when %d were in use", after.resident>>20, before.inUse>>20)
	}
	if grown := after.disk - before.disk - b.grown; grown > disk || after.log > 68<<20 {
		b.t.Errorf("the disk grew by %d MiB, the store's log has %d MiB", grown>>20, after.log>>20)
	}
	return under
}

// unhurt watches the appliance once more in calm and compares: under the flood the good
// courier's p99 has to be inside twice its calm value or, where that is more, the
// slowest answer in calm, which is how late the machine itself is at times.
func (b *besieged) unhurt(under latency) {
	b.t.Helper()
	again := steady(b.child, b.scheme, "again", *flood)
	p99, slowest := max(b.calm.p99, again.p99), max(b.calm.slowest, again.slowest)
	b.t.Logf("the good courier's p99: %v under the flood, %v before and %v after it, when the slowest answer took %v", under.p99, b.calm.p99, again.p99, slowest)
	if under.p99 > max(2*p99, slowest) {
		b.t.Errorf("the good courier's p99 rose from %v to %v", p99, under.p99)
	}
}

// TestFloodOfBadRequests floods an appliance with requests whose signature is
// wrong, while another courier goes on as always: it hardly notices, every refusal
// is accounted for, and neither memory nor disk grows with the flood.
func TestFloodOfBadRequests(t *testing.T) {
	b := besiege(t)
	f := startFlood(t, b.child)
	under := b.endures(2*16<<20, 8<<20) // the store's page cache fills meanwhile
	refused := f.stop()
	b.unhurt(under)
	rate := float64(refused) / f.took.Seconds()
	t.Logf("%.0f refusals/s", rate)
	if rate < floodRate {
		t.Errorf("%.0f requests were refused per second, the drill is about %d", rate, floodRate)
	}
	if err := b.signalled(syscall.SIGTERM); err != nil { // which writes the last sums
		t.Fatalf("the process ended with %v\n%s", err, b.log)
	}
	c := spawn(t, b.data, "APPLIANCE_CONFIG="+b.settings)
	if n := c.recorded("bad"); n != refused {
		t.Errorf("%d refusals are on record, %d were answered", n, refused)
	}
	if err := c.signalled(syscall.SIGTERM); err != nil {
		t.Errorf("the process ended with %v\n%s", err, c.log)
	}
}

// TestFloodOfLargeBodies keeps many connections open, each with almost all of a large
// body that never ends, for a courier and for one that does not exist: small events of
// another courier are accepted as always, and memory is bounded.
func TestFloodOfLargeBodies(t *testing.T) {
	b := besiege(t)
	idle := b.footprint(b.data)
	ctx, quit := context.WithCancel(t.Context())
	var senders sync.WaitGroup
	parts := [][]byte{almostAll("bad"), almostAll("nobody")}
	for i := range largeConns {
		senders.Go(func() { b.dawdle(ctx, largeEvery*time.Duration(i)/largeConns, parts[i%len(parts)]) })
	}
	under := b.endures(64<<20, 2*1000*(36<<10)) // the page cache, and bodies as below; the disk has the records of two couriers, of which no more are kept
	took := b.footprint(b.data).resident - idle.resident
	t.Logf("%d MiB of bodies are on their way, and take %d MiB", largeConns*largeBody>>20, took>>20)
	if took > 128<<20 { // 64 for bodies, and as much for the page cache and buffers of the connections
		t.Errorf("%d MiB of bodies take %d MiB", largeConns*largeBody>>20, took>>20)
	}
	quit()
	senders.Wait()
	t.Logf("the good courier's p99: %v in calm, %v beside them", b.calm.p99, under.p99) // the bytes have their price here: they come from this machine
	if err := b.signalled(syscall.SIGTERM); err != nil {
		t.Errorf("the process ended with %v\n%s", err, b.log)
	}
}

// The drill's large bodies: so many connections that send one every so often.
const (
	largeConns = 400
	largeBody  = 1 << 20
	largeEvery = 5 * time.Second
)

// almostAll is a large request but for its last byte.
func almostAll(courier string) []byte {
	return fmt.Appendf(nil, "POST /v1/events/courier/%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		courier, largeBody, bytes.Repeat([]byte(" "), largeBody-1))
}

// dawdle sends a part of a request again and again, each on a connection of its own,
// until ctx ends. It begins after a while, so that not all begin at once.
func (b *besieged) dawdle(ctx context.Context, after time.Duration, part []byte) {
	pause(ctx, after)
	for ctx.Err() == nil {
		conn, err := net.Dial("tcp", strings.TrimPrefix(b.public, "http://"))
		if err != nil {
			b.t.Errorf("a large body found no listener: %v", err)
			return
		}
		_, _ = conn.Write(part) // it may be refused meanwhile
		pause(ctx, largeEvery)
		_ = conn.Close()
	}
}

// pause waits until d is over or ctx ends.
func pause(ctx context.Context, d time.Duration) {
	wait, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-wait.Done()
}

// latency is how long answers took: the median of the 99th percentiles of each second,
// and the slowest of all.
type latency struct{ p99, slowest time.Duration }

// steady posts good events at calmRate for a while.
func steady(c *child, scheme *signature.Scheme, tag string, d time.Duration) (l latency) {
	c.t.Helper()
	var mu sync.Mutex
	took := make([][]time.Duration, max(1, int(d/time.Second)))
	var wg sync.WaitGroup
	tick := time.NewTicker(time.Second / calmRate)
	defer tick.Stop()
	for i := range len(took) * calmRate {
		<-tick.C
		wg.Go(func() {
			key := fmt.Sprintf("%s-%d", tag, i)
			body := eventBody(key, "shp-"+key, "in_transit", time.Now())
			began := time.Now()
			got, err := postTo(c.public+"/v1/events/courier/good", scheme, body)
			mu.Lock()
			defer mu.Unlock()
			took[i/calmRate] = append(took[i/calmRate], time.Since(began))
			if err != nil || got.Status != http.StatusAccepted {
				c.t.Errorf("the good courier's %s was answered %+v, %v", key, got, err)
			}
		})
	}
	wg.Wait()
	var each []time.Duration
	for _, second := range took {
		slices.Sort(second)
		each = append(each, second[len(second)*99/100])
		l.slowest = max(l.slowest, second[len(second)-1])
	}
	slices.Sort(each)
	l.p99 = each[len(each)/2]
	return l
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
	for due := f.began; ctx.Err() == nil; due = due.Add(pause) {
		for time.Now().Before(due) { // a tick that was missed is made up for
			<-tick.C
		}
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

// footprint is what a process takes: memory, and disk space of its whole data
// directory. The store's write-ahead log is used again and again, and has a size of its own.
type footprint struct {
	resident, inUse int64 // memory that the process holds, and that without what Go has free in it
	disk, log       int64
}

// footprint measures a process, after a garbage collection: a moment's memory says
// more about when the last one was than about what is in use.
func (c *child) footprint(dir string) (p footprint) {
	c.t.Helper()
	c.fetch("/debug/pprof/heap?gc=1")
	now := c.fetch("/metrics")
	value := func(name string) int64 { return int64(metric(c.t, now, name)) }
	p.resident = value("process_resident_memory_bytes")
	p.inUse = p.resident - (value("go_memstats_heap_idle_bytes") - value("go_memstats_heap_released_bytes"))
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // a block of the queue that was just removed
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
		case strings.HasSuffix(path, "-wal"):
			p.log += info.Size()
		default:
			p.disk += info.Size()
		}
		return err
	})
	if err != nil {
		c.t.Fatalf("measure %s: %v", dir, err)
	}
	return p
}

// recorded returns how many refused requests of a courier are on record.
func (c *child) recorded(courier string) (n int64) {
	c.t.Helper()
	after := ""
	for {
		var page struct {
			Records []ingestion.Record `json:"records"`
			Next    string             `json:"next"`
		}
		c.get("/api/v1/rejections?limit=500&outcome=all&courier="+courier+"&after="+after, &page)
		for _, r := range page.Records {
			n += r.Count
		}
		if after = page.Next; after == "" {
			return n
		}
	}
}
