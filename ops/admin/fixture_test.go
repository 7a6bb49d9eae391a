package admin_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ops"
)

// request is one request to an admin listener.
type request struct {
	method, path, body string
	header             map[string]string
	host               string
}

// reply is an answer without its body.
type reply struct {
	status int
	header http.Header
}

func (q request) send(t *testing.T, address string) (reply, string) {
	t.Helper()
	if q.method == "" {
		q.method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(t.Context(), q.method, "http://"+address+q.path, strings.NewReader(q.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = q.host
	for name, value := range q.header {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{status: resp.StatusCode, header: resp.Header}, string(body)
}

// refused sends q and checks that the answer is a whole problem document of this
// status and code, which it returns.
func (q request) refused(t *testing.T, address string, status int, code event.Code) ops.Problem {
	t.Helper()
	resp, body := q.send(t, address)
	var p ops.Problem
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatalf("%s %s: %v: %s", q.method, q.path, err, body)
	}
	if resp.status != status || p.Status != status || p.Code != code {
		t.Errorf("%s %s: %d %s, want %d %s: %s", q.method, q.path, resp.status, p.Code, status, code, body)
	}
	if got := resp.header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("%s %s: Content-Type %q", q.method, q.path, got)
	}
	if want := "urn:courier-gateway:problem:" + strings.ReplaceAll(strings.ToLower(string(code)), "_", "-"); p.Type != want {
		t.Errorf("%s %s: type %q, want %q", q.method, q.path, p.Type, want)
	}
	if p.Title == "" || p.Detail == "" || p.Message == "" || p.TraceID == "" {
		t.Errorf("%s %s: a member is missing: %s", q.method, q.path, body)
	}
	return p
}

// canceled returns a context that has ended.
func canceled(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// hangingEvents answers when it is given up.
type hangingEvents struct{}

func (hangingEvents) RecordsByKey(ctx context.Context, _ string) ([]event.Record, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
