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

// TestMask holds for every sender: nothing of what it sends, and nothing that
// holds one of its secrets, shows a secret after it.
func TestMask(t *testing.T) {
	t.Parallel()
	for _, s := range senders() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			scheme := compile(t, s.verifier(t, "new", "old"))
			if text := slices.Clone(payload); scheme.Mask(text) || !bytes.Equal(text, payload) {
				t.Errorf("made %s of what holds no secret", text)
			}
			for _, secret := range scheme.config.Secrets {
				key := string(secret.Key)
				before := key + "," + key + key + `{"a":"` + key + `"}` + key[1:]
				text := []byte(before)
				masked := scheme.Mask(text)
				public := s.config.Scheme == "ed25519"
				if masked == public || public != (string(text) == before) || len(text) != len(before) || !public && bytes.Contains(text, secret.Key) {
					t.Errorf("made %s of %s", text, before)
				}
			}
		})
	}
}

func TestMaskSparesPublicKeys(t *testing.T) {
	t.Parallel()
	public := publicPrefix + "SGVsbG8gSGVsbG8gSGVsbG8gSGVsbG8gSGVsbG8gMTI="
	s := compile(t, timed(Config{Scheme: "standard-webhooks", Secrets: []Secret{
		{ID: "shared", Key: []byte("whsec_c2VjcmV0c2VjcmV0")}, {ID: "public", Key: []byte(public)},
	}}))
	text := []byte(public + " whsec_c2VjcmV0c2VjcmV0 c2VjcmV0c2VjcmV0")
	if want := public + " whsec_**************** ****************"; !s.Mask(text) || string(text) != want {
		t.Errorf("got %s, want %s", text, want)
	}
}
