package signature

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// TestCredential holds for every sender: without its credential a request shows
// nothing, and without any other header than those that it is verified by, as
// much as before.
func TestCredential(t *testing.T) {
	t.Parallel()
	for _, s := range senders() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			scheme := compile(t, s.verifier(t, "new", "old"))
			r := signed(t, s.signer(t, "new"), payload, noon)
			names := scheme.Headers()
			r.headers = slices.DeleteFunc(r.headers, func(h Header) bool { return !slices.Contains(names, strings.ToLower(h.Name)) })
			id, err := scheme.Verify(r, noon)
			expect(t, id, err, "new", 0)

			from, names := scheme.Credential()
			shows := slices.Contains([]string{"jwt", "static_header", "basic", "bearer", "query_token"}, s.config.Scheme)
			if (from != "") != shows || (len(names) > 0) != shows {
				t.Errorf("shows %q in %q", names, from)
			}
			switch from {
			case "header":
				for _, name := range names {
					r.set(name)
				}
			case "query":
				r.query = ""
			default:
				return
			}
			id, err = scheme.Verify(r, noon)
			expect(t, id, err, "", Missing)
		})
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	s := compile(t, timed(Config{
		Scheme: "hmac", Algorithms: []Algorithm{SHA256, SHA512}, AlgorithmHeader: "X-Alg", Signature: Place{Names: []string{"X-Sig", "x-sig-2"}},
		Timestamp: Timestamp{From: "header", Names: []string{"X-At"}}, Message: []string{"header:X-At", "header:B|A", "header:a", "body"},
		Secrets: []Secret{{ID: "k", Key: []byte("s3cret")}},
	}))
	if got, want := s.Headers(), []string{"a", "b", "x-alg", "x-at", "x-sig", "x-sig-2"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestSecretTexts holds for every sender: its secrets are among them, and nothing that is
// public.
func TestSecretTexts(t *testing.T) {
	t.Parallel()
	for _, s := range senders() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			scheme := compile(t, s.verifier(t, "new", "old"))
			texts := slices.Collect(scheme.SecretTexts)
			for _, secret := range scheme.config.Secrets {
				key := bytes.TrimPrefix(secret.Key, []byte(secretPrefix))
				found := slices.ContainsFunc(texts, func(text []byte) bool { return bytes.Equal(text, key) })
				if public := s.config.Scheme == "ed25519"; found == public {
					t.Errorf("%s is there: %v", key, found)
				}
			}
		})
	}
}

func TestPartsThatAreSecret(t *testing.T) {
	t.Parallel()
	public := publicPrefix + "SGVsbG8gSGVsbG8gSGVsbG8gSGVsbG8gSGVsbG8gMTI="
	pair := compile(t, timed(Config{Scheme: "standard-webhooks", Secrets: []Secret{
		{ID: "shared", Key: []byte("whsec_c2VjcmV0c2VjcmV0")}, {ID: "public", Key: []byte(public)},
	}}))
	basic := compile(t, Config{Scheme: "basic", Secrets: []Secret{{ID: "a", Key: []byte("user:password")}, {ID: "b", Key: []byte("user:short")}}})
	for s, want := range map[*Scheme]string{pair: "c2VjcmV0c2VjcmV0 secretsecret", basic: "user:password password user:short"} {
		if got := string(bytes.Join(slices.Collect(s.SecretTexts), []byte(" "))); got != want {
			t.Errorf("%s: %q, want %q", s.config.Scheme, got, want)
		}
	}
}
