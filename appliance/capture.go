package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http/httputil"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/fincart/courier-gateway/ingest/event/ingestion"
)

// maxCaptureBytes bounds a captured request.
const maxCaptureBytes = 64 << 20

// readCapture reads a captured request in one of three forms: as it went over the
// wire (see [captureOfWire]), the JSON of `rejections show --json`, or the JSON of a
// request alone. A byte order mark and empty lines in front, as editors and exports leave
// them, don't count. When is the time at which it came, zero when the form does not say.
func readCapture(in io.Reader) (r *ingestion.Request, when time.Time, err error) {
	text, err := io.ReadAll(io.LimitReader(in, maxCaptureBytes+1))
	if err != nil {
		return nil, when, fmt.Errorf("read the captured request: %w", err)
	}
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return nil, when, errors.New("the captured request is in UTF-16, so its bytes are no longer those that were signed: save it as UTF-8, or as the raw bytes")
	}
	content := bytes.TrimLeft(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), "\r\n")
	switch {
	case len(text) > maxCaptureBytes:
		return nil, when, fmt.Errorf("the captured request has more than %d bytes", maxCaptureBytes)
	case bytes.HasPrefix(bytes.TrimSpace(content), []byte("{")):
		return captureOfJSON(content)
	default:
		r, err = captureOfWire(content)
		return r, when, err
	}
}

func captureOfJSON(text []byte) (*ingestion.Request, time.Time, error) {
	var record ingestion.Record
	if err := json.Unmarshal(text, &record); err == nil && record.Request != nil {
		return record.Request, record.At, nil
	}
	var r ingestion.Request
	if err := json.Unmarshal(text, &r); err != nil || r.Method == "" {
		return nil, time.Time{}, errors.New("the file is JSON, but neither that of `rejections show --json` nor a request with method, path, headers and body")
	}
	r.BodyBytes = max(r.BodyBytes, len(r.Body))
	return &r, time.Time{}, nil
}

// captureOfWire reads a request as HTTP/1.1 has it: a request line, whose target may be the
// whole address, headers, an empty line, the body; lines may end in LF alone. In place of the
// request line it may have the pseudo-headers of HTTP/2 and 3 (RFC 9113, section 8.3.1), as
// browsers and proxies export them. The body is all that follows the headers, up to the
// content-length when there is one, or the chunks in it.
func captureOfWire(text []byte) (*ingestion.Request, error) {
	if len(text) == 0 {
		return nil, errors.New("the captured request is empty")
	}
	r := &ingestion.Request{Headers: []ingestion.Header{}}
	lines := bufio.NewReader(bytes.NewReader(text))
	target := ""
	if text[0] != ':' {
		first, _ := textproto.NewReader(lines).ReadLine()
		var ok bool
		if r.Method, target, ok = requestLine(first); !ok {
			return nil, fmt.Errorf("the captured request starts with %q, not with a line such as POST /v1/events/courier/acme HTTP/1.1", clip(first))
		}
	}
	if err := readHeaders(lines, r); err != nil {
		return nil, err
	}
	if text[0] == ':' {
		r.Method, target = pseudo(r, ":method"), pseudo(r, ":path")
		pseudo(r, ":scheme")
		pseudo(r, ":authority")
		if r.Method == "" || !strings.HasPrefix(target, "/") {
			return nil, errors.New("the captured request has no :method, or no :path that starts with a slash")
		}
	}
	r.Path, r.Query, _ = strings.Cut(target, "?")
	body, err := io.ReadAll(lines)
	for _, h := range r.Headers {
		if strings.EqualFold(h.Name, "transfer-encoding") && strings.EqualFold(h.Value, "chunked") {
			body = joined(body)
		}
	}
	r.Body = body
	r.BodyBytes = len(body)
	for _, h := range r.Headers {
		var n int
		if _, scan := fmt.Sscan(h.Value, &n); strings.EqualFold(h.Name, "content-length") && scan == nil && n >= 0 {
			r.BodyBytes, r.Body = n, body[:min(n, len(body))]
		}
	}
	return r, err
}

// requestLine reads the first line of a request, which tools write without a version too. Of
// a whole address the target is what follows the host.
func requestLine(line string) (method, target string, ok bool) {
	words := strings.Fields(line)
	if len(words) == 2 {
		words = append(words, "HTTP/1.1")
	}
	if len(words) != 3 || !strings.HasPrefix(words[2], "HTTP/") || strings.Trim(words[0], "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return "", "", false
	}
	method, target = words[0], words[1]
	if scheme, rest, whole := strings.Cut(target, "://"); whole && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https")) {
		target = rest[min(len(rest), strings.IndexAny(rest+"/", "/?")):]
		if !strings.HasPrefix(target, "/") {
			target = "/" + target
		}
	}
	return method, target, strings.HasPrefix(target, "/")
}

// pseudo takes a pseudo-header out of the headers and returns its value.
func pseudo(r *ingestion.Request, name string) (value string) {
	r.Headers = slices.DeleteFunc(r.Headers, func(h ingestion.Header) bool {
		if h.Name == name {
			value = h.Value
		}
		return h.Name == name
	})
	return value
}

// joined returns the text in chunks; a body that is in none, because what captured it
// has joined them already, as it is.
func joined(body []byte) []byte {
	text, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(body)))
	if err != nil {
		return body
	}
	return text
}

// readHeaders reads headers up to the empty line behind them, or the end.
func readHeaders(lines *bufio.Reader, r *ingestion.Request) error {
	for {
		line, end := lines.ReadString('\n') // which is an error at the end only
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			return nil
		}
		colon := strings.IndexByte(line[1:], ':') + 1 // behind the first character, which pseudo-headers begin with
		if colon == 0 {
			return fmt.Errorf("%q in the captured request is no header; an empty line has to stand before the body", clip(line))
		}
		r.Headers = append(r.Headers, ingestion.Header{Name: strings.TrimSpace(line[:colon]), Value: strings.TrimSpace(line[colon+1:])})
		if end != nil {
			return nil //nolint:nilerr // a request without a body
		}
	}
}

// clip shortens a text of a stranger for an error.
func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}
