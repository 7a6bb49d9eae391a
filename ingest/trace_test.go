package ingest

import (
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
