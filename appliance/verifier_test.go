package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/payload"
	"github.com/fincart/courier-gateway/ingest/signature"
	"github.com/fincart/courier-gateway/ingest/signature/jwks"
)

// sample is a sender: how it signs, what it posts, and what its commands need.
type sample struct {
	name    string
	config  signature.Config // with the secrets, without keys
	private any              // its private key, nil for none
	flags   []string         // that the commands need besides
	body    string           // a payload of its own
	// noEvents says why it can't sign a canonical event, "" when it can.
	noEvents string
}

func timed(c signature.Config) signature.Config {
	c.TolerancePast, c.ToleranceFuture = time.Minute, time.Minute
	return c
}

func place(names ...string) signature.Place { return signature.Place{Names: names} }

// signedSamples has one sender of every scheme at least, and one of every place that a
// signature can be in.
func signedSamples() []sample {
	secret := func(c signature.Config, text string) signature.Config {
		c.Secrets = []signature.Secret{{ID: "one", Key: []byte(text)}}
		return c
	}
	edPrivate := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	edPublic := "whpk_" + base64.StdEncoding.EncodeToString(edPrivate.Public().(ed25519.PublicKey))
	const own = `{"it's":"<its own> payload","data":{"status":"out_for_delivery"}}`
	return []sample{
		{name: "gateway", config: secret(timed(signature.Config{Scheme: "gateway"}), "a secret"), body: own},
		{name: "gateway-body", config: secret(signature.Config{Scheme: "gateway-body"}, "a secret"), body: "any body \x00\xff"},
		{name: "svix", config: secret(timed(signature.Config{Scheme: "svix"}), "whsec_YSBzZWNyZXQ="), body: own},
		{name: "standard-webhooks", config: secret(timed(signature.Config{Scheme: "standard-webhooks"}), "whsec_YSBzZWNyZXQ="), body: own},
		{
			name:   "standard-webhooks with an id that is given",
			config: secret(timed(signature.Config{Scheme: "standard-webhooks"}), "whsec_YSBzZWNyZXQ="), flags: []string{"--header", "Webhook-Id=evt_1"}, body: own,
		},
		{
			name: "standard-webhooks by a private key", config: secret(timed(signature.Config{Scheme: "standard-webhooks"}), edPublic), private: edPrivate, body: own,
		},
		{
			name: "hmac in a header, as Shopify", config: secret(signature.Config{
				Scheme: "hmac", Encodings: []signature.Encoding{signature.Base64}, Signature: place("X-Shopify-Hmac-Sha256"),
			}, "a secret"), flags: []string{"--header", "X-Shopify-Event-Id=a=b"}, body: own,
		},
		{
			name: "hmac in fields, as Stripe", config: secret(timed(signature.Config{
				Scheme: "hmac", Signature: signature.Place{Names: []string{"Stripe-Signature"}, Format: "fields", Fields: []string{"v1"}},
				Timestamp: signature.Timestamp{From: "field", Names: []string{"t"}}, Message: []string{"timestamp", "literal:.", "body"},
			}), "a secret"), body: own,
		},
		{
			name: "hmac over method, path, host and a header", config: secret(timed(signature.Config{
				Scheme: "hmac", Signature: place("x-s"), Timestamp: signature.Timestamp{From: "header", Names: []string{"x-t"}, Unit: "rfc2822"},
				Message: []string{"timestamp", "method", "path", "header:host", "header:x-path", "header:content-type", "body"},
			}), "a secret"), flags: []string{"--header", "X-Path=/hook", "--header", "Content-Type=application/json; charset=utf-8"}, body: own,
		},
		{
			name: "hmac in the query", config: secret(signature.Config{
				Scheme: "hmac", Algorithms: []signature.Algorithm{signature.SHA1}, AllowSHA1: true,
				Encodings: []signature.Encoding{signature.Base64}, Signature: signature.Place{From: "query", Names: []string{"sig nature"}},
			}, "a secret"), body: own,
		},
		{
			name: "hmac in the body, as Lalamove", config: secret(timed(signature.Config{
				Scheme: "hmac", Signature: signature.Place{From: "json", Names: []string{"signature"}},
				Timestamp: signature.Timestamp{From: "json", Names: []string{"timestamp"}},
				Message:   []string{"timestamp", "literal:\r\n", "method", "literal:\r\n", "path", "literal:\r\n\r\n", "json:data"},
			}), "a secret"), body: own, noEvents: "member data of the body is missing",
		},
		{
			name: "hmac in the body of events", config: secret(timed(signature.Config{
				Scheme: "hmac", Signature: signature.Place{From: "json", Names: []string{"signature"}},
				Timestamp: signature.Timestamp{From: "json", Names: []string{"sentAt"}, Unit: "rfc3339"},
				Message:   []string{"timestamp", "json:eventId", "json:payload"},
			}), "a secret"), body: `{"eventId":"evt_1","payload":{}}`,
		},
		{
			name: "rsa, as ShipEngine", config: timed(signature.Config{
				Scheme: "rsa", Encodings: []signature.Encoding{signature.Base64}, Signature: place("x-s"), KeyIDHeader: "x-key-id",
				JWKS: "https://keys.example.com/jwks", Timestamp: signature.Timestamp{From: "header", Names: []string{"x-t"}, Unit: "rfc3339"},
				Message: []string{"timestamp", "literal:.", "body"},
			}), private: rsaKey(), body: own,
		},
		{
			name: "ed25519", config: secret(timed(signature.Config{
				Scheme: "ed25519", Derive: "whsec", Signature: place("x-signature-ed25519"),
				Timestamp: signature.Timestamp{From: "header", Names: []string{"x-signature-timestamp"}}, Message: []string{"timestamp", "body"},
			}), edPublic), private: edPrivate, body: own,
		},
		{name: "jwt, as Easyship", config: secret(timed(signature.Config{Scheme: "jwt", Signature: place("X-EASYSHIP-SIGNATURE")}), "a secret"), body: own},
		{
			name: "jwt in the query", config: secret(timed(signature.Config{
				Scheme: "jwt", Algorithms: []signature.Algorithm{signature.HS512}, Signature: signature.Place{From: "query", Names: []string{"jwt"}},
			}), "a secret"), body: own,
		},
		{
			name: "jwt by rsa", config: timed(signature.Config{
				Scheme: "jwt", Algorithms: []signature.Algorithm{signature.RS256}, Signature: signature.Place{Names: []string{"authorization"}, Prefix: "Bearer "},
				JWKS: "https://keys.example.com/jwks", Claims: map[string]string{"aud": "us", "exp": ""},
			}), private: rsaKey(), body: own,
		},
		{name: "static_header", config: secret(signature.Config{Scheme: "static_header", Signature: place("x-api-key")}, "it's a secret"), body: own},
		{name: "basic", config: secret(signature.Config{Scheme: "basic"}, "user:pass word"), body: own},
		{name: "bearer", config: secret(signature.Config{Scheme: "bearer"}, "a-secret"), body: own},
		{name: "query_token", config: secret(signature.Config{Scheme: "query_token", Signature: place("token")}, "a secret & more=%"), body: own},
	}
}

