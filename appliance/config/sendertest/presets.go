package sendertest

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ingest/payload"
	"github.com/fincart/courier-gateway/ingest/signature"
	"github.com/fincart/courier-gateway/ingest/signature/jwks"
)

// Preset is a preset with the courier that it makes.
type Preset struct {
	config.Preset
	Courier config.Courier
}

// Presets returns every preset with the courier that a configuration makes of it.
func Presets(t testing.TB) map[string]Preset {
	t.Helper()
	all, err := config.Presets()
	if err != nil {
		t.Fatal(err)
	}
	document := ""
	for name := range all {
		document += fmt.Sprintf("[couriers.%s]\npreset = %q\n", name, name)
	}
	l := Load(t, document)
	if err := l.Err(); err != nil {
		t.Fatal(err)
	}
	tables := map[string]Preset{}
	for name, p := range all {
		tables[name] = Preset{Preset: p, Courier: l.Couriers[name]}
	}
	return tables
}

// Load reads a configuration, which may have faults.
func Load(t testing.TB, document string) config.Loaded {
	t.Helper()
	path := filepath.Join(t.TempDir(), "appliance.toml")
	if err := os.WriteFile(path, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := config.Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// RSAKeys makes the key pair of the senders that sign by RSA, and another one.
var RSAKeys = sync.OnceValue(func() (pair [2]*rsa.PrivateKey) {
	for i := range pair {
		var err error
		if pair[i], err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			panic(err)
		}
	}
	return pair
})

// Complete returns the settings with what an operator adds: the secret n, 0 or 1, of its
// kind. Where the keys come from a JWKS, they are those of [RSAKeys].
func Complete(t testing.TB, c signature.Config, n int) signature.Config {
	t.Helper()
	if c.JWKS != "" {
		key := RSAKeys()[n]
		c.Keys, c.PrivateKey = keysOf(t, key), &signature.PrivateKey{ID: "key-1", Key: key}
		return c
	}
	text := [...]string{"a secret of 24 bytes, 01", "a secret of 24 bytes, 02"}[n]
	switch {
	case c.Scheme == "basic":
		text = "user:" + text
	case c.Scheme == "standard-webhooks" || c.Scheme == "svix":
		text = "whsec_" + base64.StdEncoding.EncodeToString([]byte(text))
	case c.Derive == "hex":
		text = [...]string{"00ff10ab", "00ff10ac"}[n]
	case c.Derive == "base64":
		text = base64.StdEncoding.EncodeToString([]byte(text))
	}
	c.Secrets = []signature.Secret{{ID: "key-1", Key: []byte(text)}}
	return c
}

// keysOf returns a source that has loaded the public part of a key.
func keysOf(t testing.TB, key *rsa.PrivateKey) *jwks.Source {
	t.Helper()
	document, err := json.Marshal(map[string]any{"keys": []map[string]string{{
		"kty": "RSA", "use": "sig", "kid": "key-1", "n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	source, err := jwks.NewSource(jwks.Config{
		Load:  func(context.Context) ([]byte, error) { return document, nil },
		Every: time.Hour, Retry: time.Minute, MaxAge: 24 * time.Hour, Now: func() time.Time { return SignedAt },
	})
	if err == nil {
		err = source.Refresh(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// SignedAt is when every request of these tests was signed and received.
var SignedAt = time.Date(2026, 3, 3, 10, 0, 0, 0, time.UTC)

// Compile compiles a courier with the secret n of [Complete].
func Compile(t testing.TB, c *config.Courier, n int) (*signature.Scheme, *payload.Decoder) {
	t.Helper()
	scheme, err := signature.New(Complete(t, c.SignatureSettings(), n))
	if err != nil {
		t.Fatal(err)
	}
	decoder, err := payload.NewDecoder(c.Event)
	if err != nil {
		t.Fatal(err)
	}
	return scheme, decoder
}
