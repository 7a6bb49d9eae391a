package load

import (
	"bufio"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const good = "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 4\r\nX-Request-Id: a\r\n\r\n{\"\"}"

// serving returns the URL of a server that does this with each connection.
func serving(t testing.TB, do func(conn *net.TCPConn, in *bufio.Reader)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				do(conn.(*net.TCPConn), bufio.NewReader(conn))
			}()
		}
	}()
	return "http://" + ln.Addr().String()
}

// take reads one request and reports whether there was one.
func take(in *bufio.Reader) bool {
	r, err := http.ReadRequest(in)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, r.Body)
	return err == nil
}

// answering returns the URL of a server that answers each request on each
// connection with the next of these texts, and closes when there is none.
func answering(t testing.TB, texts ...string) string {
	t.Helper()
	return serving(t, func(conn *net.TCPConn, in *bufio.Reader) {
		for _, text := range texts {
			if !take(in) {
				return
			}
			io.WriteString(conn, text)
		}
	})
}

// dialed returns a connection.
func dialed(t testing.TB, to *endpoint, timeout time.Duration) *connection {
	t.Helper()
	c, err := dial(t.Context(), to, timeout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

var request = []byte("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")

func TestClientReadsAnswers(t *testing.T) {
	t.Parallel()
	long := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n%s", strings.Repeat("x", 20_000))
	const (
		empty   = "HTTP/1.1 204 No Content\r\n\r\n"
		chunked = "HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
		last    = "HTTP/1.1 503 Busy\r\nConnection: close\r\ncontent-length:1\r\n\r\n!"
	)
	c := dialed(t, at(t, answering(t, good, long, empty, chunked, last)), 10*time.Second)
	for _, want := range []struct {
		status int
		body   string
		last   bool
	}{{202, `{""}`, false}, {200, strings.Repeat("x", 20_000), false}, {204, "", false}, {401, "{}", false}, {503, "!", true}} {
		if err := c.exchange(request); err != nil || c.answer.StatusCode() != want.status || string(c.answer.Body()) != want.body || c.answer.ConnectionClose() != want.last {
			t.Fatalf("%v, %d %.40s; want %d %.40s", err, c.answer.StatusCode(), c.answer.Body(), want.status, want.body)
		}
	}
	if err := c.exchange(request); !errors.Is(reasonOf(err), errLost) {
		t.Errorf("on a closed connection: %v", err)
	}
}

func TestClientRefusesMoreThanAnAnswer(t *testing.T) {
	t.Parallel()
	c := dialed(t, at(t, answering(t, good+good)), 10*time.Second)
	if err := c.exchange(request); !errors.Is(reasonOf(err), errNoHTTP) {
		t.Errorf("two answers to one request: %v", err)
	}
}

func TestClientSendsALargeRequest(t *testing.T) {
	t.Parallel()
	const size = 16 << 20 // more than the system takes at once
	large := fmt.Appendf(nil, "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s", size, strings.Repeat("x", size))
	c := dialed(t, at(t, answering(t, good, good)), 30*time.Second)
	for range 2 {
		if err := c.exchange(large); err != nil || c.answer.StatusCode() != 202 {
			t.Fatalf("%d, %v", c.answer.StatusCode(), err)
		}
	}
}

func TestClientAllocatesNothing(t *testing.T) {
	c := dialed(t, at(t, serving(t, func(conn *net.TCPConn, in *bufio.Reader) { // a server that allocates nothing either
		buf, out := make([]byte, len(request)), []byte(good)
		for {
			if _, err := io.ReadFull(in, buf); err != nil {
				return
			}
			if _, err := conn.Write(out); err != nil {
				return
			}
		}
	})), time.Minute)
	if n := testing.AllocsPerRun(200, func() {
		if err := c.exchange(request); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestClientByTLS(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "secret") }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // a refused handshake is meant to be
	server.StartTLS()
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	trusted, err := newEndpoint(t.Context(), server.URL, false, ca)
	if err != nil {
		t.Fatal(err)
	}
	c := dialed(t, trusted, 10*time.Second)
	for range 2 {
		if err := c.exchange(request); err != nil || string(c.answer.Body()) != "secret" {
			t.Errorf("%s, %v", c.answer.Body(), err)
		}
	}
	if _, err := dial(t.Context(), at(t, server.URL), 10*time.Second); err == nil {
		t.Error("a certificate of an unknown authority is trusted")
	}
	for name, content := range map[string]string{"none": "", "malformed": "no certificate"} {
		file := filepath.Join(t.TempDir(), name)
		if content != "" {
			os.WriteFile(file, []byte(content), 0o600)
		}
		if _, err := newEndpoint(t.Context(), server.URL, false, file); err == nil {
			t.Errorf("%s is a file of authorities", name)
		}
	}
}

// What a server may do to its clients, and the reasons by which that is counted.
var misbehaviour = map[string]struct {
	do     func(conn *net.TCPConn, in *bufio.Reader)
	reason error
	vegeta error // by vegeta's client where that differs: it reads on, or stops earlier
}{
	"closes at once":                 {do: func(*net.TCPConn, *bufio.Reader) {}, reason: errLost},
	"resets within the request":      {do: func(conn *net.TCPConn, in *bufio.Reader) { in.ReadByte(); conn.SetLinger(0) }, reason: errLost},
	"closes after the request":       {do: func(_ *net.TCPConn, in *bufio.Reader) { take(in) }, reason: errLost},
	"resets after the request":       {do: func(conn *net.TCPConn, in *bufio.Reader) { take(in); conn.SetLinger(0) }, reason: errLost},
	"resets within the headers":      {do: broken("HTTP/1.1 202 Accepted\r\nContent-Le"), reason: errLost},
	"resets within the body":         {do: broken(good[:len(good)-2]), reason: errLost},
	"hangs":                          {do: hanging(""), reason: errTimeout},
	"hangs within the headers":       {do: hanging("HTTP/1.1 202 Accepted\r\nContent-Le"), reason: errTimeout},
	"hangs within the body":          {do: hanging(good[:len(good)-2]), reason: errTimeout},
	"answers no HTTP":                {do: hanging("\x00\xff\x17 hello\r\n\r\n"), reason: errNoHTTP},
	"answers a malformed length":     {do: hanging("HTTP/1.1 202 Accepted\r\nContent-Length: x\r\n\r\n{}"), reason: errNoHTTP},
	"answers a malformed status":     {do: hanging("HTTP/1.1 2x2 Accepted\r\nContent-Length: 2\r\n\r\n{}"), reason: errNoHTTP},
	"answers TLS":                    {do: hanging("\x15\x03\x01\x00\x02\x02\x46\r\n\r\n"), reason: errNoHTTP},
	"answers endless headers":        {do: hanging("HTTP/1.1 202 Accepted\r\nX: " + strings.Repeat("x", 2<<20)), reason: errTooLarge, vegeta: errTimeout},
	"answers an endless body":        {do: hanging("HTTP/1.1 202 Accepted\r\nConnection: close\r\n\r\n" + strings.Repeat("x", 1<<20)), reason: errTooLarge, vegeta: errTimeout},
	"answers with a gigantic length": {do: hanging("HTTP/1.1 202 Accepted\r\nContent-Length: 99999999999\r\n\r\n"), reason: errTooLarge, vegeta: errTimeout},
}

// broken answers a part and resets the connection, which may discard that part.
func broken(part string) func(*net.TCPConn, *bufio.Reader) {
	return func(conn *net.TCPConn, in *bufio.Reader) {
		if take(in) {
			io.WriteString(conn, part)
		}
		conn.SetLinger(0)
	}
}

// hanging answers and then waits until the client closes.
func hanging(answer string) func(*net.TCPConn, *bufio.Reader) {
	return func(conn *net.TCPConn, in *bufio.Reader) {
		if take(in) {
			io.WriteString(conn, answer)
			io.Copy(io.Discard, in)
		}
	}
}

// TestLoadSurvivesMisbehaviour: every request is counted, by the reason why it has no
// answer, and the load goes on to its end.
func TestLoadSurvivesMisbehaviour(t *testing.T) {
	t.Parallel()
	for name, c := range misbehaviour {
		for client, send := range clients {
			t.Run(name+", "+client, func(t *testing.T) {
				t.Parallel()
				const requests = 12
				want, timeout := c.reason, 30*time.Second
				if client == clientVegeta && c.vegeta != nil {
					want = c.vegeta
				}
				if errors.Is(want, errTimeout) {
					timeout = 300 * time.Millisecond
				}
				l := newTestLoad(t, serving(t, c.do), loadConfig{connections: 3, requests: requests, timeout: timeout}, Mix{})
				if err := send(l, t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := l.rec.answers[answerKey{err: want.Error()}]; got != requests {
					t.Errorf("%d of %d are counted as %q: %v", got, requests, want, l.rec.table())
				}
				if got := l.rec.unsure.Len(); got != requests && !errors.Is(want, errTimeout) { // a connection may take too long as well
					t.Errorf("%d of %d events may have been taken", got, requests)
				}
			})
		}
	}
}

// TestLoadSurvivesAKilledServer puts a process under load that is killed meanwhile.
func TestLoadSurvivesAKilledServer(t *testing.T) {
	for client, send := range clients {
		server := exec.CommandContext(t.Context(), os.Args[0])
		server.Env = append(os.Environ(), asChild+"=answers")
		out, err := server.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		url, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		l := newTestLoad(t, strings.TrimSpace(url), loadConfig{connections: 8, duration: time.Hour, timeout: 5 * time.Second}, Mix{})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- send(l, ctx) }()
		wait := func(what string, done func(reasons map[string]uint64) bool) {
			for deadline := time.Now().Add(20 * time.Second); ; rest(ctx, time.Millisecond) {
				l.rec.mu.Lock()
				reasons := map[string]uint64{}
				for key, n := range l.rec.answers {
					reasons[key.err] += n
				}
				l.rec.mu.Unlock()
				if done(reasons) {
					return
				}
				if time.Now().After(deadline) {
					t.Fatalf("%s: waited for %s: %v", client, what, reasons)
				}
			}
		}
		wait("answers", func(reasons map[string]uint64) bool { return reasons[""] > 100 })
		if err := server.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		server.Wait()
		wait("lost and refused connections", func(reasons map[string]uint64) bool {
			return reasons[errLost.Error()] > 0 && reasons[errRefused.Error()] > 100
		})
		stop()
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", client, err)
		}
		for _, row := range l.rec.table() {
			if known := []string{"", errLost.Error(), errRefused.Error()}; !slices.Contains(known, row.Error) {
				t.Errorf("%s: %+v", client, row)
			}
		}
	}
}

// FuzzAnswer has a server answer anything: the client takes it or says in which of its
// few ways it is none.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{good, "", "\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx"} {
		f.Add([]byte(seed))
	}
	reasons := []error{errLost, errNoHTTP, errTooLarge, errTimeout}
	f.Fuzz(func(t *testing.T, text []byte) {
		c := dialed(t, at(t, answering(t, string(text))), 2*time.Second)
		if err := c.exchange(request); err != nil && !slices.Contains(reasons, reasonOf(err)) {
			t.Fatalf("%q: %v", text, err)
		}
	})
}

// BenchmarkExchange is the client with the loopback and net/http's server.
func BenchmarkExchange(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusAccepted)
	}))
	b.Cleanup(server.Close)
	c := dialed(b, at(b, server.URL), 10*time.Second)
	b.ReportAllocs()
	for b.Loop() {
		if err := c.exchange(request); err != nil {
			b.Fatal(err)
		}
	}
}
