package signature

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/fincart/courier-gateway/ingest/signature/jwks"
)

// key is a secret or public key, ready to verify with.
type key struct {
	id                  string
	notBefore, notAfter time.Time
	verifier
}

// verifier is the part of a key that depends on its kind.
type verifier interface {
	// verifies reports whether one of the given signatures is by this key over the
	// message. How long it takes does not depend on which byte differs.
	verifies(in *input) bool
}

func (k *key) valid(now time.Time) bool {
	return (k.notBefore.IsZero() || !now.Before(k.notBefore)) && (k.notAfter.IsZero() || !now.After(k.notAfter))
}

// KeyInfo is what may be shown of a secret.
type KeyInfo struct {
	ID                  string
	NotBefore, NotAfter time.Time // zero for no bound
}

// KeyInfos returns the scheme's secrets, in their order; none where the keys come
// from a JWKS.
func (s *Scheme) KeyInfos() []KeyInfo {
	infos := make([]KeyInfo, len(s.keys))
	for i, k := range s.keys {
		infos[i] = KeyInfo{ID: k.id, NotBefore: k.notBefore, NotAfter: k.notAfter}
	}
	return infos
}

var (
	tooEarly = &Failure{Kind: NotYetValid, text: "the signature is by a secret that is not valid yet"}
	tooLate  = &Failure{Kind: Expired, text: "the signature is by a secret that is no longer valid"}
)

// outside returns the failure of a key that matches at the wrong time.
func (k *key) outside(now time.Time) *Failure {
	if now.Before(k.notBefore) {
		return tooEarly
	}
	return tooLate
}

// macKey signs by an HMAC.
type macKey struct {
	pools []*sync.Pool // of *digest, one for each algorithm
}

func newMACKey(raw []byte, algorithms []*algorithm) *macKey {
	k := &macKey{}
	for _, a := range algorithms {
		k.pools = append(k.pools, &sync.Pool{New: func() any { return a.newMAC(raw) }})
	}
	return k
}

func (k *macKey) verifies(in *input) bool {
	pool := k.pools[in.algorithm.index]
	mac := pool.Get().(*digest)
	sum, same := mac.of(in.parts), false
	for _, g := range in.given {
		same = hmac.Equal(sum, g.bytes) || same
	}
	pool.Put(mac)
	return same
}

// edKey verifies ed25519.
type edKey struct{ public ed25519.PublicKey }

func (k *edKey) verifies(in *input) bool {
	return slices.ContainsFunc(in.given, func(g given) bool {
		return len(g.bytes) == ed25519.SignatureSize && ed25519.Verify(k.public, in.whole(), g.bytes)
	})
}

// rsaKey verifies RSA with PKCS#1 v1.5 padding.
type rsaKey jwks.Public

func (k *rsaKey) verifies(in *input) bool {
	return slices.ContainsFunc(in.given, func(g given) bool {
		return rsa.VerifyPKCS1v15(k.Key, in.algorithm.hash, in.hashed(), g.bytes) == nil
	})
}

// Costly reports whether verifying a request takes some ten times as long as an HMAC of
// a short body does: by public keys.
func (s *Scheme) Costly() bool {
	return s.source != nil || slices.ContainsFunc(s.keys, func(k key) bool {
		switch k.verifier.(type) {
		case *edKey, *rsaKey:
			return true
		default:
			return false
		}
	})
}

// tokenKey is a credential that the request shows. Hashes are compared, so that
// not even the length leaks.
type tokenKey struct{ sum [sha256.Size]byte }

func (k *tokenKey) verifies(in *input) bool {
	sum := sha256.Sum256(in.given[0].bytes)
	return subtle.ConstantTimeCompare(sum[:], k.sum[:]) == 1
}

// pairedField is the index of the field of standard-webhooks that holds ed25519
// signatures; HMACs are in field 0. Their lengths distinguish the two.
const pairedField = 1

// newKey makes a key of a secret. Problem says what is wrong with it, without
// giving it away.
func (c *Config) newKey(form keyForm, s Secret, algorithms []*algorithm) (k key, problem string) {
	k = key{id: s.ID, notBefore: s.NotBefore, notAfter: s.NotAfter}
	if len(s.Key) == 0 {
		return k, "must not be empty"
	}
	if form == tokenKeys || form == basicKeys {
		k.verifier = &tokenKey{sha256.Sum256(s.Key)}
		return k, credentialProblem(form, s.Key)
	}
	raw, problem := c.derive(s.Key, form)
	switch {
	case problem != "":
		return k, problem
	case form == edKeys || form == pairKeys && bytes.HasPrefix(s.Key, []byte(publicPrefix)):
		if len(raw) != ed25519.PublicKeySize {
			return k, "is no ed25519 public key, which has 32 bytes"
		}
		k.verifier = &edKey{raw}
	default:
		k.verifier = newMACKey(raw, algorithms)
	}
	return k, ""
}

func credentialProblem(form keyForm, text []byte) string {
	switch {
	case form == basicKeys && !bytes.Contains(text, []byte(":")):
		return `must be "user:password"`
	case len(bytes.TrimSpace(text)) != len(text):
		return "starts or ends with white space, which no request can carry"
	default:
		return ""
	}
}

// Prefixes of the keys of Standard Webhooks.
const (
	secretPrefix  = "whsec_"
	publicPrefix  = "whpk_"
	privatePrefix = "whsk_"
)

// derive makes the raw key of a secret's text, as the config says. The result
// shares no memory with the text.
func (c *Config) derive(text []byte, form keyForm) (raw []byte, problem string) {
	if c.Normalize == "nfkd" {
		if !utf8.Valid(text) {
			return nil, "is not valid UTF-8, so it can't be normalised"
		}
		text = norm.NFKD.Bytes(text)
	}
	var ok bool
	switch c.Derive {
	case "hex":
		if raw, ok = newCodec(Hex).appendDecoded(nil, text); !ok {
			return nil, "is not hex"
		}
	case "base64":
		raw, ok = decodeBase64(text)
	case "whsec":
		if bytes.HasPrefix(text, []byte(privatePrefix)) {
			return nil, "is a private key: the receiver needs the public one, which starts with " + publicPrefix
		}
		prefix := secretPrefix
		if form == edKeys || form == pairKeys && bytes.HasPrefix(text, []byte(publicPrefix)) {
			prefix = publicPrefix
		}
		raw, ok = decodeBase64(bytes.TrimPrefix(text, []byte(prefix)))
	default:
		raw, ok = slices.Clone(text), true
	}
	switch {
	case !ok:
		return nil, "is not base64"
	case len(raw) == 0:
		return nil, "is empty once it is decoded"
	default:
		return raw, ""
	}
}

// decodeBase64 reads either alphabet.
func decodeBase64(text []byte) (raw []byte, ok bool) {
	e := Base64
	if strings.ContainsAny(string(text), "-_") {
		e = Base64URL
	}
	return newCodec(e).appendDecoded(nil, text)
}
