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
	"strings"
	"time"

	"github.com/fincart/courier-gateway/ingest/event/ingestion"
)

// maxCaptureBytes bounds a captured request.
const maxCaptureBytes = 64 << 20

// readCapture reads a captured request in one of three forms: as it went over the
// wire (a request line, headers, an empty line, the body; lines may end in LF
// alone), the JSON of `rejections show --json`, or the JSON of a request alone.
// When is the time at which it came, zero when the form does not say.
func readCapture(in io.Reader) (r *ingestion.Request, when time.Time, err error) {
	text, err := io.ReadAll(io.LimitReader(in, maxCaptureBytes+1))
	switch {
	case err != nil:
		return nil, when, fmt.Errorf("read the captured request: %w", err)
	case len(text) > maxCaptureBytes:
		return nil, when, fmt.Errorf("the captured request has more than %d bytes", maxCaptureBytes)
	case bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")):
		return captureOfJSON(text)
	default:
		r, err = captureOfWire(text)
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

// captureOfWire reads a request as HTTP/1.1 has it. The body is all that follows
// the headers, up to the content-length when there is one, or the chunks in it.
func captureOfWire(text []byte) (*ingestion.Request, error) {
	lines := bufio.NewReader(bytes.NewReader(text))
	first, err := textproto.NewReader(lines).ReadLine()
	if err != nil {
		return nil, errors.New("the captured request is empty")
	}
	method, rest, _ := strings.Cut(first, " ")
	target, version, ok := strings.Cut(rest, " ")
	if !ok || !strings.HasPrefix(version, "HTTP/") || !strings.HasPrefix(target, "/") {
		return nil, fmt.Errorf("the captured request starts with %q, not with a line such as POST /v1/events/courier/acme HTTP/1.1", clip(first))
	}
	r := &ingestion.Request{Method: method, Headers: []ingestion.Header{}}
	r.Path, r.Query, _ = strings.Cut(target, "?")
	if err := readHeaders(lines, r); err != nil {
		return nil, err
	}
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
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return fmt.Errorf("%q in the captured request is no header; an empty line has to stand before the body", clip(line))
		}
		r.Headers = append(r.Headers, ingestion.Header{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)})
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
