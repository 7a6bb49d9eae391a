package ingest

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ingest/signature"
)

// credential returns a scheme whose requests show a secret, or are signed by it.
func credential(t testing.TB, scheme, secret string, place signature.Place) *signature.Scheme {
	t.Helper()
	s, err := signature.New(signature.Config{Scheme: scheme, Signature: place, Secrets: []signature.Secret{{ID: "k1", Key: []byte(secret)}}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func named(names ...string) signature.Place { return signature.Place{Names: names} }

// captureOf returns what is kept of a request that is refused, because its body is
// no event. Every secret of these tests has "s3cret" in it.
func (f *fixture) captureOf(t testing.TB, courier, query, body string, headers ...string) *ingestion.Record {
	t.Helper()
	var raw strings.Builder
	raw.WriteString("POST /v1/events/courier/" + courier + query + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
	for _, h := range append(headers, "Content-Length: "+jsonText(len(body))) {
		raw.WriteString(h + "\r\n")
	}
	f.caught.take()
	var ctx fasthttp.RequestCtx
	if !f.process(&ctx, []byte(raw.String()+"\r\n"+body)) || len(f.caught.all()) != 1 {
		t.Fatalf("%s is answered %s", raw.String(), ctx.Response.String())
	}
	return &f.caught.all()[0]
}

func jsonText(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}

func headersIn(r *ingestion.Request) string {
	var lines []string
	for _, h := range r.Headers {
		if h.Name != "Host" && h.Name != "Content-Type" && h.Name != "Content-Length" {
			lines = append(lines, h.Name+": "+h.Value)
		}
	}
	return strings.Join(lines, "\n")
}

func TestRedaction(t *testing.T) {
	t.Parallel()
	f := prepare(t, nil)
	signed, err := signature.New(signature.Config{
		Scheme: "hmac", Signature: signature.Place{From: "query", Names: []string{"token_sig"}}, Message: []string{"header:x-token-time", "body"},
		Secrets: []signature.Secret{{ID: "k1", Key: []byte("s3cret-signed")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.set(t,
		Courier{Name: "signed", Scheme: signed},
		Courier{Name: "hmac", Scheme: credential(t, "hmac", "s3cret-hmac", named("X-Sig"))},
		Courier{Name: "auth", Scheme: credential(t, "hmac", "s3cret-auth", signature.Place{Names: []string{"Authorization"}, Prefix: "HMAC "})},
		Courier{Name: "static", Scheme: credential(t, "static_header", "s3cret-static", named("X-Token", "X-Old-Token"))},
		Courier{Name: "apikey", Scheme: credential(t, "static_header", "s3cret-apikey", named("X-Api-Key"))},
		Courier{Name: "basic", Scheme: credential(t, "basic", "user:s3cret-basic", signature.Place{})},
		Courier{Name: "bearer", Scheme: credential(t, "bearer", "s3cret-bearer", signature.Place{})},
		Courier{Name: "query", Scheme: credential(t, "query_token", "s3cret query", named("to ken"))},
		Courier{Name: "jwt", Scheme: credential(t, "jwt", "s3cret-jwt", named("X-Jwt"))},
		Courier{Name: "likejwt", Scheme: credential(t, "hmac", "s3cret-likejwt", named("X-Jwt"))},
		Courier{Name: "jwtquery", Scheme: credential(t, "jwt", "s3cret-jwtquery", signature.Place{From: "query", Names: []string{"jwt"}})},
	)
	for _, tc := range []struct {
		name, courier, query, body string
		headers                    []string
		wantQuery, wantBody        string // "" for the same
		wantHeaders                string // but for those of HTTP
		credential                 bool
	}{
		{name: "a signature stays", courier: "hmac", headers: []string{"X-Sig: abcd", "X-Other: x"}, wantHeaders: "X-Sig: abcd\nX-Other: x"},
		{name: "listed headers never stay", courier: "hmac",
			headers:     []string{"Authorization: Bearer a", "Proxy-Authorization: b", "Cookie: c=d", "Set-Cookie: e", "X-API-KEY: f", "Cookie: g=h"},
			wantHeaders: "Authorization: (redacted)\nProxy-Authorization: (redacted)\nCookie: (redacted)\nSet-Cookie: (redacted)\nX-Api-Key: (redacted)\nCookie: (redacted)"},
		{name: "what calls itself a credential", courier: "hmac", query: "?a=b&Access_Token=x&apiKey=y&token",
			headers:   []string{"X-Auth-Token: a", "Credential: b", "x-webhook-SECRET: c", "X-Monkey: d"},
			wantQuery: "a=b&Access_Token=(redacted)&apiKey=(redacted)&token", wantHeaders: "X-Auth-Token: (redacted)\nCredential: (redacted)\nX-Webhook-Secret: (redacted)\nX-Monkey: d"},
		{name: "unless a signature is there", courier: "signed", query: "?token_sig=ab&token=cd", headers: []string{"X-Token-Time: 7"},
			wantQuery: "token_sig=ab&token=(redacted)", wantHeaders: "X-Token-Time: 7"},
		{name: "unless the signature is there", courier: "auth", headers: []string{"Authorization: HMAC abcd", "Cookie: c"}, wantHeaders: "Authorization: HMAC abcd\nCookie: (redacted)"},
		{name: "the secret in place of a signature", courier: "hmac", headers: []string{"X-Sig: s3cret-hmac"}, wantHeaders: "X-Sig: (redacted)", credential: true},
		{name: "a header", courier: "static", headers: []string{"x-token: wrong", "X-Old-Token: s3cret-static"}, wantHeaders: "X-Token: (redacted)\nX-Old-Token: (redacted)", credential: true},
		{name: "a header twice", courier: "static", headers: []string{"x-token: a", "x-token: b"}, wantHeaders: "X-Token: (redacted)\nX-Token: (redacted)", credential: true},
		{name: "no header", courier: "static", headers: []string{"X-Sig: a"}, wantHeaders: "X-Sig: a"},
		{name: "a listed header", courier: "apikey", headers: []string{"X-Api-Key: s3cret-apikey"}, wantHeaders: "X-Api-Key: (redacted)", credential: true},
		{name: "basic", courier: "basic", headers: []string{"Authorization: Basic dXNlcjpzM2NyZXQtYmFzaWM="}, wantHeaders: "Authorization: (redacted)", credential: true},
		{name: "bearer", courier: "bearer", headers: []string{"Authorization: Bearer s3cret-bearer"}, wantHeaders: "Authorization: (redacted)", credential: true},
		{name: "a token", courier: "jwt", headers: []string{"X-Jwt: eyJ.eyJ.abc"}, wantHeaders: "X-Jwt: (redacted)", credential: true},
		{name: "a parameter", courier: "query", query: "?a=b&to+ken=s3cret+query&c", wantQuery: "a=b&to+ken=(redacted)&c", credential: true},
		{name: "a parameter spelt another way", courier: "query", query: "?to%20ke%6e=x%zz&to ken=y", wantQuery: "to%20ke%6e=(redacted)&to ken=(redacted)", credential: true},
		{name: "a token in the query", courier: "jwtquery", query: "?jwt=a.b.c", wantQuery: "jwt=(redacted)", credential: true},
		{name: "the secret in the query", courier: "query", query: "?x=as3cret+queryb&s3cret%20query&y=%zzs3cret query", wantQuery: "(redacted)&(redacted)&(redacted)", credential: true},
		{name: "the secret in a header", courier: "static", headers: []string{"X-Debug: token=s3cret-static;"}, wantHeaders: "X-Debug: (redacted)", credential: true},
		{name: "the secret as the request's id", courier: "hmac", headers: []string{"X-Request-Id: s3cret-hmac"}, wantHeaders: "X-Request-Id: (redacted)", credential: true},
		{name: "the secret in the body", courier: "static", body: `{"token":"s3cret-static","a":1}`, wantBody: `{"token":"`, credential: true},
		{name: "the secret of another courier", courier: "hmac", query: "?k=s3cret-static", headers: []string{"X-Sig: abcd", "X-Token: s3cret-static"},
			wantQuery: "(redacted)", wantHeaders: "X-Sig: abcd\nX-Token: (redacted)"},
		{name: "the secret of another courier in the body", courier: "hmac", body: `{"a":"s3cret-static"}`, wantBody: `{"a":"`},
		{name: "the secret as a header's name", courier: "hmac", headers: []string{"s3cret-hmac: 1"}, wantHeaders: "(redacted): 1", credential: true},
		{name: "the password of another courier", courier: "hmac", headers: []string{"X-Debug: s3cret-basic"}, wantHeaders: "X-Debug: (redacted)"},
		{name: "a token that is for another courier", courier: "hmac", query: "?to+ken=y&jwt=a.b.c", headers: []string{"X-Sig: abcd", "X-Jwt: eyJ.eyJ.abc", "X-Token: a"},
			wantQuery: "to+ken=(redacted)&jwt=(redacted)", wantHeaders: "X-Sig: abcd\nX-Jwt: (redacted)\nX-Token: (redacted)"},
		{name: "a signature where another courier shows a token", courier: "likejwt", headers: []string{"X-Jwt: abcd"}, wantHeaders: "X-Jwt: abcd"},
		{name: "no courier of ours", courier: "statik/", query: "?to+ken=y&jwt=z&q=w", body: "x s3cret-static s3cret-apikey",
			headers:   []string{"X-Token: a", "X-Jwt: b", "X-Sig: abcd", "Authorization: HMAC x"},
			wantQuery: "to+ken=(redacted)&jwt=(redacted)&q=w", wantBody: "x ",
			wantHeaders: "X-Token: (redacted)\nX-Jwt: (redacted)\nX-Sig: abcd\nAuthorization: (redacted)", credential: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			courier, body := strings.TrimSuffix(tc.courier, "/"), tc.body
			if body == "" {
				body = `{"no":"event"}`
			}
			if tc.wantBody == "" {
				tc.wantBody = body
			}
			if tc.wantQuery == "" {
				tc.wantQuery = strings.TrimPrefix(tc.query, "?")
			}
			record := f.captureOf(t, courier, strings.ReplaceAll(tc.query, " ", "+"), body, tc.headers...)
			r := record.Request
			if got, want := r.Query, strings.ReplaceAll(tc.wantQuery, " ", "+"); got != want {
				t.Errorf("the query is %q, want %q", got, want)
			}
			if got := headersIn(r); got != tc.wantHeaders {
				t.Errorf("the headers are\n%s, want\n%s", got, tc.wantHeaders)
			}
			if string(r.Body) != tc.wantBody || r.Whole() != (tc.wantBody == body) {
				t.Errorf("the body is %s, want %s", r.Body, tc.wantBody)
			}
			if r.Redacted != tc.credential {
				t.Errorf("the credential is redacted: %v", r.Redacted)
			}
			if text := jsonText(record); strings.Contains(text, "s3cret") {
				t.Errorf("a secret is left in %s", text)
			}
		})
	}
}

// TestSecretsInEveryForm sends a courier's secret in every place of a request to another
// one, written in every way: neither the record nor the log has it.
func TestSecretsInEveryForm(t *testing.T) {
	t.Parallel()
	const secret, marker = "S3cret/with spaces+\u00fc&more", "S3cret"
	f := prepare(t, nil)
	f.set(t, Courier{Name: "hmac", Scheme: credential(t, "hmac", "s3cret-hmac", named("X-Sig"))},
		Courier{Name: "static", Scheme: credential(t, "static_header", secret, named("X-Token"))})
	b64, hexa := base64.StdEncoding.EncodeToString, func(s string) string { return hex.EncodeToString([]byte(s)) }
	inJSON := strings.NewReplacer("3", `\u0033`, "/", `\/`, "\u00fc", `\u00fc`).Replace(secret)
	for _, way := range []string{
		b64([]byte(secret)), b64([]byte("user:" + secret)), b64([]byte("user1:" + secret + "!")), base64.RawURLEncoding.EncodeToString([]byte("us:" + secret)),
		hexa(secret), strings.ToUpper(hexa(secret)), hexa("x" + secret + "x"), hexa(b64([]byte(secret))), b64([]byte(hexa(secret))), b64([]byte("a" + b64([]byte(secret)))),
		url.QueryEscape(secret), url.PathEscape(secret), url.QueryEscape(url.QueryEscape(secret)), strings.ReplaceAll(url.PathEscape(secret), "S", "%53"),
		url.QueryEscape(b64([]byte(secret))), b64([]byte(url.QueryEscape(secret))), inJSON, strings.ReplaceAll(inJSON, `\`, `\\`), b64([]byte(`{"a":"` + secret + `"}`)),
	} {
		sane := strings.NewReplacer(" ", "%20", "&", "%26").Replace(way)
		record := f.captureOf(t, "hmac", "?q="+sane, `{"a":"`+way+`"}`, "X-Debug: <"+way+">")
		if got := record.Request.Query; got != "(redacted)" {
			t.Errorf("%s: the query is %q", way, got)
		}
		if got := headersIn(record.Request); got != "X-Debug: (redacted)" {
			t.Errorf("%s: the headers are %q", way, got)
		}
		if got := string(record.Request.Body); !strings.HasPrefix(`{"a":"`+way, got) || len(got) > len(`{"a":"`)+16 {
			t.Errorf("%s: of the body there is %q", way, got) // a prefix that is no part of the secret may be
		}
		if strings.Contains(jsonText(record), marker) || strings.Contains(jsonText(record), way) {
			t.Errorf("%s: it is left in %s", way, jsonText(record))
		}
	}
}

// TestSecretsInPackedBodies: of a packed body nothing is kept that holds a secret, although it
// was not unpacked for its event, or that is too long to know.
func TestSecretsInPackedBodies(t *testing.T) {
	t.Parallel()
	f := prepare(t, nil)
	f.set(t, Courier{Name: "hmac", Scheme: credential(t, "hmac", "s3cret-hmac", named("X-Sig"))})
	for _, courier := range []string{"hmac", "unknown"} {
		for text, kept := range map[string]bool{`{"a":"s3cret-hmac"}`: false, `{"a":"b"}`: true, strings.Repeat(" ", maxPeekBytes) + "s3cret-hmac": false} {
			packed := zipped(text)
			record := f.captureOf(t, courier, "", packed, "Content-Encoding: gzip").Request
			if got := string(record.Body); kept != (got == packed) || !kept && got != "" || record.BodyBytes != len(packed) {
				t.Errorf("%s: of %.20s there are %d bytes", courier, text, len(got))
			}
		}
	}
}

// TestSecretsInWhatIsPackedInOtherWays: nothing is kept that could not be looked through, and
// what could is kept.
func TestSecretsInWhatIsPackedInOtherWays(t *testing.T) {
	t.Parallel()
	f := prepare(t, nil)
	hmac := credential(t, "hmac", "s3cret-hmac", named("X-Sig"))
	f.set(t, Courier{Name: "hmac", Scheme: hmac, MaxBodyBytes: 1000})
	const secret, harmless = `{"a":"s3cret-hmac"}`, `{"a":"b"}`
	deflated := func(text string) string {
		var out bytes.Buffer
		w := zlib.NewWriter(&out)
		_, _ = io.WriteString(w, text)
		_ = w.Close()
		return out.String()
	}
	wide := func(order binary.ByteOrder, size int) string {
		var out []byte
		for _, c := range secret {
			one := make([]byte, 4)
			if order.PutUint32(one, uint32(c)); size == 2 {
				order.PutUint16(one, uint16(c))
			}
			out = append(out, one[:size]...)
		}
		return string(out)
	}
	for _, tc := range []struct {
		name, body, coding string
		signed, kept       bool
	}{
		{"deflate", deflated(secret), "deflate", false, false},
		{"deflate that is not named", deflated(secret), "", false, false},
		{"brotli, say", "\x0b\x08\x80\x03", "br", false, false},
		{"gzip twice", zipped(zipped(secret)), "gzip, gzip", false, false},
		{"harmless, gzip twice", zipped(zipped(harmless)), "gzip, gzip", false, true},
		{"deflate in gzip", zipped(deflated(secret)), "deflate, gzip", false, false},
		{"gzip that is not named", zipped(secret), "", false, false},
		{"harmless, gzip that is not named", zipped(harmless), "", false, true},
		{"two members", zipped(harmless) + zipped(secret), "gzip", true, false},
		{"harmless, two members", zipped(harmless) + zipped(harmless), "gzip", true, true},
		{"deflate behind gzip", zipped(harmless) + deflated(secret), "gzip", true, false},
		{"cut off", zipped(secret)[:40], "gzip", true, false},
		{"harmless, cut off", zipped(harmless)[:30], "gzip", true, true},
		{"behind the limit", zipped(strings.Repeat(" ", 2000) + secret), "gzip", true, false},
		{"harmless behind the limit", zipped(strings.Repeat(" ", 2000) + harmless), "gzip", true, true},
		{"gzip seven times", zipped(zipped(zipped(zipped(zipped(zipped(zipped(harmless))))))), "", false, false},
		{"text that is called packed", harmless, "deflate", false, true},
	} {
		headers := []string{"Content-Encoding: " + tc.coding}
		if tc.coding == "" {
			headers = nil
		}
		if tc.signed {
			headers = append(headers, signing(hmac, tc.body)...)
		}
		record := f.captureOf(t, "hmac", "", tc.body, headers...)
		if got := string(record.Request.Body); tc.kept != (got == tc.body) || !tc.kept && got != "" || record.Request.BodyBytes != len(tc.body) {
			t.Errorf("%s (%s): of %d bytes %d are kept", tc.name, record.Code, len(tc.body), len(got))
		}
	}
	for name, body := range map[string]string{
		"UTF-16": wide(binary.LittleEndian, 2), "UTF-16, the other way round": "\xfe\xff" + wide(binary.BigEndian, 2), "UTF-32": wide(binary.LittleEndian, 4),
	} {
		got := string(f.captureOf(t, "hmac", "", body).Request.Body)
		if strings.Contains(strings.ReplaceAll(got, "\x00", ""), "s3") || !strings.HasPrefix(body, got) || got == "" {
			t.Errorf("%s: kept is %q", name, got)
		}
	}
}

func TestCaptureIsBounded(t *testing.T) {
	t.Parallel()
	f := prepare(t, func(c *Config) { c.Records.BodyBytes = 100 })
	f.set(t, Courier{Name: "static", Scheme: credential(t, "static_header", "s3cret-static", named("X-Token"))})
	for _, n := range []int{0, 99, 100, 101, 10_000} {
		r := f.captureOf(t, "static", "", strings.Repeat("x", n)).Request
		if r.BodyBytes != n || len(r.Body) != min(n, 100) || r.Body == nil || r.Whole() != (n <= 100) {
			t.Errorf("of %d bytes %d are kept, whole: %v", n, len(r.Body), r.Whole())
		}
	}
	if r := f.captureOf(t, "static", "", strings.Repeat("x", 95)+"s3cret-static").Request; string(r.Body) != strings.Repeat("x", 95) || !r.Redacted {
		t.Errorf("of a secret at the end there is %q", r.Body)
	}
}

// TestCaptureKeepsNothingOfTheRequest captures a request and sends another one on
// the same connection.
func TestCaptureKeepsNothingOfTheRequest(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	c := f.dial(t)
	c.send(t, f.raw(f.plain, "/v1/events/courier/demo?a=b", goodBody, "X-Request-Id: first"))
	c.answer(t)
	before := jsonText(f.caught.all())
	for _, text := range []string{"first", "X-Signature", `"query":"a=b"`, "/v1/events/courier/demo"} {
		if !strings.Contains(before, text) {
			t.Errorf("recorded is %s, without %s", before, text)
		}
	}
	c.send(t, f.raw(f.demo, "/v1/events/courier/demo?cccccccc", strings.ToUpper(goodBody), "X-Request-Id: other"))
	c.answer(t)
	if after := jsonText(f.caught.all()[:1]); after != before {
		t.Errorf("the record has become\n%s, was\n%s", after, before)
	}
}

// TestCapturedRequestsVerifyAlike holds for everything that can be signed.
func TestCapturedRequestsVerifyAlike(t *testing.T) {
	t.Parallel()
	s, err := signature.New(signature.Config{
		Scheme: "hmac", Signature: signature.Place{From: "query", Names: []string{"sig nature"}},
		Message: []string{"method", "path", "header:X-Event", "json:eventId", "body"},
		Secrets: []signature.Secret{{ID: "k1", Key: []byte("s3cret")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	f := prepare(t, nil)
	f.set(t, Courier{Name: "all", Scheme: s})
	body := `{"eventId":"é 1"}`
	out, err := s.SignRequest(signature.Draft{
		Path: "/v1/events/courier/all", Headers: []signature.Header{{Name: "x-event", Value: "a  b"}}, Body: []byte(body),
	}, noon)
	if err != nil {
		t.Fatal(err)
	}
	r := f.captureOf(t, "all", "?x=1&"+out.Query, body, "X-EVENT:  a  b ")
	if r.Code != event.InvalidPayload {
		t.Fatalf("refused with %s", r.Code)
	}
	if id, err := s.Verify(&Captured{r.Request}, noon); id != "k1" || err != nil {
		t.Errorf("the captured request is by %q: %v", id, err)
	}
}

func TestTextThatNoStoreKeeps(t *testing.T) {
	t.Parallel()
	f := prepare(t, nil)
	r := f.captureOf(t, "demo", "?\xff=%ff", "{}", "X-Name: M\xfcller").Request
	if text := r.Query + headersIn(r); !utf8.ValidString(text) || !strings.Contains(text, "M\uFFFDller") || !strings.Contains(text, "\uFFFD=%ff") {
		t.Errorf("kept is %q", text)
	}
	if r = f.captureOf(t, "demo", "", "{\xff}").Request; !bytes.Equal(r.Body, []byte("{\xff}")) {
		t.Errorf("the body is %q", r.Body)
	}
}