// rsaKey makes the RSA key of all tests once, because that takes long.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// arguments returns the flags that the sender's commands need.
func (s *sample) arguments(t *testing.T) []string {
	t.Helper()
	if s.private == nil {
		return s.flags
	}
	der, err := x509.MarshalPKCS8PrivateKey(s.private)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := append([]string{"--private-key", path}, s.flags...)
	if s.config.JWKS != "" {
		flags = append(flags, "--key-id", "rsa-1")
	}
	return flags
}

// verifying returns the settings by which the sender's requests are verified.
func (s *sample) verifying(t *testing.T) signature.Config {
	t.Helper()
	c := s.config
	if c.JWKS == "" {
		return c
	}
	public := rsaKey().PublicKey
	document := fmt.Appendf(nil, `{"keys":[{"kty":"RSA","kid":"rsa-1","n":%q,"e":%q}]}`,
		base64.RawURLEncoding.EncodeToString(public.N.Bytes()), base64.RawURLEncoding.EncodeToString(big.NewInt(int64(public.E)).Bytes()))
	keys, err := jwks.NewSource(jwks.Config{
		Load:  func(context.Context) ([]byte, error) { return document, nil },
		Every: time.Hour, Retry: time.Minute, MaxAge: 24 * time.Hour, Now: time.Now,
	})
	if err == nil {
		err = keys.Refresh(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	c.Keys = keys
	return c
}

// verifier is a stand-in for an appliance that verifies signatures by package
// signature and takes whatever is sent.
type verifier struct {
	*httptest.Server
	scheme    *signature.Scheme
	canonical bool // takes canonical events only
	mu        sync.Mutex
	taken     []*arrived
}

// arrived is a request with its body, as package signature reads it.
type arrived struct {
	*http.Request
	body []byte
}

func (a *arrived) Header(name string) (value []byte, count int) {
	if name == "host" {
		return []byte(a.Host), 1
	}
	values := a.Request.Header.Values(name)
	if len(values) > 0 {
		value = []byte(strings.TrimSpace(values[0]))
	}
	return value, len(values)
}

func (a *arrived) Body() []byte { return a.body }

func (a *arrived) Method() []byte { return []byte(a.Request.Method) }

func (a *arrived) Query() []byte { return []byte(a.URL.RawQuery) }

func (a *arrived) Path() []byte {
	path, _, _ := strings.Cut(a.RequestURI, "?")
	return []byte(path)
}

func newVerifier(t *testing.T, c signature.Config) *verifier {
	t.Helper()
	scheme, err := signature.New(c)
	if err != nil {
		t.Fatal(err)
	}
	p := &verifier{scheme: scheme}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *verifier) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a := &arrived{r, body}
	if fault := p.fault(r, body); fault != "" {
		w.WriteHeader(http.StatusUnauthorized)
		_ = json.NewEncoder(w).Encode(map[string]any{"acknowledged": false, "errorCode": "INVALID_SIGNATURE", "detail": fault})
		return
	}
	var e event.Event
	if p.canonical && len(payload.DecodeCanonical(body, &e, nil)) > 0 {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"acknowledged":false,"errorCode":"INVALID_PAYLOAD"}`)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken = append(p.taken, a)
	w.WriteHeader(http.StatusAccepted)
	fmt.Fprint(w, `{"acknowledged":true}`)
}

// fault says what is wrong with a request's signature.
func (p *verifier) fault(r *http.Request, body []byte) string {
	if _, err := p.scheme.Verify(&arrived{r, body}, time.Now()); err != nil {
		return err.Error()
	}
	return ""
}

// received returns what was taken since it was last called.
func (p *verifier) received() []*arrived {
	p.mu.Lock()
	defer p.mu.Unlock()
	taken := p.taken
	p.taken = nil
	return taken
}
