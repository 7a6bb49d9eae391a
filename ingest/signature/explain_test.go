package signature

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// rendered renders an explanation, a line for each step.
func rendered(e Explanation) string {
	var b strings.Builder
	for _, s := range e.Steps {
		mark := "no "
		if s.OK {
			mark = "yes"
		}
		fmt.Fprintf(&b, "%s %s: %s\n", mark, s.Name, s.Detail)
	}
	fmt.Fprintf(&b, "accepted %v, key %q, %s: %s", e.Accepted, e.KeyID, e.Reason, e.Detail)
	return b.String()
}

func TestExplain(t *testing.T) {
	t.Parallel()
	c := config("gateway")
	c.Secrets[1].NotAfter = noon.Add(-time.Hour)
	s := compile(t, c)
	for _, tc := range []struct {
		name   string
		change func(*captured)
		late   time.Duration
		want   string
	}{
		{"good", func(*captured) {}, 2 * time.Second, `
yes algorithm: hmac-sha256
yes signature: header x-signature has 64 characters and starts with "d240536d"; a signature of 32 bytes
yes timestamp: "1772107200" is 2026-02-26T12:00:00Z, 2s in the past
yes message: 32 bytes are signed: "1772107200.{\"eventId\":\"evt_123\"}"
yes secret new: counts at any time; it is by this one
no  secret old: counts until 2026-02-26T11:00:00Z; it is not by this one
accepted true, key "new", : `},
		{"altered and late", func(r *captured) { r.body = []byte("\x00é") }, time.Hour, `
yes algorithm: hmac-sha256
yes signature: header x-signature has 64 characters and starts with "d240536d"; a signature of 32 bytes
no  timestamp: "1772107200" is 2026-02-26T12:00:00Z, 1h0m0s in the past; the timestamp is more than 5m0s in the past
yes message: 14 bytes are signed: "1772107200.\x00\u00e9"
no  secret new: counts at any time; it is not by this one
no  secret old: counts until 2026-02-26T11:00:00Z; it is not by this one
accepted false, key "", too_old: the timestamp is more than 5m0s in the past`},
		{"by the expired secret", func(r *captured) {
			c := config("gateway")
			c.Secrets = c.Secrets[1:]
			signer, _ := New(c)
			r.headers = signer.Sign(body, noon)
		}, 0, `
yes algorithm: hmac-sha256
yes signature: header x-signature has 64 characters and starts with "15cb8386"; a signature of 32 bytes
yes timestamp: "1772107200" is 2026-02-26T12:00:00Z, 0s in the past
yes message: 32 bytes are signed: "1772107200.{\"eventId\":\"evt_123\"}"
no  secret new: counts at any time; it is not by this one
no  secret old: counts until 2026-02-26T11:00:00Z; it is by this one
accepted false, key "", expired: the signature is by a secret that is no longer valid`},
		{"without a signature", func(r *captured) { r.set("x-signature") }, -time.Second, `
yes algorithm: hmac-sha256
no  signature: header x-signature is missing
yes timestamp: "1772107200" is 2026-02-26T12:00:00Z, 1s in the future
yes message: 32 bytes are signed: "1772107200.{\"eventId\":\"evt_123\"}"
accepted false, key "", missing: header x-signature is missing`},
		{"with nothing", func(r *captured) { r.headers = nil }, 0, `
no  algorithm: header x-signature-algorithm is missing
no  signature: header x-signature is missing
no  timestamp: header x-signature-timestamp is missing
accepted false, key "", missing: header x-signature-algorithm is missing`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := signed(t, s, body, noon)
			tc.change(r)
			if got := rendered(s.Explain(r, noon.Add(tc.late))); strings.TrimSpace(got) != strings.TrimSpace(tc.want) {
				t.Errorf("got\n%s\nwant%s", got, tc.want)
			}
		})
	}
}

