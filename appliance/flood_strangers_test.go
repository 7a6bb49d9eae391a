package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
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

// Times and sizes of the drill.
const (
	strangersTime  = 2 * time.Second // that each attack is watched
	strangersConns = 620             // of one attack, at least
	goodAtOnce     = 3_500           // events that come at the same moment
	shotEvery      = 20 * time.Millisecond
)

// stranger is one way to use up what a courier needs, without its secret.
type stranger struct {
	name    string
	from    []string      // source addresses, in turns
	conns   int           // strangersConns if that is more
	request func() []byte // all that it sends at once
	drip    bool          // and a byte more now and then
	long    bool          // whether the courier sends long events, too
	shared  bool          // whether it is the courier's own address, where long bodies can't be distinguished for certain
}

// unsignedPart is a request for a courier without a signature, of whose body only a part
// comes.
func unsignedPart(courier string, size, sent int) func() []byte {
	b := fmt.Appendf(nil, "POST /v1/events/courier/%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", courier, size)
	b = append(b, bytes.Repeat([]byte(" "), sent)...)
	return func() []byte { return b }
}

// unsignedChunks is the same in chunks, of which the last never comes.
func unsignedChunks(courier string, sent int) func() []byte {
	b := fmt.Appendf(nil, "POST /v1/events/courier/%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n",
		courier, sent, bytes.Repeat([]byte(" "), sent))
	return func() []byte { return b }
}

var (
	oneAddress   = []string{"127.0.0.2"}
	manyAddress  = []string{"127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6", "127.0.0.7", "127.0.0.8", "127.0.0.9"}
	ownAddress   = []string{"127.0.0.1"} // of the courier, which the attacks above don't have
	strangerKind = []stranger{
		{name: "66 KB of 67, one address", from: oneAddress, request: unsignedPart("good", 67_000, 66_000), long: true},
		{name: "33 KB of 34, eight addresses", from: manyAddress, conns: 1_200, request: unsignedPart("good", 34_000, 33_000), long: true},
		{name: "199 KB of 200, the courier's address", from: ownAddress, request: unsignedPart("good", 200_000, 199_000), long: true, shared: true},
		{name: "a byte over the short ones, dripping", from: oneAddress, request: unsignedPart("good", 16_000, 8_193), drip: true, long: true},
		{name: "a byte over the first memory", from: manyAddress, request: unsignedPart("good", 17_000, 16_385), long: true},
		{name: "a byte over the largest, after all of it", from: oneAddress, request: unsignedPart("good", 1<<20+1, 1<<20), long: true},
		{name: "chunks without an end", from: manyAddress, request: unsignedChunks("good", 60_000), long: true},
		{name: "another courier's, from there", from: manyAddress, request: unsignedPart("bad", 200_000, 199_000), long: true},
	}
)

// TestFloodOfStrangers has senders without any secret do all that they can to shut one
// courier out, while that courier's own signed events, short and long, are the probe:
// every one of them is accepted.
func TestFloodOfStrangers(t *testing.T) {
	b := startStrangers(t)
	t.Run("many good events at once", func(t *testing.T) {
		if accepted := b.atOnce(t, goodAtOnce); accepted != goodAtOnce {
			t.Errorf("of %d good events at once %d were accepted", goodAtOnce, accepted)
		}
	})
	for _, s := range strangerKind {
		t.Run(s.name, func(t *testing.T) {
			ctx, quit := context.WithCancel(t.Context())
			var senders sync.WaitGroup
			before := b.seen()
			for i := range max(s.conns, strangersConns) {
				senders.Go(func() { b.harass(ctx, s, s.from[i%len(s.from)]) })
			}
			b.untilThere(t, before)
			short, long := b.probe(t, "good", s.long)
			quit()
			senders.Wait()
			t.Logf("of the attacked courier's short events %d of %d were accepted, of its long ones %d of %d", short.accepted, short.sent, long.accepted, long.sent)
			if short.accepted != short.sent {
				t.Errorf("short events were answered %v", short.answers)
			}
			if long.accepted != long.sent && (!s.shared || long.accepted < long.sent*3/4) {
				t.Errorf("long events were answered %v", long.answers)
			}
		})
	}
	t.Run("the courier's rate", b.rate)
	t.Run("the courier's records", b.records)
	if err := b.signalled(syscall.SIGTERM); err != nil {
		t.Errorf("the process ended with %v\n%s", err, b.log)
	}
}

// attacked is an appliance with the couriers good, bad, and rated, which may send 5
// requests a second.
type attacked struct {
	*child
	schemes map[string]*signature.Scheme
	n       atomic.Int64
}

