package load

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/fincart/courier-gateway/bench"
)

// clients are the two ways to send the same load.
var clients = map[string]func(*load, context.Context) error{clientLean: (*load).lean, clientVegeta: (*load).vegeta}

func TestClientsSendTheSame(t *testing.T) {
	t.Parallel()
	m := Mix{Duplicates: 0.1, Invalid: 0.2, OutOfOrder: 0.1}
	const requests = 300
	for _, rate := range []rate{{}, {Freq: 2000, Per: time.Second}} {
		for name, send := range clients {
			d := newFake(t, bench.Faults{})
			l := newTestLoad(t, d.URL, loadConfig{connections: 8, requests: requests, rate: rate}, m)
			began := time.Now()
			if err := send(l, t.Context()); err != nil {
				t.Fatal(err)
			}
			took := time.Since(began)
			var events uint64
			for n := range uint64(requests) {
				k, event := l.plan.request(n)
				if k == fresh {
					events++
					if key := l.plan.events.Key(event); d.record(key) == nil || !l.rec.acked.Has(event) {
						t.Fatalf("%s %v: event %d is not there or not acknowledged: %v", name, rate, event, l.rec.answers)
					}
				}
			}
			for k := range kind(kinds) {
				if c := l.rec.kinds[k]; c.sent == 0 || c.sent != c.expected || c.sent != c.answered {
					t.Errorf("%s %v: %v: %+v", name, rate, k, c)
				}
			}
			r := l.rec
			if r.acked.Len() != events || r.news != events || r.snapshot().sent != requests || r.unsure.Len() != 0 {
				t.Errorf("%s %v: %d of %d events acknowledged, %d called new, %d requests", name, rate, r.acked.Len(), events, r.news, r.snapshot().sent)
			}
			if r.metrics.Requests != r.valid() || r.metrics.BytesOut.Total == 0 || r.metrics.BytesIn.Total == 0 || r.acks.n != r.valid() {
				t.Errorf("%s %v: vegeta has counted %+v", name, rate, r.metrics)
			}
			if rate.set() && took < requests*time.Second/2000*9/10 {
				t.Errorf("%s: %d requests at %v took %v", name, requests, rate, took)
			}
		}
	}
}

func TestClosedLoopEndsWithItsTime(t *testing.T) {
	t.Parallel()
	d := newFake(t, bench.Faults{})
	for name, send := range clients {
		l := newTestLoad(t, d.URL, loadConfig{connections: 3, duration: 200 * time.Millisecond}, Mix{})
		if err := send(l, t.Context()); err != nil {
			t.Fatal(err)
		}
		if l.rec.acks.n == 0 || l.rec.ended > 10*time.Second || l.rec.ended < 150*time.Millisecond {
			t.Errorf("%s: %d acknowledged, ended after %v", name, l.rec.acks.n, l.rec.ended)
		}
	}
}

func TestWaitingForAConnectionCounts(t *testing.T) {
	t.Parallel()
	const stall = 80 * time.Millisecond
	var first atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if first.CompareAndSwap(false, true) {
			<-time.After(stall)
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(server.Close)
	// One connection, a request each millisecond: while the first answer is late,
	// the others wait, and each waits a millisecond less than the one before.
	l := newTestLoad(t, server.URL, loadConfig{connections: 1, requests: 100, rate: rate{Freq: 1000, Per: time.Second}}, Mix{})
	if err := l.lean(t.Context()); err != nil {
		t.Fatal(err)
	}
	slow := 0
	for i := bucketOf(stall / 2); i < buckets; i++ {
		slow += int(l.rec.acks.counts[i])
	}
	if slow < 38 || l.rec.acks.n != 100 {
		t.Errorf("%d of %d took half the stall or more, want 40 at least: the load waits for answers", slow, l.rec.acks.n)
	}
}

func TestWhatCannotBeSentInTimeIsGivenUp(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-time.After(30 * time.Millisecond)
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(server.Close)
	l := newTestLoad(t, server.URL, loadConfig{connections: 1, requests: 1000, rate: rate{Freq: 5000, Per: time.Second}, timeout: 100 * time.Millisecond}, Mix{})
	if err := l.lean(t.Context()); err != nil {
		t.Fatal(err)
	}
	late := l.rec.answers[answerKey{kind: fresh, err: errTooLate.Error()}]
	if late < 500 || l.rec.acks.n == 0 || l.rec.unsure.Len() > 20 || l.rec.snapshot().sent != 1000 {
		t.Errorf("%d given up, %d acknowledged, %d unsure", late, l.rec.acks.n, l.rec.unsure.Len())
	}
}

func TestLostConnectionsAreOpenedAgain(t *testing.T) {
	t.Parallel()
	d := newFake(t, bench.Faults{})
	var n atomic.Int32
	d.Config.Handler = func(inner http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch n.Add(1) % 10 {
			case 0:
				panic(http.ErrAbortHandler) // breaks the connection
			case 5:
				w.Header().Set("Connection", "close")
			}
			inner.ServeHTTP(w, r)
		})
	}(d.Config.Handler)
	l := newTestLoad(t, d.URL, loadConfig{connections: 2, requests: 200}, Mix{})
	if err := l.lean(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l.rec.acks.n != 180 || l.rec.unsure.Len() != 20 || l.rec.answers[answerKey{kind: fresh, err: errLost.Error()}] != 20 {
		t.Errorf("%d acknowledged, %d unsure: %v", l.rec.acks.n, l.rec.unsure.Len(), l.rec.answers)
	}
}

