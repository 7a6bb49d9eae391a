// Package jwks keeps the public RSA keys of a sender: a JSON Web Key Set (RFC 7517) comes in
// from a file or an address, out come the keys that a signature may be by. A [Source] holds
// them in memory and [Source.Run] keeps them fresh, so that verifying waits for nothing.
// Package signature looks keys up; the wiring of the appliance makes and runs the sources.
package jwks

import (
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
)

const (
	// maxKeys bounds a JWKS, because a signature that names no key is tried
	// against all of them.
	maxKeys = 16
	// Bounds of an RSA modulus, in bits.
	minModulus = 2048
	maxModulus = 8192
)

// Public is one key of a JWKS.
type Public struct {
	ID  string // fit to print, see [ValidID]
	Key *rsa.PublicKey
}

// keySet is a JWKS ready to verify with; it never changes.
type keySet struct {
	all    []*Public
	byID   map[string][]*Public
	loaded time.Time
}

// jwk is one key, as far as it is read. Private members are ignored.
type jwk struct {
	Type       string   `json:"kty"`
	ID         string   `json:"kid"`
	Use        string   `json:"use"`
	Operations []string `json:"key_ops"`
	Algorithm  string   `json:"alg"`
	Modulus    string   `json:"n"`
	Exponent   string   `json:"e"`
}

// parse reads a key set. Keys that are not for RSA signatures, or whose size
// is out of bounds, are passed over, as the RFC demands.
func parse(document []byte) (*keySet, error) {
	var doc struct {
		Keys *[]jwk `json:"keys"`
	}
	if err := json.Unmarshal(document, &doc); err != nil {
		return nil, fmt.Errorf("it is no JSON of the right form: %w", err)
	}
	if doc.Keys == nil {
		return nil, fmt.Errorf("it has no member keys")
	}
	if len(*doc.Keys) > maxKeys {
		return nil, fmt.Errorf("it has %d keys, at most %d are possible", len(*doc.Keys), maxKeys)
	}
	set := &keySet{byID: map[string][]*Public{}}
	for _, j := range *doc.Keys {
		if public := j.rsa(); public != nil {
			k := &Public{ID: publicID(j.ID), Key: public}
			set.all = append(set.all, k)
			set.byID[j.ID] = append(set.byID[j.ID], k)
		}
	}
	return set, nil
}

// rsa returns the key, nil when it is not for RSA signatures or out of bounds.
func (j *jwk) rsa() *rsa.PublicKey {
	if j.Type != "RSA" || j.Use != "" && j.Use != "sig" || j.Algorithm != "" && !strings.HasPrefix(j.Algorithm, "RS") ||
		j.Operations != nil && !slices.Contains(j.Operations, "verify") {
		return nil
	}
	n, errN := base64.RawURLEncoding.DecodeString(j.Modulus)
	e, errE := base64.RawURLEncoding.DecodeString(j.Exponent)
	modulus, exponent := new(big.Int).SetBytes(n), new(big.Int).SetBytes(e)
	if errN != nil || errE != nil || modulus.BitLen() < minModulus || modulus.BitLen() > maxModulus || modulus.Bit(0) == 0 ||
		exponent.BitLen() < 2 || exponent.BitLen() > 31 || exponent.Bit(0) == 0 {
		return nil
	}
	return &rsa.PublicKey{N: modulus, E: int(exponent.Int64())}
}

// publicID returns the name by which envelopes and logs call a public key: its
// own id when that is fit to print, and a digest of it when not.
func publicID(id string) string {
	if ValidID(id) {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "jwk-" + hex.EncodeToString(sum[:8])
}

// ValidID reports whether id is safe as a header value and a metrics label: 1 to 64
// characters of a-z, A-Z, 0-9, ".", "-" and "_".
func ValidID(id string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"
	return id != "" && len(id) <= 64 && strings.Trim(id, allowed) == ""
}
