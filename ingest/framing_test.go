package ingest

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// inChunks turns a raw request into one whose body comes in chunks of so many bytes.
func inChunks(raw string, size int, extension, trailers string) string {
	head, body, _ := strings.Cut(raw, "\r\n\r\n")
	var b strings.Builder
	for line := range strings.SplitSeq(head, "\r\n") {
		if !strings.HasPrefix(line, "Content-Length") {
			b.WriteString(line + "\r\n")
		}
	}
	b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
	for len(body) > 0 {
		n := min(size, len(body))
		fmt.Fprintf(&b, "%x%s\r\n%s\r\n", n, extension, body[:n])
		body = body[n:]
	}
	return b.String() + "0" + extension + "\r\n" + trailers + "\r\n"
}

// TestRefusedFraming sends over raw sockets what two programs may read in two ways: each
// is refused at once, with the reason, whether it comes in one piece or byte by byte,
// first on its connection or behind a good request.
func TestRefusedFraming(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	good := f.raw(f.plain, "/v1/events/courier/plain", goodBody)
	with := func(header string) string { return strings.Replace(good, "\r\n\r\n", "\r\n"+header+"\r\n\r\n", 1) }
	length := fmt.Sprintf("Content-Length: %d", len(goodBody))
	replaced := func(was, is string) string { return strings.Replace(good, was, is, 1) }
	for name, tc := range map[string]struct{ raw, detail string }{
		"a length beside chunks":          {with("Transfer-Encoding: chunked"), "both content-length and transfer-encoding"},
		"chunks beside a length":          {replaced(length, "Transfer-Encoding: chunked\r\n"+length), "both content-length and transfer-encoding"},
		"identity beside a length":        {with("Transfer-Encoding: identity"), "both content-length and transfer-encoding"},
		"two lengths":                     {with("Content-Length: 1"), "more than one content-length"},
		"the same length twice":           {with(length), "more than one content-length"},
		"a list of lengths":               {replaced(length, "Content-Length: 5, 5"), "no number of bytes"},
		"a signed length":                 {replaced(length, "Content-Length: +5"), "no number of bytes"},
		"an endless length":               {replaced(length, "Content-Length: "+strings.Repeat("9", 19)), "no number of bytes"},
		"a padded length":                 {replaced(length, "Content-Length: "+strings.Repeat(" ", 100)+"5"), "no number of bytes"},
		"no length":                       {replaced(length, "Content-Length:"), "no number of bytes"},
		"a negative length":               {replaced(length, "Content-Length: -1"), "no number of bytes"},
		"gzip and chunks":                 {replaced(length, "Transfer-Encoding: gzip, chunked"), "must be chunked"},
		"chunks twice":                    {replaced(length, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), "must be chunked"},
		"identity":                        {replaced(length, "Transfer-Encoding: identity"), "must be chunked"},
		"chunks behind a tab":             {replaced(length, "Transfer-Encoding: \vchunked"), "must be chunked"},
		"chunks in HTTP/1.0":              {strings.Replace(inChunks(good, 100, "", ""), "HTTP/1.1", "HTTP/1.0", 1), "HTTP/1.0"},
		"a folded header":                 {with("X-Folded: a\r\n b"), "second line"},
		"a header folded by a tab":        {with("X-Folded: a\r\n\tb"), "second line"},
		"a fold in front of all":          {replaced("\r\nHost", "\r\n Host"), "second line"},
		"line feeds alone":                {strings.ReplaceAll(good, "\r\n", "\n"), "carriage return"},
		"a line feed behind the request":  {replaced("HTTP/1.1\r\n", "HTTP/1.1\n"), "carriage return"},
		"a line feed behind a header":     {replaced("Host: x\r\n", "Host: x\n"), "carriage return"},
		"a line feed that ends the head":  {replaced("\r\n\r\n", "\r\n\n"), "carriage return"},
		"a line feed in front":            {"\n" + good, "carriage return"},
		"a carriage return in front":      {"\r" + good, "carriage return"},
		"a carriage return ends the head": {replaced("\r\n\r\n", "\r\n\rx"), "carriage return"},
		"a carriage return in a header":   {with("X-A: b\rX-Signature: c"), "HTTP"},
		"a zero byte in a header":         {with("X-A: b\x00"), "HTTP"},
		"a space before the colon":        {with("X-Y : z"), "before the colon"},
		"a tab before the colon":          {with("X-Y\t: z"), "before the colon"},
		"a space in a name":               {with("X Y: z"), "before the colon"},
		"a header without a name":         {with(": z"), "before the colon"},
		"a header without a colon":        {with("nonsense"), "no colon"},
		"HTTP/0.9":                        {"GET /health\r\n\r\n", "HTTP/1.1 or HTTP/1.0"},
		"HTTP/1.2":                        {replaced("HTTP/1.1", "HTTP/1.2"), "HTTP/1.1 or HTTP/1.0"},
		"HTTP/2.0":                        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 or HTTP/1.0"},
		"HTTP/3.7":                        {replaced("HTTP/1.1", "HTTP/3.7"), "HTTP/1.1 or HTTP/1.0"},
		"http in small letters":           {replaced("HTTP/1.1", "http/1.1"), "HTTP/1.1 or HTTP/1.0"},
		"a space behind the version":      {replaced("HTTP/1.1", "HTTP/1.1 "), "HTTP/1.1 or HTTP/1.0"},
		"TLS":                             {"\x16\x03\x01\x02\x00\x01\x00", "HTTP"},
		"no chunk size":                   {strings.Replace(inChunks(good, 100, "", ""), "\r\n\r\n64\r\n", "\r\n\r\n\r\n", 1), "chunk"},
		"a chunk size with a sign":        {strings.Replace(inChunks(good, 100, "", ""), "\r\n64\r\n", "\r\n+64\r\n", 1), "chunk"},
		"a chunk size like C":             {strings.Replace(inChunks(good, 100, "", ""), "\r\n64\r\n", "\r\n0x64\r\n", 1), "chunk"},
		"an endless chunk size":           {strings.Replace(inChunks(good, 100, "", ""), "\r\n64\r\n", "\r\n000000064\r\n", 1), "chunk"},
		"a chunk size and a line feed":    {strings.Replace(inChunks(good, 100, "", ""), "\r\n64\r\n", "\r\n64\n", 1), "chunk"},
		"a chunk that is longer":          {strings.Replace(inChunks(good, 100, "", ""), "\r\n64\r\n", "\r\n63\r\n", 1), "chunk"},
		"a line feed in an extension":     {inChunks(good, 100, ";a\nb", ""), "chunk"},
		"an endless extension":            {inChunks(good, len(goodBody), ";a="+strings.Repeat("x", 4096), ""), "4096 bytes"},
		"many extensions":                 {inChunks(good, 10, ";a="+strings.Repeat("x", 4096/len(goodBody)*10), ""), "4096 bytes"},
		"an endless trailer":              {inChunks(good, 100, "", "X-T: "+strings.Repeat("x", 4096)+"\r\n"), "4096 bytes"},
		"many trailers":                   {inChunks(good, 100, "", strings.Repeat("X-T: x\r\n", 4096/8+1)), "4096 bytes"},
		"a folded trailer":                {inChunks(good, 100, "", "X-T: a\r\n b\r\n"), "second line"},
		"a trailer and a line feed":       {inChunks(good, 100, "", "X-T: a\n"), "carriage return"},
		"a trailer without a colon":       {inChunks(good, 100, "", "nonsense\r\n"), "no colon"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, bytewise := range []bool{false, true} {
				for _, behind := range []bool{false, true} {
					c := f.dial(t)
					if behind {
						c.send(t, good)
						if a := c.answer(t); a.StatusCode != 200 {
							t.Fatalf("a good request is answered %d %s", a.StatusCode, a.body)
						}
					}
					begun := time.Now()
					if bytewise && len(tc.raw) < 4096 {
						for i := range len(tc.raw) {
							if _, err := io.WriteString(c, tc.raw[i:i+1]); err != nil {
								break // it is refused already
							}
						}
					} else {
						c.send(t, tc.raw)
					}
					a := c.answer(t)
					expectProblem(t, a, 400, event.BadRequest, tc.detail)
					if !a.Close {
						t.Error("the answer does not announce the end of the connection")
					}
					c.expectClosed(t)
					if took := time.Since(begun); took > 3*time.Second {
						t.Errorf("it is answered after %v", took)
					}
				}
			}
		})
	}
}