func TestLoadNeedsAListener(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	url := "http://" + ln.Addr().String()
	if err := newTestLoad(t, url, loadConfig{connections: 2, requests: 10}, Mix{}).lean(t.Context()); err == nil {
		t.Error("nothing listens, and the load went well")
	}
	l := newTestLoad(t, url, loadConfig{connections: 2, requests: 10}, Mix{})
	if err := l.vegeta(t.Context()); err != nil || l.rec.acks.n != 0 || l.rec.answers[answerKey{kind: fresh, err: errRefused.Error()}] != 10 {
		t.Errorf("%v: %v", err, l.rec.answers)
	}
}

func TestLoadEndsWithItsContext(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	arrived := make(chan struct{}, 100)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		arrived <- struct{}{}
		<-hang
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(hang) })
	ctx, cancel := context.WithCancel(t.Context())
	l := newTestLoad(t, server.URL, loadConfig{connections: 2, duration: time.Hour}, Mix{})
	ended := make(chan error, 1)
	go func() { ended <- l.lean(ctx) }()
	<-arrived
	cancel()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("still waiting")
	}
	if l.rec.snapshot().sent != 0 {
		t.Errorf("what was cut off counts: %v", l.rec.answers)
	}
}

func TestTimer(t *testing.T) {
	t.Parallel()
	a, err := newTimer()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []time.Duration{100 * time.Microsecond, 3 * time.Millisecond, 20 * time.Millisecond, -time.Second} {
		at := time.Now().Add(d)
		a.until(t.Context(), at)
		if early := time.Until(at); early > 0 {
			t.Errorf("%v too early after %v", early, d)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a.until(ctx, time.Now().Add(time.Hour))
	a.close()
	if at := time.Now().Add(time.Millisecond); true {
		a.until(t.Context(), at)
		if time.Until(at) > 0 {
			t.Error("a closed timer does not wait")
		}
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind      kind
		status    int
		body      string
		duplicate bool
		err       error
	}{
		{fresh, 202, `{"idempotencyKey":"k","duplicate":false}`, false, nil},
		{fresh, 202, `{"idempotencyKey":"k","duplicate":true}`, true, nil},
		{fresh, 202, `{"idempotencyKey":"kk","duplicate":true}`, false, errWrongEvent},
		{fresh, 202, `{"idempotencyKey":"other"}`, false, errWrongEvent},
		{fresh, 200, `ok`, false, nil},
		{fresh, 204, ``, false, nil},
		{fresh, 503, `{"errorCode":"INTAKE_UNAVAILABLE"}`, false, nil},
		{tampered, 401, `{"errorCode":"INVALID_SIGNATURE"}`, false, nil},
		{tampered, 401, `{"errorCode":"UNAUTHORIZED"}`, false, errWrongCode},
		{tampered, 401, ``, false, errWrongCode},
		{stale, 401, `{"errorCode":"INVALID_SIGNATURE"}`, false, nil},
		{badBody, 400, `{"errorCode":"INVALID_PAYLOAD"}`, false, nil},
		{badBody, 400, `{"errorCode":"BAD_REQUEST"}`, false, errWrongCode},
		{badBody, 401, `{"errorCode":"INVALID_SIGNATURE"}`, false, nil},
		{tampered, 202, `{"idempotencyKey":"k"}`, false, nil},
	} {
		h := hit{kind: c.kind, status: c.status}
		duplicate, err := judge(&h, []byte(c.body), []byte(`"k"`))
		if duplicate != c.duplicate || !errors.Is(err, c.err) {
			t.Errorf("%v answered %d %s: %v, %v", c.kind, c.status, c.body, duplicate, err)
		}
		h.err = err
		right := c.err == nil && (c.kind.valid() && c.status < 300 || c.kind == badBody && c.status == 400 || c.kind == tampered && c.status == 401 || c.kind == stale)
		if h.expected() != right {
			t.Errorf("%v answered %d %s is expected: %v", c.kind, c.status, c.body, h.expected())
		}
	}
}

// BenchmarkLoad has the clients beside each other, and fasthttp's own: in closed loop on
// 100 connections, with a server of fasthttp's in the same process.
func BenchmarkLoad(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &fasthttp.Server{Handler: func(c *fasthttp.RequestCtx) {
		c.SetStatusCode(http.StatusAccepted)
		c.SetBodyString(`{"acknowledged":true}`)
	}}
	go server.Serve(ln)
	b.Cleanup(func() { server.Shutdown() })
	ways := map[string]func(*load, context.Context) error{"lean": (*load).lean, "vegeta": (*load).vegeta, "HostClient": func(l *load, _ context.Context) error { return hostClient(l) }}
	for name, send := range ways {
		b.Run(name, func(b *testing.B) {
			l := newTestLoad(b, "http://"+ln.Addr().String(), loadConfig{connections: 100, requests: uint64(b.N), timeout: time.Minute}, Mix{})
			b.ReportAllocs()
			b.ResetTimer()
			if err := send(l, b.Context()); err != nil {
				b.Fatal(err)
			}
			if l.rec.acks.n != uint64(b.N) {
				b.Errorf("%d of %d acknowledged", l.rec.acks.n, b.N)
			}
		})
	}
}

// hostClient sends by fasthttp's HostClient, in closed loop.
func hostClient(l *load) error {
	client := &fasthttp.HostClient{
		Addr: l.to.address, MaxConns: l.cfg.connections, MaxIdemponentCallAttempts: 1,
		Dial:        func(address string) (net.Conn, error) { return net.DialTimeout("tcp", address, l.cfg.timeout) },
		ReadTimeout: l.cfg.timeout, WriteTimeout: l.cfg.timeout, DisableHeaderNamesNormalizing: true, DisablePathNormalizing: true,
	}
	l.begin()
	next := l.closedLoop()
	var running sync.WaitGroup
	for range l.cfg.connections {
		running.Go(func() {
			var request fasthttp.Request
			var answer fasthttp.Response
			request.SetRequestURI(l.to.url)
			request.Header.SetMethod(http.MethodPost)
			composer := l.composer()
			for n, due, ok := next(); ok; n, due, ok = next() {
				c := composer.compose(n)
				for _, h := range c.Headers {
					request.Header.Set(h.Name, h.Value)
				}
				request.SetBodyRaw(c.Body)
				h := hit{n: n, kind: c.kind, event: c.event, at: due, out: len(c.Body), err: client.Do(&request, &answer)}
				h.status, h.in, h.took = answer.StatusCode(), len(answer.Body()), time.Since(l.start)-due
				l.rec.add(h)
			}
		})
	}
	running.Wait()
	return nil
}

func TestRates(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"5000": "5000/s", "5000/s": "5000/s", "300/m": "300/m", " 7/h ": "7/h",
		"0": "", "-1": "", "1/d": "", "": "", "/s": "", "5/": "", "1.5/s": "", "9999999999/s": "",
	} {
		var r rate
		if err := r.Set(text); (err == nil) != (want != "") || r.String() != want || r.set() != (want != "") {
			t.Errorf("%q: %v, %v; want %q", text, r, err, want)
		}
	}
}

func TestHitsAreDueAtEvenIntervals(t *testing.T) {
	t.Parallel()
	for text, every := range map[string]time.Duration{"1000/s": time.Millisecond, "30/m": 2 * time.Second, "1/h": time.Hour} {
		var r rate
		if err := r.Set(text); err != nil {
			t.Fatal(err)
		}
		for n := range uint64(1000) {
			if got := r.due(n) - r.due(0); got != every*time.Duration(n) {
				t.Fatalf("%s: hit %d is due after %v", text, n, got)
			}
		}
	}
}