func startStrangers(t *testing.T) *attacked {
	t.Helper()
	if !*drills {
		t.Skip("takes half a minute of a whole machine; run with -args -drills")
	}
	dir := t.TempDir()
	b := &attacked{schemes: map[string]*signature.Scheme{}}
	text := ""
	for _, name := range []string{"good", "bad", "rated"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("the secret of "+name), 0o600); err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprintf("[couriers.%s]\nsecrets = [%q]\n", name, "file:"+filepath.Join(dir, name))
		if name == "rated" {
			text += "rate_per_second = 5.0\nrate_burst = 5\n"
		}
	}
	settings := filepath.Join(dir, "couriers.toml")
	if err := os.WriteFile(settings, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if b.schemes, err = sendertest.Load(t, text).Schemes(jwks.At); err != nil {
		t.Fatal(err)
	}
	b.child = spawn(t, filepath.Join(dir, "data"), "APPLIANCE_CONFIG="+settings)
	return b
}

// event is another event, of about so many bytes.
func (b *attacked) event(bytes int) []byte {
	key := fmt.Sprint("e", b.n.Add(1))
	body := eventBody(key, "shp-"+key, "in_transit", time.Now())
	if pad := bytes - len(body) - len(`,"pad":""`); pad > 0 {
		body = append(body[:len(body)-2], fmt.Sprintf(`,"pad":%q}}`, strings.Repeat("x", pad))...)
	}
	return body
}

// signed is a whole request.
func (b *attacked) signed(courier string, body []byte) []byte {
	out := fmt.Appendf(nil, "POST /v1/events/courier/%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", courier, len(body))
	for _, h := range b.schemes[courier].Sign(body, time.Now()) {
		out = fmt.Appendf(out, "%s: %s\r\n", h.Name, h.Value)
	}
	return append(append(out, "\r\n"...), body...)
}

func (b *attacked) dial(from string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}
	return d.Dial("tcp", strings.TrimPrefix(b.public, "http://"))
}

// harass keeps a connection open with what a stranger sends, again and again.
func (b *attacked) harass(ctx context.Context, s stranger, from string) {
	for ctx.Err() == nil {
		conn, err := b.dial(from)
		if err != nil {
			continue
		}
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		_, err = conn.Write(s.request())
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			_, _ = io.Copy(io.Discard, conn)
		}()
		tick := time.NewTicker(200 * time.Millisecond)
		for open := err == nil; open; {
			select {
			case <-answered:
				open = false
			case <-tick.C:
				if s.drip {
					_, _ = conn.Write([]byte(" "))
				}
			}
		}
		tick.Stop()
		stop()
		_ = conn.Close()
		<-answered
		pause(ctx, 250*time.Millisecond)
	}
}

// untilThere waits until the attack has begun, before which seen counted so many: until as
// many connections as it has are open, or were answered, refused or given up.
func (b *attacked) untilThere(t *testing.T, before float64) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); pause(t.Context(), 50*time.Millisecond) {
		if b.seen() >= before+strangersConns {
			pause(t.Context(), time.Second) // until what it holds is slow
			return
		}
	}
	t.Error("there is no attack")
}

// seen counts the connections that are open, those that were refused, and the requests
// that were answered.
func (b *attacked) seen() (count float64) {
	for line := range strings.Lines(string(b.fetch("/metrics"))) {
		for _, name := range []string{"connections ", "connections_refused_total", "requests_total"} {
			if strings.HasPrefix(line, "courier_gateway_ingest_"+name) {
				value, err := strconv.ParseFloat(line[strings.LastIndex(line, " ")+1:len(line)-1], 64)
				if err != nil {
					b.t.Fatal(err)
				}
				count += value
			}
		}
	}
	return count
}

// probed is what became of a courier's events of one size.
type probed struct {
	sent, accepted int
	answers        map[string]int // of the others
}

// probe posts a courier's events for a while, short ones and, if wanted, long ones.
func (b *attacked) probe(t *testing.T, courier string, withLong bool) (short, long probed) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	short.answers, long.answers = map[string]int{}, map[string]int{}
	tick := time.NewTicker(shotEvery)
	defer tick.Stop()
	for n, end := 0, time.Now().Add(strangersTime); time.Now().Before(end); n++ {
		<-tick.C
		of, size := &short, 200
		if withLong && n%4 == 3 {
			of, size = &long, 20_000
		}
		of.sent++
		wg.Go(func() {
			got, err := postTo(b.public+"/v1/events/courier/"+courier, b.schemes[courier], b.event(size))
			mu.Lock()
			defer mu.Unlock()
			if err == nil && got.Status == http.StatusAccepted {
				of.accepted++
				return
			}
			of.answers[fmt.Sprint(got.Status, " ", err)]++
		})
	}
	wg.Wait()
	return short, long
}

