package signature

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/signature/jwks"
)

// captured is a request as a file would hold it.
type captured struct {
	method, path, query string
	headers             []Header
	body                []byte
}

func (c *captured) Header(name string) (value []byte, count int) {
	for _, h := range c.headers {
		if strings.EqualFold(h.Name, name) {
			if count == 0 {
				value = []byte(strings.TrimSpace(h.Value))
			}
			count++
		}
	}
	return value, count
}

func (c *captured) Body() []byte   { return c.body }
func (c *captured) Method() []byte { return []byte(c.method) }
func (c *captured) Path() []byte   { return []byte(c.path) }
func (c *captured) Query() []byte  { return []byte(c.query) }

// set replaces the values of a header; none removes it.
func (c *captured) set(name string, values ...string) {
	var kept []Header
	for _, h := range c.headers {
		if !strings.EqualFold(h.Name, name) {
			kept = append(kept, h)
		}
	}
	for _, v := range values {
		kept = append(kept, Header{Name: name, Value: v})
	}
	c.headers = kept
}

// swap replaces a text wherever the request has it.
func (c *captured) swap(old, now string) {
	for i := range c.headers {
		c.headers[i].Value = strings.Replace(c.headers[i].Value, old, now, 1)
	}
	c.query = strings.Replace(c.query, url.QueryEscape(old), url.QueryEscape(now), 1)
	c.body = []byte(strings.Replace(string(c.body), old, now, 1))
}

// signed returns body signed by s, as it is sent.
func signed(t testing.TB, s *Scheme, body []byte, at time.Time) *captured {
	t.Helper()
	d := Draft{Method: "POST", Path: "/v1/events/courier/acme", Body: body}
	out, err := s.SignRequest(d, at)
	if err != nil {
		t.Fatal(err)
	}
	return &captured{method: d.Method, path: d.Path, query: out.Query, headers: out.Headers, body: out.Body}
}

var (
	noon = time.Unix(1772107200, 0)
	body = []byte(`{"eventId":"evt_123"}`)
)

// config returns good settings of a scheme that needs none but secrets.
func config(scheme string) Config {
	return Config{
		Scheme:        scheme,
		Secrets:       []Secret{{ID: "new", Key: []byte("s3cret-new")}, {ID: "old", Key: []byte("s3cret-old")}},
		TolerancePast: DefaultTolerance, ToleranceFuture: time.Minute,
	}
}

func compile(t testing.TB, c Config) *Scheme {
	t.Helper()
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// expect checks an answer of Verify; no kind is acceptance.
func expect(t *testing.T, id string, err error, wantID string, want Kind) {
	t.Helper()
	if want == 0 {
		if id != wantID || err != nil {
			t.Errorf("got %q, %v, want acceptance by %q", id, err, wantID)
		}
		return
	}
	if f, ok := errors.AsType[*Failure](err); !ok || f.Kind != want || id != "" {
		t.Errorf("got %q, %v, want a failure: %v", id, err, want)
	}
}

// rsaPair makes the key pairs of all tests once, because that takes long.
var rsaPair = sync.OnceValue(func() (pair [2]*rsa.PrivateKey) {
	for i := range pair {
		var err error
		if pair[i], err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			panic(err)
		}
	}
	return pair
})

// edKeyOf returns a private key that depends on the name alone.
func edKeyOf(name string) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, name)
	return ed25519.NewKeyFromSeed(seed)
}

// jwksOf returns the key set of the test keys with these ids.
func jwksOf(ids ...string) []byte {
	var keys []map[string]string
	for i, id := range ids {
		public := rsaPair()[i].PublicKey
		keys = append(keys, map[string]string{
			"kty": "RSA", "use": "sig", "alg": "RS256", "kid": id,
			"n": base64.RawURLEncoding.EncodeToString(public.N.Bytes()),
			"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(public.E)).Bytes()),
		})
	}
	document, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		panic(err)
	}
	return document
}

// keySource returns a source that has loaded the document at noon.
func keySource(t testing.TB, document []byte) *jwks.Source {
	t.Helper()
	k, err := jwks.NewSource(jwks.Config{
		Load:  func(context.Context) ([]byte, error) { return document, nil },
		Every: time.Hour, Retry: time.Minute, MaxAge: 24 * time.Hour, Now: func() time.Time { return noon },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return k
}
