package ingest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// TestShutdownAnswersWhatIsInFlight holds requests inside the publisher while
// the server stops.
func TestShutdownAnswersWhatIsInFlight(t *testing.T) {
	t.Parallel()
	const inFlight = 32
	f := start(t, nil)
	f.publisher.held, f.publisher.inside = make(chan struct{}), make(chan struct{}, inFlight)
	late := f.letIn(t, "127.0.0.1") // open, with nothing under way

	var conns []*wireConn
	for i := range inFlight {
		c := f.dial(t)
		c.send(t, f.raw(f.demo, "/v1/events/courier", bodyWithKey(fmt.Sprint("k", i))))
		conns = append(conns, c)
	}
	for range inFlight {
		<-f.publisher.inside
	}
	stopped := make(chan error, 1)
	go func() { stopped <- f.Shutdown(t.Context()) }()
	waitFor(t, "the listener to close", func() bool {
		c, err := net.Dial("tcp", f.addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})

	late.send(t, f.raw(f.demo, "/v1/events/courier", bodyWithKey("late")))
	a := late.answer(t)
	expectProblem(t, a, 503, event.IntakeUnavailable, "stopping")
	if !a.Close {
		t.Error("an answer while stopping leaves the connection open")
	}
	late.expectClosed(t)

	select {
	case err := <-stopped:
		t.Fatalf("Shutdown returns %v with requests in flight", err)
	default:
	}
	close(f.publisher.held)
	for i, c := range conns {
		if a := c.answer(t); a.StatusCode != 202 || !a.Close {
			t.Errorf("request %d is answered %d, close %v", i, a.StatusCode, a.Close)
		}
		c.expectClosed(t)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if n := len(f.publisher.all()); n != inFlight {
		t.Errorf("%d events kept, want %d", n, inFlight)
	}
}

// TestShutdownUnderLoad stops the server while senders post as fast as they can.
// What they have sent on a connection that the server has accepted is answered.
func TestShutdownUnderLoad(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	var accepted, unavailable atomic.Int64
	var senders sync.WaitGroup
	for s := range 16 {
		c := f.letIn(t, "127.0.0.1")
		senders.Go(func() {
			for i := 0; ; i++ {
				c.send(t, f.raw(f.demo, "/v1/events/courier", bodyWithKey(fmt.Sprintf("%d-%d", s, i))))
				res, err := http.ReadResponse(c.in, nil)
				if err != nil {
					t.Errorf("sender %d: request %d is not answered: %v", s, i, err)
					return
				}
				switch a := read(t, res); a.StatusCode {
				case 202:
					accepted.Add(1)
				case 503:
					unavailable.Add(1)
				default:
					t.Errorf("got %d %s", a.StatusCode, a.body)
				}
				if res.Close {
					return
				}
			}
		})
	}
	waitFor(t, "load", func() bool { return accepted.Load() > 200 })
	if err := f.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	senders.Wait()
	if got := int64(len(f.publisher.all())); got != accepted.Load() {
		t.Errorf("%d events kept, %d acknowledged", got, accepted.Load())
	}
}

func TestShutdownClosesIdleConnections(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	idle := f.letIn(t, "127.0.0.1")
	if err := f.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	idle.expectClosed(t)
	if err := f.Shutdown(t.Context()); err != nil {
		t.Errorf("a second Shutdown: %v", err)
	}
}

// TestShutdownDoesNotWaitForWhatIsNoRequest stops the server while connections are open on
// which nothing has come, half a header, and half a body.
func TestShutdownDoesNotWaitForWhatIsNoRequest(t *testing.T) {
	t.Parallel()
	const head = "POST /v1/events/courier HTTP/1.1\r\nHost: x\r\n"
	for name, c := range map[string]struct {
		sent   string
		within time.Duration
		answer int // 0 for none
	}{
		"nothing":              {"", time.Second, 0},
		"half a request line":  {"POST /v1/ev", time.Second, 0},
		"half a header":        {head + "content-type: appl", time.Second, 0},
		"headers without body": {head + "content-length: 100\r\n\r\n", 3 * time.Second, 503},
		"half a body":          {head + "content-length: 100\r\n\r\n{\"event", 3 * time.Second, 503},
		"half a long body":     {head + "content-length: 100000\r\n\r\n" + strings.Repeat(" ", 50_000), 3 * time.Second, 503},
		"half a chunk":         {head + "transfer-encoding: chunked\r\n\r\n10\r\n{", 3 * time.Second, 503},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, nil)
			conn := f.dial(t)
			conn.send(t, c.sent)
			waitFor(t, "the connection", func() bool { return f.conns.Count() == 1 })
			began := time.Now()
			if err := f.Shutdown(t.Context()); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			if took := time.Since(began); took > c.within {
				t.Errorf("the stop took %v, want at most %v", took, c.within)
			}
			if c.answer != 0 {
				if a := conn.answer(t); a.StatusCode != c.answer {
					t.Errorf("answered %d, want %d", a.StatusCode, c.answer)
				}
			}
			conn.expectClosed(t)
		})
	}
}

// TestShutdownClosesSilentTLS: before its handshake, and after it.
func TestShutdownClosesSilentTLS(t *testing.T) {
	t.Parallel()
	f, _, _ := startTLS(t, nil)
	unshaken := f.dial(t)
	shaken, err := tls.Dial("tcp", f.addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer shaken.Close()
	waitFor(t, "the connections", func() bool { return f.conns.Count() == 2 })
	began := time.Now()
	if err := f.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("the stop took %v", took)
	}
	unshaken.expectClosed(t)
}

func TestShutdownIsBounded(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.publisher.held, f.publisher.inside = make(chan struct{}), make(chan struct{}, 1)
	c := f.dial(t)
	c.send(t, f.raw(f.demo, "/v1/events/courier", goodBody))
	<-f.publisher.inside

	ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, errors.New("enough waited"))
	defer cancel()
	err := f.Shutdown(ctx)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want a missed deadline", err)
	}
	if cause := context.Cause(f.hard); cause == nil || cause.Error() != "enough waited" {
		t.Errorf("publishing is cancelled because of %v", cause)
	}
	expectProblem(t, c.answer(t), 503, event.IntakeUnavailable, "")
	c.expectClosed(t)
	if n := len(f.publisher.all()); n != 0 {
		t.Errorf("%d events kept", n)
	}
}

func TestShutdownCutsOffWhoNeverEnds(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	c := f.dial(t)
	c.send(t, "POST /v1/events/courier HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n") // and nothing more
	waitFor(t, "the connection", func() bool { return f.conns.Count() == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := f.Shutdown(ctx); err == nil || !strings.Contains(err.Error(), "1 connections") {
		t.Errorf("got %v, want one connection closed", err)
	}
	c.expectClosed(t)
}

func TestServeAfterShutdown(t *testing.T) {
	t.Parallel()
	f := prepare(t, nil)
	if err := f.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	ln, err := f.Listen()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Serve(ln); err != nil {
		t.Error(err)
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is left open: %v", err)
	}
}

func TestListenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.config.Listen = f.addr
	if _, err := f.Listen(); err == nil || !strings.Contains(err.Error(), f.addr) {
		t.Errorf("got %v, want an error that names %s", err, f.addr)
	}
}
