package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
)

// Algorithm names a keyed hash, as the algorithm header does.
type Algorithm string

// The algorithms.
const (
	SHA256 Algorithm = "hmac-sha256"
	SHA512 Algorithm = "hmac-sha512"
)

// Algorithms lists every algorithm, the preferred first.
var Algorithms = []Algorithm{SHA256, SHA512}

// maxDigest is the length of the longest digest, in bytes.
const maxDigest = sha512.Size

func (a Algorithm) size() int {
	if a == SHA512 {
		return sha512.Size
	}
	return sha256.Size
}

// recipe is a scheme as data: in which headers its pieces stand, and of which
// parts the signed message is made.
type recipe struct {
	name      string
	signature string // header with the digest, in hex of either case
	algorithm string // header that names the algorithm
	timestamp string // header with the time in Unix seconds; "" for none
	message   []part
}

// part is one stretch of the signed message.
type part struct {
	kind    partKind
	literal []byte // for literalPart
}

type partKind uint8

const (
	literalPart   partKind = iota
	timestampPart          // the timestamp, exactly as the header has it
	bodyPart
)

// recipes lists every scheme.
var recipes = []recipe{
	{
		name:      "gateway",
		signature: "x-signature", algorithm: "x-signature-algorithm", timestamp: "x-signature-timestamp",
		message: []part{{kind: timestampPart}, {kind: literalPart, literal: []byte(".")}, {kind: bodyPart}},
	},
	{
		name:      "gateway-body",
		signature: "x-signature", algorithm: "x-signature-algorithm",
		message: []part{{kind: bodyPart}},
	},
}

// Names lists the names of all schemes.
func Names() []string {
	names := make([]string, len(recipes))
	for i, r := range recipes {
		names[i] = r.name
	}
	return names
}

// mac is a keyed hash with room for its result.
type mac struct {
	hash.Hash
	sum []byte
}

func (a Algorithm) newMAC(key []byte) *mac {
	h := sha256.New
	if a == SHA512 {
		h = sha512.New
	}
	return &mac{Hash: hmac.New(h, key), sum: make([]byte, 0, a.size())}
}

// digest returns the keyed hash of the message that r prescribes. It is the one
// place that knows the signed bytes. The result is valid until m is used again.
func (m *mac) digest(r *recipe, timestamp, body []byte) []byte {
	m.Reset()
	for i := range r.message {
		switch p := &r.message[i]; p.kind {
		case literalPart:
			m.Write(p.literal)
		case timestampPart:
			m.Write(timestamp)
		case bodyPart:
			m.Write(body)
		}
	}
	m.sum = m.Sum(m.sum[:0])
	return m.sum
}
