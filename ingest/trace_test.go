package ingest

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

func TestTraceID(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	own := regexp.MustCompile(`^req_[0-9a-f]{32}$`)
	for _, tc := range []struct {
		name, requestID, traceparent string
		want                         string // "" for one of our own
	}{
		{"none", "", "", ""},
		{"request id", `a"b\c~1`, "", `a"b\c~1`},
		{"request id wins", "abc", parent, "abc"},
		{"longest request id", strings.Repeat("x", 128), "", strings.Repeat("x", 128)},
		{"request id too long", strings.Repeat("x", 129), "", ""},
		{"request id with a space", "a b", "", ""},
		{"request id not ASCII", "ü", "", ""},
		{"traceparent", "", parent, "4bf92f3577b34da6a3ce929d0e0e4736"},
		{"traceparent of a later version", "", "01" + parent[2:] + "-more", "4bf92f3577b34da6a3ce929d0e0e4736"},
		{"traceparent too long", "", parent + "-more", ""},
		{"traceparent of no version", "", "ff" + parent[2:], ""},
		{"traceparent in upper case", "", strings.ToUpper(parent), ""},
		{"traceparent all zeros", "", "00-" + strings.Repeat("0", 32) + parent[35:], ""},
		{"traceparent without a parent", "", parent[:36] + strings.Repeat("0", 16) + "-01", ""},
		{"traceparent cut short", "", parent[:54], ""},
		{"unusable request id, good traceparent", "a b", parent, "4bf92f3577b34da6a3ce929d0e0e4736"},
	} {
		r := f.request(f.demo, "/v1/events/courier", bodyWithKey(tc.name))
		if tc.requestID != "" {
			r.Header.Set("X-Request-Id", tc.requestID)
		}
		if tc.traceparent != "" {
			r.Header.Set("Traceparent", tc.traceparent)
		}
		a := send(t, r)
		kept := f.publisher.all()
		got := kept[len(kept)-1].TraceID
		if got != tc.want && (tc.want != "" || !own.MatchString(got)) {
			t.Errorf("%s: trace id is %q, want %q", tc.name, got, tc.want)
		}
		if d := a.document(t); d.TraceID != got || a.Header.Get("X-Request-Id") != got {
			t.Errorf("%s: the answer says %q and %q, the envelope %q", tc.name, d.TraceID, a.Header.Get("X-Request-Id"), got)
		}
	}
}

// TestSecretIsNoTraceID: the trace id is in logs, on the queue and in every store. The answer
// has what was sent all the same, so that it tells nobody that this is a secret.
func TestSecretIsNoTraceID(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	const secret = "s3cret-0123456789-abcdef"
	f.set(t, Courier{Name: "other", Scheme: credential(t, "static_header", secret, named("X-Token"))},
		Courier{Name: "hexed", Scheme: credential(t, "static_header", "0123456789abcdef", named("X-Token"))})
	for i, id := range []string{
		secret, "a" + secret + "b", strings.ToUpper(secret), base64.StdEncoding.EncodeToString([]byte("x:" + secret)),
		hex.EncodeToString([]byte(secret)), strings.ReplaceAll(secret, "-", "%2D"),
	} {
		r := f.request(f.demo, "/v1/events/courier/demo", bodyWithKey(fmt.Sprint("secret-", i)))
		r.Header.Set("X-Request-Id", id)
		a := send(t, r)
		kept := f.publisher.all()
		if got := kept[len(kept)-1].TraceID; !strings.HasPrefix(got, tracePrefix) {
			t.Errorf("%q becomes the trace id %q", id, got)
		}
		if d := a.document(t); d.TraceID != id || a.Header.Get("X-Request-Id") != id {
			t.Errorf("%q is answered as %q and %q", id, d.TraceID, a.Header.Get("X-Request-Id"))
		}
		r = f.request(f.demo, "/v1/events/courier/nobody", "{}")
		r.Header.Set("X-Request-Id", id)
		if a := send(t, r); a.document(t).TraceID != id || a.Header.Get("X-Request-Id") != id {
			t.Errorf("%q is answered as %q when it is refused", id, a.Header.Get("X-Request-Id"))
		}
	}
	r := f.request(f.demo, "/v1/events/courier/demo", bodyWithKey("traceparent"))
	r.Header.Set("Traceparent", "00-"+hex.EncodeToString([]byte("0123456789abcdef"))+"-00f067aa0ba902b7-01")
	send(t, r)
	kept := f.publisher.all()
	if got := kept[len(kept)-1].TraceID; !strings.HasPrefix(got, tracePrefix) {
		t.Errorf("traceparent with a secret in hex becomes the trace id %q", got)
	}
	if log := strings.ToLower(f.log.String()); strings.Contains(log, secret) || !strings.Contains(log, "request refused") {
		t.Errorf("the log is\n%s", log)
	}
}

// TestTraceparentIsSearchedWhereItIsRead: what no trace id comes of costs no search, however
// long it is.
func TestTraceparentIsSearchedWhereItIsRead(t *testing.T) {
	t.Parallel()
	f := prepare(t, nil)
	f.set(t, Courier{Name: "other", Scheme: credential(t, "static_header", "00f067aa0ba902b7", named("X-Token"))})
	const parent = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-"
	r := f.captureOf(t, "demo", "", "{}", "Traceparent: "+parent+strings.Repeat("%2525", 100))
	if r.TraceID != "4bf92f3577b34da6a3ce929d0e0e4736" {
		t.Errorf("the trace id is %q", r.TraceID)
	}
}