// TestPipelinedFaultsAreAnswered: what comes in one piece with a good request in front
// of it is refused as if it came alone.
func TestPipelinedFaultsAreAnswered(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	good := f.raw(f.plain, "/v1/events/courier/plain", goodBody)
	for _, bad := range []string{"\n" + good, " " + good, strings.ReplaceAll(good, "\r\n", "\n"), strings.Replace(good, "1.1", "1.9", 1)} {
		c := f.dial(t)
		c.send(t, good, good, bad)
		for range 2 {
			if a := c.answer(t); a.StatusCode != 200 {
				t.Errorf("a good request is answered %d %s", a.StatusCode, a.body)
			}
		}
		expectProblem(t, c.answer(t), 400, event.BadRequest, "HTTP")
		c.expectClosed(t)
	}
}

// TestOddFraming sends what is unusual, but right.
func TestOddFraming(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	good := f.raw(f.plain, "/v1/events/courier/plain", goodBody)
	for name, raw := range map[string]string{
		"HTTP/1.0":                       strings.Replace(good, "HTTP/1.1", "HTTP/1.0", 1),
		"the absolute form":              strings.Replace(good, "POST /", "POST http://hooks.example/", 1),
		"an empty line in front":         "\r\n" + good,
		"spaces around a length":         strings.Replace(good, "Content-Length: ", "CONTENT-LENGTH:\t ", 1),
		"zeros before a length":          strings.Replace(good, "Content-Length: ", "Content-Length: 000", 1),
		"chunks":                         inChunks(good, 7, "", ""),
		"chunks with extensions":         inChunks(good, 100, ";q=1", ""),
		"chunks with spaced extensions":  inChunks(good, 100, " ;q=\"1\"", ""),
		"chunks with trailers":           inChunks(good, 100, ";q", "X-T: 1\r\nX-U: 2\r\n"),
		"chunks by another name":         strings.Replace(inChunks(good, 100, "", ""), "Transfer-Encoding: chunked", "TRANSFER-ENCODING:\t Chunked ", 1),
		"a header without a value":       strings.Replace(good, "Host: x", "Host: x\r\nX-Empty:", 1),
		"a header of a name that is odd": strings.Replace(good, "Host: x", "Host: x\r\n!#$%&'*+-.^_`|~09: x", 1),
	} {
		for _, bytewise := range []bool{false, true} {
			c := f.dial(t)
			for range 2 {
				if bytewise {
					for i := range len(raw) {
						c.send(t, raw[i:i+1])
					}
				} else {
					c.send(t, raw)
				}
				if a := c.answer(t); a.StatusCode != 200 {
					t.Fatalf("%s is answered %d %s", name, a.StatusCode, a.body)
				}
				if strings.HasPrefix(name, "HTTP/1.0") {
					break
				}
			}
		}
	}
	for _, e := range f.publisher.all() {
		if string(e.Body) != goodBody {
			t.Errorf("the body became %q", e.Body)
		}
	}
}