// atOnce opens connections, then sends a good event on each at the same moment, and
// returns how many are accepted.
func (b *attacked) atOnce(t *testing.T, n int) (accepted int) {
	t.Helper()
	conns := make([]net.Conn, n)
	for i := range conns {
		var err error
		if conns[i], err = b.dial(fmt.Sprint("127.0.1.", 1+i%8)); err != nil {
			t.Fatal(err)
		}
		defer conns[i].Close()
	}
	requests := make([][]byte, n)
	for i := range requests {
		requests[i] = b.signed("good", b.event(200))
	}
	for i, conn := range conns {
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := conn.Write(requests[i]); err != nil {
			t.Fatal(err)
		}
	}
	for _, conn := range conns {
		if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil && resp.StatusCode == http.StatusAccepted {
			accepted++
		}
	}
	return accepted
}

// rate has a courier send as many events as it may, while 180 requests a second come
// for it from its own address that nothing signs.
func (b *attacked) rate(t *testing.T) {
	ctx, quit := context.WithCancel(t.Context())
	var stranger sync.WaitGroup
	stranger.Go(func() { b.repeat(ctx, 180, func(int) []byte { return unsignedPart("rated", 200, 200)() }) })
	var accepted, sent int
	tick := time.NewTicker(210 * time.Millisecond) // a little slower than the rate
	defer tick.Stop()
	for end := time.Now().Add(strangersTime); time.Now().Before(end); sent++ {
		<-tick.C
		if got, err := postTo(b.public+"/v1/events/courier/rated", b.schemes["rated"], b.event(200)); err == nil && got.Status == http.StatusAccepted {
			accepted++
		}
	}
	quit()
	stranger.Wait()
	t.Logf("%d of %d events within the rate were accepted", accepted, sent)
	if accepted != sent {
		t.Errorf("%d of %d events within the rate were not accepted", sent-accepted, sent)
	}
}

// repeat sends requests on one connection at a rate, until ctx ends.
func (b *attacked) repeat(ctx context.Context, perSecond int, request func(int) []byte) {
	conn, err := b.dial("127.0.0.1")
	if err != nil {
		b.t.Error(err)
		return
	}
	var reader sync.WaitGroup
	reader.Go(func() { _, _ = io.Copy(io.Discard, conn) })
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	for i := 0; ctx.Err() == nil; i++ {
		<-tick.C
		if _, err := conn.Write(request(i)); err != nil {
			b.t.Errorf("the flood was cut off: %v", err)
			break
		}
	}
	_ = conn.Close()
	reader.Wait()
}

// records has junk come for a courier, many at once and then at 30 a second, and a few
// requests beside it that could be accepted later: signed with a secret that is not
// configured yet, and with a body that does not fit. Each of those has a record of its
// own.
func (b *attacked) records(t *testing.T) {
	ctx, quit := context.WithCancel(t.Context())
	var stranger sync.WaitGroup
	stranger.Go(func() {
		b.repeat(ctx, 30, func(i int) []byte {
			if i == 0 { // as much as a burst may have
				return bytes.Repeat(unsignedPart("good", 4, 4)(), 100)
			}
			junk := fmt.Appendf(nil, "junk %d", i)
			return fmt.Appendf(nil, "POST /v1/events/courier/good HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(junk), junk)
		})
	})
	const genuine = 10
	tick := time.NewTicker(strangersTime / genuine)
	defer tick.Stop()
	for i := range genuine {
		<-tick.C
		scheme, body := b.schemes["bad"], bytes.Replace(b.event(200), []byte(`"source":"test"`), []byte(`"source":"genuine"`), 1)
		if i%2 == 1 {
			scheme, body = b.schemes["good"], fmt.Appendf(nil, `{"genuine":%d}`, i)
		}
		if _, err := postTo(b.public+"/v1/events/courier/good", scheme, body); err != nil {
			t.Fatal(err)
		}
	}
	quit()
	stranger.Wait()
	kept := 0
	for end := time.Now().Add(5 * time.Second); kept < genuine && time.Now().Before(end); pause(t.Context(), 200*time.Millisecond) {
		kept = b.recordedWith(t, "genuine")
	}
	t.Logf("%d of %d requests that could be accepted later have a record", kept, genuine)
	if kept != genuine {
		t.Errorf("%d of %d requests have no record", genuine-kept, genuine)
	}
}

// recordedWith returns how many refused requests of good are on record whose body has
// a word in it.
func (b *attacked) recordedWith(t *testing.T, word string) (n int) {
	t.Helper()
	after := ""
	for {
		var page struct {
			Records []ingestion.Record `json:"records"`
			Next    string             `json:"next"`
		}
		b.get("/api/v1/rejections?limit=500&courier=good&after="+after, &page)
		for _, r := range page.Records {
			var one ingestion.Record
			b.get("/api/v1/rejections/"+r.ID, &one)
			if one.Request != nil && bytes.Contains(one.Request.Body, []byte(word)) {
				n++
			}
		}
		if after = page.Next; after == "" {
			return n
		}
	}
}