// TestExplainAgrees holds for every sender: the explanation says what Verify
// says, and it shows no secret.
func TestExplainAgrees(t *testing.T) {
	t.Parallel()
	for _, s := range senders() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			scheme := compile(t, s.verifier(t, "new", "old"))
			good := signed(t, s.signer(t, "new"), payload, noon)
			broken := signed(t, s.signer(t, "new"), payload, noon)
			whole, _ := s.text(t, broken)
			broken.swap(whole, "?")
			for _, tc := range []struct {
				name string
				r    *captured
				now  time.Time
			}{
				{"good", good, noon},
				{"late", good, noon.Add(time.Hour)},
				{"forged", signed(t, s.signer(t, "evil"), payload, noon), noon},
				{"empty", &captured{}, noon},
				{"broken", broken, noon},
				{"altered", &captured{method: good.method, path: good.path, query: good.query, headers: good.headers, body: append([]byte(" "), good.body...)}, noon},
			} {
				id, err := scheme.Verify(tc.r, tc.now)
				e := scheme.Explain(tc.r, tc.now)
				if e.Accepted != (err == nil) || e.KeyID != id || !e.Accepted && e.Detail != err.Error() {
					t.Errorf("%s: Verify says %q, %v; Explain says\n%s", tc.name, id, err, rendered(e))
				}
				failed := slices.ContainsFunc(e.Steps, func(s Step) bool { return !s.OK && !isKey(s) })
				signedBy := slices.ContainsFunc(e.Steps, func(s Step) bool { return s.OK && isKey(s) })
				if e.Accepted == (failed || !signedBy) {
					t.Errorf("%s: the steps don't lead to the verdict:\n%s", tc.name, rendered(e))
				}
				s.checkHidden(t, scheme, tc.r, e)
			}
		})
	}
}

func isKey(s Step) bool {
	return strings.HasPrefix(s.Name, "secret ") || strings.HasPrefix(s.Name, "public key ")
}

// checkHidden fails when the explanation holds a secret, or the whole of a
// signature that is right.
func (s *sender) checkHidden(t *testing.T, scheme *Scheme, r *captured, e Explanation) {
	t.Helper()
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range scheme.config.Secrets {
		quoted, _ := json.Marshal(strings.Trim(fmt.Sprintf("%+q", secret.Key), `"`))
		if strings.Contains(string(text), string(secret.Key)) || strings.Contains(string(text), strings.Trim(string(quoted), `"`)) {
			t.Errorf("%s holds secret %s", text, secret.ID)
		}
	}
	right := signed(t, s.signer(t, "new"), r.bodyOr(payload), noon)
	if _, signature := s.text(t, right); strings.Contains(string(text), signature) {
		t.Errorf("%s holds a signature that is right", text)
	}
}

// bodyOr returns the request's body, or another where it has none.
func (c *captured) bodyOr(other []byte) []byte {
	if len(c.body) > 0 {
		return c.body
	}
	return other
}

func TestExplainHidesSecretsInTheRequest(t *testing.T) {
	t.Parallel()
	c := config("gateway-body")
	s := compile(t, c)
	r := &captured{body: []byte(`{"password":"s3cret-new"}`)}
	r.set("x-signature", "s3cret-new")
	r.set("x-signature-algorithm", "hmac-sha256")
	e := s.Explain(r, noon)
	if got := rendered(e); strings.Contains(got, "s3cret") || !strings.Contains(got, `{\"password\":\"(hidden)\"}`) {
		t.Errorf("shows\n%s", got)
	}
	if len(e.Hints) != 1 || !strings.Contains(e.Hints[0], "static_header") {
		t.Errorf("hints at %q", e.Hints)
	}
	bare := compile(t, timed(Config{Scheme: "standard-webhooks", Secrets: []Secret{{ID: "k", Key: []byte("whsec_c2VjcmV0")}}}))
	r = signed(t, bare, []byte(`{"key":"c2VjcmV0"}`), noon)
	if got := rendered(bare.Explain(r, noon)); strings.Contains(got, "c2VjcmV0") || !strings.Contains(got, "(hidden)") {
		t.Errorf("shows\n%s", got)
	}
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%+v", s), fmt.Sprintf("%#v", s), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c)} {
		if strings.Contains(text, "s3cret") {
			t.Errorf("prints as %s", text)
		}
	}
}

func TestExplainBoundsTheMessage(t *testing.T) {
	t.Parallel()
	s := compile(t, config("gateway-body"))
	r := signed(t, s, []byte("start"+strings.Repeat("x", 1<<20)+"end"), noon)
	e := s.Explain(r, noon)
	got := rendered(e)
	if len(got) > 2000 || !strings.Contains(got, `"startxxx`) || !strings.Contains(got, `xxxend"`) || !strings.Contains(got, "... 1048184 bytes ...") || !e.Accepted {
		t.Errorf("shows %d bytes: %.2000s", len(got), got)
	}
}

