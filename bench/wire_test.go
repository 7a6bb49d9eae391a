package bench

import (
	"bufio"
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const good = "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 4\r\nX-Request-Id: a\r\n\r\n{\"\"}"

func TestParseReply(t *testing.T) {
	t.Parallel()
	for i := range len(good) {
		if r, complete, bad := parseReply([]byte(good[:i])); complete || bad != nil {
			t.Fatalf("after %d bytes: %+v, %v, %v", i, r, complete, bad)
		}
	}
	r, complete, bad := parseReply([]byte(good))
	if !complete || bad != nil || r.status != 202 || string(r.body) != `{""}` || r.last || r.size != len(good) {
		t.Errorf("%+v, %v, %v", r, complete, bad)
	}
	for _, c := range []struct {
		text   string
		status int // 0 for an answer that must be refused
	}{
		{"HTTP/1.1 204 No Content\r\n\r\n", 204},
		{"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", 204},
		{"HTTP/1.1 200\r\ncontent-length:0\r\nCONNECTION: Close\r\n\r\n", 200},
		{"HTTP/1.1 200 OK\r\nContent-Length: \t1 \r\n\r\nx", 200},
		{"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", 0},
		{"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", 0},
		{"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", 0},
		{"HTTP/1.1 999 OK\r\nContent-Length: 0\r\n\r\n", 0},
		{"HTTP/1.1 100 Continue\r\n\r\n", 0},
		{"HTTP/1.1 200 OK\r\n\r\n", 0},
		{"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 0},
		{"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", 0},
		{"HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\nx", 0},
		{"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", 0},
		{"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", 0},
		{"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", 0},
		{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nmore", 0},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0},
		{"HTTP/1.1 200 OK\r\nno header\r\nContent-Length: 0\r\n\r\n", 0},
		{"hello\r\n\r\n", 0},
	} {
		r, complete, bad := parseReply([]byte(c.text))
		if c.status == 0 && (complete || bad == nil) || c.status > 0 && (!complete || bad != nil || r.status != c.status) {
			t.Errorf("%q: %+v, %v, %v", c.text, r, complete, bad)
		}
		if r.last != strings.Contains(c.text, "Close") {
			t.Errorf("%q: last is %v", c.text, r.last)
		}
	}
}

// FuzzParseReply holds every answer that is taken against net/http.
func FuzzParseReply(f *testing.F) {
	for _, seed := range []string{
		good, "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\nx",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, complete, bad := parseReply(b)
		if !complete {
			return
		}
		if bad != nil || r.status < 200 || r.size != len(b) || !bytes.HasSuffix(b, r.body) {
			t.Fatalf("%q: %+v, %v", b, r, bad)
		}
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
		if err != nil {
			return // stricter than this one about what does not matter here
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != r.status || !bytes.Equal(body, r.body) {
			t.Fatalf("%q: status %d and body %q, net/http reads %d and %q, %v", b, r.status, r.body, resp.StatusCode, body, err)
		}
	})
}

// answering returns the address of a server that answers each request on each
// connection with the next of these texts, and closes when there is none.
func answering(t *testing.T, texts ...string) string {
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
				in := bufio.NewReader(conn)
				for _, text := range texts {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					io.Copy(io.Discard, r.Body)
					io.WriteString(conn, text)
				}
			}()
		}
	}()
	return ln.Addr().String()
}

func dialed(t *testing.T, d *dialer) *wire {
	t.Helper()
	w, err := d.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.conn.Close() })
	return w
}

var request = []byte("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")

func TestExchange(t *testing.T) {
	t.Parallel()
	long := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n%s", strings.Repeat("x", 20_000))
	w := dialed(t, &dialer{address: answering(t, good, long, good), timeout: 10 * time.Second})
	for _, want := range []string{`{""}`, strings.Repeat("x", 20_000), `{""}`} {
		if r, err := w.exchange(request); err != nil || string(r.body) != want {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	if _, err := w.exchange(request); !errors.Is(err, errLost) {
		t.Errorf("on a closed connection: %v", err)
	}
}

func TestExchangeOfALargeRequest(t *testing.T) {
	t.Parallel()
	const size = 16 << 20 // more than the system takes at once
	large := fmt.Appendf(nil, "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s", size, strings.Repeat("x", size))
	w := dialed(t, &dialer{address: answering(t, good, good), timeout: 30 * time.Second})
	for range 2 {
		if r, err := w.exchange(large); err != nil || r.status != 202 {
			t.Fatalf("%+v, %v", r, err)
		}
	}
}

func TestExchangeAllocatesNothing(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() { // a server that allocates nothing either
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		in, out := make([]byte, len(request)), []byte(good)
		for err == nil {
			if _, err = io.ReadFull(conn, in); err == nil {
				_, err = conn.Write(out)
			}
		}
	}()
	w := dialed(t, &dialer{address: ln.Addr().String(), timeout: time.Minute})
	if n := testing.AllocsPerRun(200, func() {
		if _, err := w.exchange(request); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestExchangeFails(t *testing.T) {
	t.Parallel()
	w := dialed(t, &dialer{address: answering(t, "HTTP/1.1 200 OK\r\n"), timeout: 10 * time.Second})
	if _, err := w.exchange(request); !errors.Is(err, errLost) {
		t.Errorf("half an answer: %v", err)
	}
	w = dialed(t, &dialer{address: answering(t, strings.Repeat("x", maxReply+1)), timeout: 10 * time.Second})
	if _, err := w.exchange(request); !errors.Is(err, errTooLarge) {
		t.Errorf("an endless answer: %v", err)
	}
	w = dialed(t, &dialer{address: answering(t, "", good), timeout: 40 * time.Millisecond})
	if _, err := w.exchange(request); !errors.Is(err, errTimeout) {
		t.Errorf("no answer: %v", err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if _, err := (&dialer{address: ln.Addr().String(), timeout: time.Second}).dial(t.Context()); !errors.Is(err, errRefused) {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestExchangeByTLS(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "secret") }))
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := newSite(t.Context(), siteConfig{url: server.URL, caFile: ca})
	if err != nil {
		t.Fatal(err)
	}
	w := dialed(t, s.dialer(10*time.Second))
	for range 2 {
		if r, err := w.exchange(request); err != nil || string(r.body) != "secret" {
			t.Errorf("%+v, %v", r, err)
		}
	}
	untrusted, err := newSite(t.Context(), siteConfig{url: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := untrusted.dialer(10 * time.Second).dial(t.Context()); err == nil {
		t.Error("a certificate that nobody vouches for is trusted")
	}
	for name, content := range map[string]string{"none": "", "garbage": "no certificate"} {
		file := filepath.Join(t.TempDir(), name)
		if content != "" {
			os.WriteFile(file, []byte(content), 0o600)
		}
		if _, err := newSite(t.Context(), siteConfig{url: server.URL, caFile: file}); err == nil {
			t.Errorf("%s is a file of authorities", name)
		}
	}
}

func BenchmarkParseReply(b *testing.B) {
	raw := []byte(good)
	b.ReportAllocs()
	for b.Loop() {
		if _, complete, bad := parseReply(raw); !complete || bad != nil {
			b.Fatal(bad)
		}
	}
}

// BenchmarkExchange is the lean client with the loopback and net/http's server.
func BenchmarkExchange(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusAccepted)
	}))
	b.Cleanup(server.Close)
	w, err := (&dialer{address: server.Listener.Addr().String(), timeout: 10 * time.Second}).dial(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { w.conn.Close() })
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.exchange(request); err != nil {
			b.Fatal(err)
		}
	}
}
