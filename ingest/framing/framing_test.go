package framing

import (
	"bufio"
	"bytes"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// framed is what is passed on of bytes that come in pieces, with where each request ends
// in it, if they come byte by byte.
type framed struct {
	out   []byte
	ends  []int
	fault *Fault
}

// pieces passes bytes through a framing, of which the n-th piece has at most
// sizes[n%len(sizes)]+1 bytes.
func pieces(raw []byte, sizes []byte) (r framed) {
	var f framing
	for n := 0; len(raw) > 0 && f.fault == nil; n++ {
		size := 1
		if len(sizes) > 0 {
			size += int(sizes[n%len(sizes)])
		}
		piece := bytes.Clone(raw[:min(size, len(raw))])
		raw = raw[len(piece):]
		begun := f.begun
		r.out = append(r.out, piece[:f.pass(piece)]...)
		if begun && !f.begun {
			r.ends = append(r.ends, len(r.out))
		}
	}
	r.fault = f.fault
	return r
}

// FuzzFraming passes anything through a framing, in pieces of any sizes: it depends on
// nothing but the bytes, and what it passes on is read by fasthttp as the same requests.
func FuzzFraming(f *testing.F) {
	for _, raw := range []string{
		"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.0\r\n\r\n",
		"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;q=1\r\nabc\r\n0\r\nX-T: 1\r\n\r\nGET /b HTTP/1.1\r\nHost: y\r\n\r\n",
		"\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\nX-Folded: a\r\n b\r\n\r\n",
		"GET / HTTP/1.1\nHost: x\n\n",
		"POST / HTTP/1.1\r\nHost : x\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\ncontent-length: " + strings.Repeat(" ", 80) + "1\r\n\r\nx",
		"PUT / HTTP/1.1\r\nHost: x\r\ncontent-length: 0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
	} {
		f.Add([]byte(raw), []byte{0})
		f.Add([]byte(raw), []byte{3, 0, 17})
		f.Add([]byte(raw), []byte{255})
	}
	f.Fuzz(func(t *testing.T, raw, sizes []byte) {
		one, split := pieces(raw, nil), pieces(raw, sizes)
		if one.fault != split.fault {
			t.Fatalf("byte by byte it says %v, in pieces %v", one.fault, split.fault)
		}
		if one.fault == nil && !bytes.Equal(one.out, split.out) {
			t.Fatalf("byte by byte it passes on %q, in pieces %q", one.out, split.out)
		}
		if len(one.out) > len(raw)+1 {
			t.Fatalf("of %q it passes on %q", raw, one.out)
		}
		checkReading(t, one)
	})
}

// checkReading reads what a framing passed on, byte by byte, as the server does: each
// request ends where the framing says.
func checkReading(t *testing.T, r framed) {
	t.Helper()
	left := bytes.NewReader(r.out)
	in := bufio.NewReaderSize(left, len(r.out)+16)
	for i := 0; ; i++ {
		var q fasthttp.Request
		if q.Header.Read(in) != nil || q.ContinueReadBody(in, 1<<20, false) != nil {
			return // there is no more, or fasthttp is stricter
		}
		at := len(r.out) - left.Len() - in.Buffered()
		if i >= len(r.ends) || r.ends[i] != at {
			t.Fatalf("of %q request %d ends at %d for fasthttp, at %v for the framing", r.out, i, at, r.ends)
		}
		for name := range q.Header.Trailers() {
			t.Fatalf("a trailer %q is passed on of %q", name, r.out)
		}
	}
}

// BenchmarkFraming measures what a framing costs a usual request.
func BenchmarkFraming(b *testing.B) {
	raw := []byte("POST /v1/events/courier HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-Signature-Timestamp: 1772107201\r\n" +
		"X-Signature-Algorithm: hmac-sha256\r\nX-Signature: " + strings.Repeat("a", 64) + "\r\nContent-Length: 256\r\n\r\n" + strings.Repeat("x", 256))
	var way framing
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if way.pass(raw) != len(raw) {
			b.Fatal(way.fault)
		}
	}
}
