package signature

import (
	"crypto"
	"crypto/hmac"
	_ "crypto/sha1" // for those who consent to it
	_ "crypto/sha256"
	_ "crypto/sha512"
	"hash"
	"sync"
)

// Algorithm names how signatures are made, as configs and algorithm headers
// spell it.
type Algorithm string

// The algorithms.
const (
	SHA256     Algorithm = "sha256"
	SHA512     Algorithm = "sha512"
	SHA1       Algorithm = "sha1"
	HMACSHA256 Algorithm = "hmac-sha256"
	HMACSHA512 Algorithm = "hmac-sha512"
	HS256      Algorithm = "HS256"
	HS384      Algorithm = "HS384"
	HS512      Algorithm = "HS512"
	RS256      Algorithm = "RS256"
)

// gatewayAlgorithms are those of the gateway schemes, the preferred first.
var gatewayAlgorithms = []Algorithm{HMACSHA256, HMACSHA512}

// hash returns the hash that a uses.
func (a Algorithm) hash() crypto.Hash {
	switch a {
	case SHA1:
		return crypto.SHA1
	case HS384:
		return crypto.SHA384
	case SHA512, HMACSHA512, HS512:
		return crypto.SHA512
	default:
		return crypto.SHA256
	}
}

// algorithm is an Algorithm that a scheme may use, ready to compute with.
type algorithm struct {
	name   Algorithm
	index  int // among the scheme's
	hash   crypto.Hash
	hashes sync.Pool // of *digest, without a key
}

func newAlgorithm(name Algorithm, index int) *algorithm {
	a := &algorithm{name: name, index: index, hash: name.hash()}
	a.hashes.New = func() any { return newDigest(a.hash.New()) }
	return a
}

// digest is a hash, keyed or not, with memory for its result.
type digest struct {
	hash.Hash
	sum []byte
}

func newDigest(h hash.Hash) *digest {
	return &digest{Hash: h, sum: make([]byte, 0, h.Size())}
}

func (a *algorithm) newMAC(key []byte) *digest {
	return newDigest(hmac.New(a.hash.New, key))
}

// of returns the hash over all parts. The result is valid until d is used again.
func (d *digest) of(parts [][]byte) []byte {
	d.Reset()
	for _, p := range parts {
		d.Write(p)
	}
	d.sum = d.Sum(d.sum[:0])
	return d.sum
}