func TestHints(t *testing.T) {
	t.Parallel()
	secret := Secret{ID: "k", Key: []byte("c2VjcmV0")}
	plain := Config{Scheme: "hmac", Signature: Place{Names: []string{"x-s"}}, Secrets: []Secret{secret}}
	with := func(change func(*Config)) Config {
		c := plain.clone()
		change(&c)
		return c
	}
	stamped := timed(with(func(c *Config) {
		c.Timestamp, c.Message = Timestamp{From: "header", Names: []string{"x-t"}}, []string{"timestamp", "literal:.", "body"}
	}))
	for _, tc := range []struct {
		name   string
		signs  Config
		checks Config
		change func(*captured)
		want   string // part of the one hint that is wanted; none for none
	}{
		{"derivation", with(func(c *Config) { c.Derive = "base64" }), plain, nil, `derive = "base64"`},
		{"no derivation", plain, with(func(c *Config) { c.Derive = "base64" }), nil, `derive = "utf8"`},
		{"normalisation", with(func(c *Config) { c.Secrets[0].Key, c.Normalize = []byte("é"), "nfkd" }), with(func(c *Config) { c.Secrets[0].Key = []byte("é") }), nil, `normalize = "nfkd"`},
		{"secret with a line break", plain, with(func(c *Config) { c.Secrets[0].Key = append(c.Secrets[0].Key, '\n') }), nil, "white space around it"},
		{"algorithm", with(func(c *Config) { c.Algorithms = []Algorithm{SHA512} }), plain, nil, `algorithms = ["sha512"]`},
		{"old algorithm", with(func(c *Config) { c.Algorithms, c.AllowSHA1 = []Algorithm{SHA1}, true }), plain, nil, "allow_sha1 = true"},
		{"encoding", with(func(c *Config) { c.Encodings = []Encoding{Base64} }), plain, nil, `encodings = ["base64"]`},
		{"message", plain, stamped, func(r *captured) { r.set("x-t", "1772107200") }, `message = ["body"]`},
		{"message without a full stop", timed(with(func(c *Config) { c.Timestamp, c.Message = stamped.Timestamp, []string{"timestamp", "body"} })), stamped, nil, `message = ["timestamp", "body"]`},
		{"body with a line break", plain, plain, func(r *captured) { r.body = append(r.body, '\n') }, "without its final line break"},
		{"body without a line break", plain, plain, func(r *captured) { r.body = r.body[:len(r.body)-1] }, "with a line break at its end"},
		{"prefix", plain, prefixed(plain, "sha256="), nil, "prefix_optional = true"},
		{"wrong secret", with(func(c *Config) { c.Secrets[0].Key = []byte("other") }), plain, nil, ""},
		{"nothing wrong", plain, plain, nil, ""},
		{"standard webhooks by the text of the secret",
			Config{Scheme: "hmac", Encodings: []Encoding{Base64}, Signature: Place{Names: []string{"webhook-signature"}, Format: "tagged", Fields: []string{"v1"}},
				Timestamp: Timestamp{From: "header", Names: []string{"webhook-timestamp"}}, Message: []string{"header:webhook-id", "literal:.", "timestamp", "literal:.", "body"},
				TolerancePast: time.Minute, ToleranceFuture: time.Minute, Secrets: []Secret{secret}},
			timed(Config{Scheme: "standard-webhooks", Secrets: []Secret{secret}}), nil, `derive = "utf8"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			sent := []byte("{}")
			if tc.name == "body without a line break" {
				sent = []byte("{}\n")
			}
			r := signed(t, compile(t, tc.signs), sent, noon)
			if tc.change != nil {
				tc.change(r)
			}
			hints := compile(t, tc.checks).Explain(r, noon.Add(time.Second)).Hints
			if tc.want == "" && len(hints) > 0 || tc.want != "" && (len(hints) != 1 || !strings.Contains(hints[0], tc.want)) {
				t.Errorf("hints at %q, want %q", hints, tc.want)
			}
		})
	}
}
