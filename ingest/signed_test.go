package ingest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/signature"
	"github.com/fincart/courier-gateway/ingest/signature/jwks"
)

// TestEveryPieceOfARequestCanBeSigned signs all that a request has, and sends it
// as couriers do.
func TestEveryPieceOfARequestCanBeSigned(t *testing.T) {
	t.Parallel()
	s, err := signature.New(signature.Config{
		Scheme:    "hmac",
		Signature: signature.Place{From: "query", Names: []string{"sig nature"}},
		Message:   []string{"method", "path", "header:X-Event", "json:payload", "body"},
		Secrets:   []signature.Secret{{ID: "k1", Key: []byte("s")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	f := start(t, nil)
	f.set(t, Courier{Name: "all", Scheme: s})
	const path = "/v1/events/courier/all"
	out, err := s.SignRequest(signature.Draft{
		Path: path, Headers: []signature.Header{{Name: "x-event", Value: "evt_123"}}, Body: []byte(goodBody),
	}, noon)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, query, event string
		want               int
	}{
		{"as signed", "a=b&" + out.Query, "evt_123", 202},
		{"as signed, the name spelt another way", strings.Replace(out.Query, "sig+nature", "sig%20natur%65", 1), "evt_123", 202},
		{"another header", out.Query, "evt_124", 401},
		{"no signature", "", "evt_123", 401},
		{"two signatures", out.Query + "&" + out.Query, "evt_123", 401},
	} {
		r, err := http.NewRequest(http.MethodPost, "http://"+f.addr+path+"?"+tc.query, strings.NewReader(string(out.Body)))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Event", tc.event)
		if a := send(t, r); a.StatusCode != tc.want {
			t.Errorf("%s: answered %d %s, want %d", tc.name, a.StatusCode, a.body, tc.want)
		}
	}
}

// keyless returns a scheme whose public keys can't be had, for the header x-s.
func keyless(t testing.TB) *signature.Scheme {
	t.Helper()
	keys, err := jwks.NewSource(jwks.Config{
		Load:  func(context.Context) ([]byte, error) { return nil, errors.New("no answer") },
		Every: time.Hour, Retry: time.Minute, MaxAge: 2 * time.Hour, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := signature.New(signature.Config{Scheme: "rsa", Signature: signature.Place{Names: []string{"x-s"}}, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMissingPublicKeysAreOurFault(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.set(t, Courier{Name: "rsa", Scheme: keyless(t)})
	r := f.request(f.demo, "/v1/events/courier/rsa", goodBody)
	r.Header.Set("X-S", strings.Repeat("ab", 256))
	a := send(t, r)
	if d := a.document(t); a.StatusCode != 503 || d.ErrorCode != "INTAKE_UNAVAILABLE" || a.Header.Get("Retry-After") == "" {
		t.Errorf("answered %d %s, Retry-After %q", a.StatusCode, a.body, a.Header.Get("Retry-After"))
	}
}
