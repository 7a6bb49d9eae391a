package signature

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestSignRequestPutsTheSignatureInItsPlace(t *testing.T) {
	t.Parallel()
	secret := []Secret{{ID: "k", Key: []byte("key")}}
	for _, tc := range []struct {
		name   string
		config Config
		draft  Draft
		want   string
	}{
		{"header", of("github"), Draft{Body: []byte("{}")},
			`[{x-hub-signature-256 sha256=a777724d943eb48dc69bca8a4a6d57a04db3f9ec7e1de4e581e860265bdf3032}] "" {}`},
		{"query", Config{Scheme: "query_token", Signature: Place{Names: []string{"a b"}}}, Draft{Body: []byte("x")}, `[] "a+b=key" x`},
		{"static header", of("bosta, aymakan, delhivery, shiprocket"), Draft{}, `[{x-api-key key}] "" `},
		{"bearer", Config{Scheme: "bearer"}, Draft{}, `[{authorization Bearer key}] "" `},
		{"fields", stripelike("S"), Draft{}, `[{s t=1772107200,v1=`},
		{"member", of("lalamove"), Draft{Path: "/p", Body: []byte(`{"data":1}`)}, `[] "" {"signature":"`},
		{"members that are there", of("lalamove"), Draft{Path: "/p", Body: []byte(`{"timestamp":0,"data":1,"signature":""}`)}, `[] "" {"timestamp":1772107200,"data":1,"signature":"`},
		{"id that is made up", timed(Config{Scheme: "standard-webhooks"}), Draft{Body: []byte("{}")},
			`[{webhook-timestamp 1772107200} {webhook-id msg_44136fa355b3678a1146ad16} {webhook-signature v1,`},
		{"id that is given", timed(Config{Scheme: "standard-webhooks"}), Draft{Headers: headers("Svix-Id", "evt_1")}, `[{svix-timestamp 1772107200} {svix-signature v1,`},
	} {
		c := tc.config
		c.Secrets = secret
		if c.Scheme == "standard-webhooks" {
			c.Secrets = []Secret{{ID: "k", Key: []byte("whsec_a2V5")}}
		}
		out, err := compile(t, c).SignRequest(tc.draft, noon)
		got := fmt.Sprintf("%v %q %s", out.Headers, out.Query, out.Body)
		if err != nil || !strings.HasPrefix(got, tc.want) {
			t.Errorf("%s: got %s, %v; want %s", tc.name, got, err, tc.want)
		}
	}
}

func TestSignRequestFails(t *testing.T) {
	t.Parallel()
	later := []Secret{{ID: "k", Key: []byte("key"), NotBefore: noon.Add(time.Second)}}
	edPublic := []Secret{{ID: "k", Key: []byte(publicPrefix + base64.StdEncoding.EncodeToString(edKeyOf("x").Public().(ed25519.PublicKey)))}}
	with := func(c Config, secrets []Secret, private crypto.Signer) *Scheme {
		c.Secrets = secrets
		if private != nil {
			c.PrivateKey = &PrivateKey{Key: private}
		}
		return compile(t, c)
	}
	keys := keySource(t, jwksOf("new"))
	rsaConfig := Config{Scheme: "rsa", Signature: Place{Names: []string{"s"}}, Keys: keys}
	for _, tc := range []struct {
		name   string
		scheme *Scheme
		body   string
		want   string
	}{
		{"secret too early", with(of("github"), later, nil), "{}", "no secret is valid at 2026-02-26T12:00:00Z"},
		{"credential too early", with(Config{Scheme: "bearer"}, later, nil), "{}", "no secret is valid"},
		{"token too early", with(of("easyship"), later, nil), "{}", "no secret is valid"},
		{"no private key", with(rsaConfig, nil, nil), "{}", "signing needs the private key"},
		{"a private key of another type", with(rsaConfig, nil, edKeyOf("x")), "{}", "can't sign here"},
		{"public key alone", with(timed(Config{Scheme: "standard-webhooks"}), edPublic, nil), "{}", "signing needs the private key"},
		{"no place in the body", with(of("lalamove"), []Secret{{ID: "k", Key: []byte("key")}}, nil), "[]", "no JSON object"},
		{"a member is missing", with(of("lalamove"), []Secret{{ID: "k", Key: []byte("key")}}, nil), "{}", "member data of the body is missing"},
	} {
		out, err := tc.scheme.SignRequest(Draft{Body: []byte(tc.body)}, noon)
		if err == nil || !strings.Contains(err.Error(), tc.want) || out.Headers != nil || out.Body != nil {
			t.Errorf("%s: got %v, %v; want %s", tc.name, out, err, tc.want)
		}
		if errors.Is(err, ErrNoPrivateKey) != strings.Contains(tc.want, "needs the private key") {
			t.Errorf("%s: %v", tc.name, err)
		}
		if h := tc.scheme.Sign([]byte(tc.body), noon); h != nil {
			t.Errorf("%s: Sign returns %v", tc.name, h)
		}
	}
}