// TestTrailersAreNoHeaders: neither a signature nor anything else is taken from what
// is behind the body.
func TestTrailersAreNoHeaders(t *testing.T) {
	t.Parallel()
	f := start(t, quiet)
	good := f.raw(f.plain, "/v1/events/courier/plain", goodBody)
	var signature string
	unsigned := good
	for _, h := range f.plain.Sign([]byte(goodBody), f.clock.Now()) {
		line := h.Name + ": " + h.Value + "\r\n"
		signature += line
		unsigned = strings.Replace(unsigned, line, "", 1)
	}
	for _, announced := range []string{"", "Trailer: X-Signature\r\n"} {
		c := f.dial(t)
		c.send(t, strings.Replace(inChunks(unsigned, 50, "", signature+"X-Trace: x\r\n"), "Host: x\r\n", "Host: x\r\n"+announced, 1))
		expectProblem(t, c.answer(t), 401, event.InvalidSignature, "")
	}
	for _, r := range f.caught.all() {
		for _, h := range r.Request.Headers {
			if strings.EqualFold(h.Name, "x-trace") || strings.EqualFold(h.Name, "x-signature") {
				t.Errorf("recorded is the trailer %s", h.Name)
			}
		}
	}
}

// TestFramingOverTLS: what comes by TLS passes through a framing, too.
func TestFramingOverTLS(t *testing.T) {
	t.Parallel()
	f, _, _ := startTLS(t, nil)
	secure, err := tls.Dial("tcp", f.addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer secure.Close()
	if err := secure.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	c := &wireConn{Conn: secure, in: bufio.NewReader(secure)}
	good := f.raw(f.plain, "/v1/events/courier/plain", goodBody)
	c.send(t, inChunks(good, 50, ";x", "X-T: 1\r\n"))
	if a := c.answer(t); a.StatusCode != 200 {
		t.Errorf("a good request is answered %d %s", a.StatusCode, a.body)
	}
	c.send(t, strings.ReplaceAll(good, "\r\n", "\n"))
	expectProblem(t, c.answer(t), 400, event.BadRequest, "carriage return")
	c.expectClosed(t)
}
