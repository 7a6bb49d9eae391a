package ingest

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/url"
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/ingest/body"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/signature"
)

func zipped(text string) string {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return out.String()
}

// TestContent posts events in every form that senders give them, signed as they are sent,
// and looks at what is queued.
func TestContent(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	basic, err := signature.New(signature.Config{Scheme: "basic", Secrets: []signature.Secret{{ID: "k1", Key: []byte("user:password")}}})
	if err != nil {
		t.Fatal(err)
	}
	f.set(t,
		Courier{Name: "basic", Scheme: basic},
		Courier{Name: "strict", Scheme: f.plain, ContentTypes: []string{"application/json"}, Encodings: []string{"identity"}},
		Courier{Name: "small", Scheme: f.plain, MaxBodyBytes: 1000},
		Courier{Name: "watched", Scheme: f.plain, MaxBodyBytes: 1000, Observe: true},
	)
	form, large := "payload="+url.QueryEscape(goodBody), goodBody+strings.Repeat(" ", 1000)
	for _, tc := range []struct {
		name, courier, contentType, encoding, body string
		status                                     int
		queued                                     string // "": nothing is
		code                                       event.Code
	}{
		{"JSON", "plain", "application/json", "", goodBody, 200, goodBody, ""},
		{"JSON as text", "plain", "text/plain; charset=us-ascii", "", goodBody, 200, goodBody, ""},
		{"JSON as a form", "plain", "application/x-www-form-urlencoded", "", goodBody, 200, goodBody, ""},
		{"JSON without a type", "plain", "", "", goodBody, 200, goodBody, ""},
		{"byte order mark", "plain", "application/json", "", "\ufeff" + goodBody, 200, "\ufeff" + goodBody, ""},
		{"form", "plain", "application/x-www-form-urlencoded", "", form, 200, form, ""},
		{"packed", "plain", "application/json", "gzip", zipped(goodBody), 200, goodBody, ""},
		{"packed form", "plain", "application/x-www-form-urlencoded", "identity, GZIP", zipped(form), 200, form, ""},
		{"packed and cut", "plain", "application/json", "gzip", zipped(goodBody)[:100], 400, "", event.InvalidPayload},
		{"packed twice", "plain", "application/json", "gzip, gzip", zipped(zipped(goodBody)), 415, "", event.UnsupportedMediaType},
		{"two members", "plain", "application/json", "gzip", zipped(goodBody) + zipped(" "), 400, "", event.InvalidPayload},
		{"packed, but not said to be", "plain", "application/json", "", zipped(goodBody), 400, "", event.InvalidPayload},
		{"packed and large", "small", "application/json", "gzip", zipped(large), 413, "", event.PayloadTooLarge},
		{"not taken by a list", "strict", "text/plain", "", goodBody, 415, "", event.UnsupportedMediaType},
		{"packed, not taken", "strict", "application/json", "gzip", zipped(goodBody), 415, "", event.UnsupportedMediaType},
		{"with a password", "basic", "application/vnd.x", "", goodBody, 202, goodBody, ""},
		{"with a password, as a page could", "basic", "text/plain", "", goodBody, 415, "", event.UnsupportedMediaType},
		{"with a password, without a type", "basic", "", "", goodBody, 415, "", event.UnsupportedMediaType},
		{"observed", "watched", "image/png", "gzip", zipped(goodBody), 202, goodBody, ""},
		{"observed, broken", "watched", "application/json", "gzip", "{", 202, "{", ""},
		{"observed, large", "watched", "application/json", "gzip", zipped(large), 413, "", event.PayloadTooLarge},
	} {
		by := f.plain
		if tc.courier == "basic" {
			by = basic
		}
		r := f.request(by, "/v1/events/courier/"+tc.courier, tc.body)
		r.Header.Del("Content-Type")
		if tc.contentType != "" {
			r.Header.Set("Content-Type", tc.contentType)
		}
		if tc.encoding != "" {
			r.Header.Set("Content-Encoding", tc.encoding)
		}
		before := len(f.publisher.all())
		a := send(t, r)
		if kept := f.publisher.all(); a.StatusCode != tc.status {
			t.Errorf("%s: got %d %s, want %d", tc.name, a.StatusCode, a.body, tc.status)
		} else if tc.code != "" {
			expectProblem(t, a, tc.status, tc.code, "")
		} else if n := len(kept); n == before && !a.document(t).Duplicate || n > before && (string(kept[n-1].Body) != tc.queued || !f.deps.Stamper.Verify(&kept[n-1])) {
			t.Errorf("%s: %d events are queued: %q", tc.name, n-before, kept[n-1].Body)
		}
		f.publisher.mu.Lock()
		f.publisher.kept = nil
		f.publisher.mu.Unlock()
	}
	if known, unknown := f.bodies.reader.Usage(); known.Bytes+unknown.Bytes != 0 {
		t.Errorf("memory is left: %v, %v", known, unknown)
	}
}