func TestAlgorithmsOf(t *testing.T) {
	t.Parallel()
	for _, name := range append(Names(), "rot13") {
		for _, a := range AlgorithmsOf(name) {
			c := config(name)
			c.Algorithms = []Algorithm{a}
			_, err := New(c)
			if err != nil && strings.Contains(err.Error(), "algorithms: ") || err != nil && strings.Contains(err.Error(), "is none of") {
				t.Errorf("%s does not know %s: %v", name, a, err)
			}
		}
	}
	for name, want := range map[string]int{"hmac": 5, "jwt": 4, "rsa": 3, "gateway": 2, "standard-webhooks": 0, "ed25519": 0, "bearer": 0, "rot13": 0} {
		if got := AlgorithmsOf(name); len(got) != want {
			t.Errorf("%s knows %v", name, got)
		}
	}
	AlgorithmsOf("gateway")[0] = "changed"
	if gatewayAlgorithms[0] != HMACSHA256 {
		t.Error("a caller has changed the list")
	}
}

func TestSignRequestChangesNothingOfTheDraft(t *testing.T) {
	t.Parallel()
	for _, s := range senders() {
		before := string(payload)
		d := Draft{Path: "/p", Headers: make([]Header, 1, 8), Body: []byte(before)}
		d.Headers[0] = Header{Name: "webhook-id", Value: "x"}
		out, err := s.signer(t, "new").SignRequest(d, noon)
		if err != nil || string(d.Body) != before || len(out.Headers) > 0 && &out.Headers[0] == &d.Headers[:2][1] {
			t.Errorf("%s: %v, the draft's body is %s", s.name, err, d.Body)
		}
		if d.Headers[:2][1] != (Header{}) {
			t.Errorf("%s: the draft's headers are %v", s.name, d.Headers[:2])
		}
	}
}

func TestParsePrivateKey(t *testing.T) {
	t.Parallel()
	rsaKey, edKey := rsaPair()[0], edKeyOf("x")
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8 := func(key any) string {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	for _, tc := range []struct {
		name, text string
		want       crypto.Signer
	}{
		{"RSA, PKCS#8", pkcs8(rsaKey), rsaKey},
		{"RSA, PKCS#1", "\n" + string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)})), rsaKey},
		{"ed25519, PKCS#8", pkcs8(edKey), edKey},
		{"whsk_ with a seed", "whsk_" + base64.StdEncoding.EncodeToString(edKey.Seed()) + "\n", edKey},
		{"whsk_ with both halves", "whsk_" + base64.RawStdEncoding.EncodeToString(edKey), edKey},
		{"whsk_ cut short", "whsk_c2VjcmV0", nil},
		{"whsk_ of something else", "whsk_!!!", nil},
		{"another type", pkcs8(ecKey), nil},
		{"a public key", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("c2VjcmV0")})), nil},
		{"no key", "c2VjcmV0", nil},
		{"nothing", "", nil},
	} {
		got, err := ParsePrivateKey([]byte(tc.text))
		same := false
		switch want := tc.want.(type) {
		case *rsa.PrivateKey:
			same = err == nil && want.Equal(got)
		case interface{ Equal(crypto.PrivateKey) bool }:
			same = err == nil && want.Equal(got)
		case nil:
			same = err != nil && !strings.Contains(err.Error(), "c2VjcmV0")
		}
		if !same {
			t.Errorf("%s: got %T, %v", tc.name, got, err)
		}
	}
}
