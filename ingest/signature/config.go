package signature

import (
	"crypto"
	"time"

	"github.com/fincart/courier-gateway/ingest/signature/jwks"
)

// DefaultTolerance is how far a timestamp may lie from the present, in either
// direction, unless a sender's settings say otherwise.
const DefaultTolerance = 5 * time.Minute

// TokenTolerance is how long a token counts after it has expired, and before its time,
// unless the settings say otherwise: clocks differ.
const TokenTolerance = time.Minute

// Config is one sender's settings, as plain data: a preset is one, and a file can
// spell one out. What is left empty has the default that its comment names.
// Settings that mean nothing to the scheme, or contradict each other, are faults.
type Config struct {
	Scheme string `koanf:"scheme"` // one of [Names]

	// Algorithms that the sender may use, the preferred first. For hmac and rsa:
	// sha256 (the default), sha512, sha1. For jwt: HS256 (the default), HS384,
	// HS512, RS256. For gateway and gateway-body: hmac-sha256 and hmac-sha512,
	// by default both. An hmac- name means the same to hmac.
	Algorithms []Algorithm `koanf:"algorithms"`
	// AlgorithmHeader names the algorithm, spelt as in Algorithms. It is needed
	// when there are several; when there is one, the sender may leave it out.
	AlgorithmHeader string `koanf:"algorithm_header"`
	AllowSHA1       bool   `koanf:"allow_sha1"` // consents to sha1, which is broken for everything but HMAC

	Encodings []Encoding `koanf:"encodings"` // of the signature, tried in this order; [hex] by default
	Signature Place      `koanf:"signature"`

	Timestamp Timestamp `koanf:"timestamp"`
	// TolerancePast and ToleranceFuture bound the timestamp's distance from the
	// present, or, for jwt, extend its claims exp, and nbf and iat. Both are
	// positive where there is a timestamp, and zero where there is none.
	// gateway-body ignores them.
	TolerancePast   time.Duration `koanf:"tolerance_past"`
	ToleranceFuture time.Duration `koanf:"tolerance_future"`

	// Message is what is signed, part by part; [body] by default. The parts:
	//
	//	literal:TEXT  the text itself
	//	timestamp     the timestamp, exactly as it was sent
	//	header:NAME   a header; of "header:a|b" the first that the request has
	//	method        as sent, such as POST
	//	path          as sent, without the query
	//	path:NAME     a header, which must be that path, with or without the query
	//	body          every byte of it
	//	json:NAME     a member of the body, as its raw JSON; "a.b" is b in a
	Message []string `koanf:"message"`

	// Derive makes a key of a secret's text: utf8 (the default) takes its bytes,
	// base64 (either alphabet) and hex decode it, and whsec decodes base64 with or
	// without whsec_ in front of it or, for a public key, whpk_.
	Derive string `koanf:"derive"`
	// Normalize changes the secret's text before that: none (the default), or
	// nfkd, which is Unicode's compatibility decomposition.
	Normalize string `koanf:"normalize"`

	// KeyIDHeader names the key of the JWKS that signed. Without it every key is
	// tried. A jwt has its own, the member kid.
	KeyIDHeader string `koanf:"key_id_header"`
	JWKS        string `koanf:"jwks"` // where Keys come from, see [jwks.Loader]

	// Claims that a jwt must have, with their values; an empty value asks only
	// that the claim is there. A list has a value when one of its items is it.
	Claims map[string]string `koanf:"claims"`

	// Secrets are all live, each in its time, so that they can be rotated. At
	// least one; none where the keys come from a JWKS.
	Secrets []Secret `koanf:"-"`
	// Keys are the public keys of rsa, and of jwt with RS256. The caller
	// keeps the source fresh.
	Keys *jwks.Source `koanf:"-"`
	// PrivateKey signs for rsa, ed25519, RS256 and standard-webhooks v1a. It is
	// for tests and tools: verifying needs none.
	PrivateKey *PrivateKey `koanf:"-"`
}

// Place says where the signature, token or credential is, and in which form.
type Place struct {
	From string `koanf:"from"` // header (the default), json: a member of the body, or query: a parameter of the address
	// Names of the header: the first that the request has counts. A member
	// ("a.b" is b in a) and a parameter have one name.
	Names  []string `koanf:"names"`
	Prefix string   `koanf:"prefix"` // text before the value, such as "sha256="
	// PrefixOptional accepts values without the prefix, too.
	PrefixOptional bool `koanf:"prefix_optional"`
	// Format is plain (the default), fields ("t=1772107200,v1=ab") or tagged
	// ("v1,ab v2,cd"). In the latter two every signature of the listed fields is
	// tried, up to 64 (8 of those for public keys), and other fields don't matter.
	Format    string   `koanf:"format"`
	Fields    []string `koanf:"fields"`
	Separator string   `koanf:"separator"` // between fields: "," (the default) or ";"
}

// Timestamp says where the time of signing is.
type Timestamp struct {
	From  string   `koanf:"from"`  // none (the default), header, field: of a signature with fields, or json: a member of the body
	Names []string `koanf:"names"` // like those of a [Place]
	Unit  string   `koanf:"unit"`  // s (the default) and ms since 1970, rfc3339, or rfc2822: "Thu, 26 Feb 2026 12:00:00 +0000"
}

// Secret is a shared secret, or for ed25519 a public key, and the name by which
// logs and envelopes call it.
type Secret struct {
	ID  string // 1 to 64 characters of a-z, A-Z, 0-9, ".", "-" and "_"
	Key []byte // its text; at least one byte. For basic it is "user:password".

	// NotBefore and NotAfter bound when it counts, both included. Zero is no bound.
	NotBefore, NotAfter time.Time
}

// String names the secret without giving it away.
func (s Secret) String() string { return s.ID + ":hidden" }

// GoString is [Secret.String], for the %#v of a careless log line.
func (s Secret) GoString() string { return s.String() }

// PrivateKey is a key that signs, see [ParsePrivateKey].
type PrivateKey struct {
	ID  string        // the key id that the signature names; may be empty
	Key crypto.Signer // RSA or ed25519
}

// String names the key without giving it away.
func (k PrivateKey) String() string { return k.ID + ":hidden" }

// GoString is [PrivateKey.String].
func (k PrivateKey) GoString() string { return k.String() }