// TestUnsignedIsNotUnpacked: what no courier has signed is not unpacked.
func TestUnsignedIsNotUnpacked(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	r := f.request(f.plain, "/v1/events/courier/plain", zipped(goodBody))
	r.Header.Set("Content-Encoding", "gzip")
	r.Header.Set("X-Signature", strings.Repeat("0f", 32))
	expectProblem(t, send(t, r), 401, event.InvalidSignature, "does not match")
	// As if it had been signed over the unpacked body.
	for _, h := range f.plain.Sign([]byte(goodBody), noon) {
		r.Header.Set(h.Name, h.Value)
	}
	r.Body = io.NopCloser(strings.NewReader(zipped(goodBody)))
	expectProblem(t, send(t, r), 401, event.InvalidSignature, "does not match")
}

// TestPackedRequestIsAcceptedByHand: what was refused is verified as it was sent, and queued
// as it would have been.
func TestPackedRequestIsAcceptedByHand(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	late := scheme(t, "gateway-body", "another-secret")
	f.set(t, Courier{Name: "late", Scheme: f.plain})
	for _, packed := range []string{zipped(goodBody), zipped(goodBody)[:100], zipped(goodBody + strings.Repeat(" ", f.config.MaxBodyBytes))} {
		r := f.request(late, "/v1/events/courier/late", packed)
		r.Header.Set("Content-Encoding", "gzip")
		expectProblem(t, send(t, r), 401, event.InvalidSignature, "")
	}
	f.set(t, Courier{Name: "late", Scheme: late})
	for i, want := range []event.Code{"", event.InvalidPayload, event.PayloadTooLarge} {
		if _, err := f.AcceptRefused(t.Context(), f.caught.all()[i], false); event.CodeOf(err) != want {
			t.Errorf("record %d: %v, want %q", i, err, want)
		}
	}
	if kept := f.publisher.all(); len(kept) != 1 || string(kept[0].Body) != goodBody || kept[0].KeyID != "k1" {
		t.Errorf("queued is %+v", kept)
	}
}

// TestUnpackingIsBounded: bodies that are small and become large take of the body memory,
// which is back afterwards, and no more than that.
func TestUnpackingIsBounded(t *testing.T) {
	t.Parallel()
	f := prepare(t, nil)
	f.bodies.reader = body.NewReader(body.Config{KnownBytes: 64 << 10, UnknownBytes: 1})
	large := f.packedRaw(f.plain, "/v1/events/courier/plain", goodBody+strings.Repeat(" ", 100<<10))
	f.flood(t, 3, 0, 503, large)
	f.flood(t, 1, 0, 200, f.packedRaw(f.plain, "/v1/events/courier/plain", goodBody))
	if known, unknown := f.bodies.reader.Usage(); known.Bytes+unknown.Bytes != 0 {
		t.Errorf("memory is left: %v, %v", known, unknown)
	}
}

// packedRaw is raw with a body that is packed.
func (f *fixture) packedRaw(s *signature.Scheme, path, text string) string {
	return f.raw(s, path, zipped(text), "Content-Encoding: gzip")
}
