// Package signature verifies by whom a request was sent. In come a [Request] and the
// time, out comes the id of the key that signed it, or a [Failure]. Beside Verify is the
// Sign that a sender would perform, and both take the signed bytes from the same place.
//
// A scheme is data. One model, [Config], spells out how a sender signs:
//
//	hmac, ed25519      a signature in a header, a member of the body or the query,
//	rsa                over a message of parts, with or without a timestamp
//	jwt                a token of its own, signed by HMAC or RSA
//	static_header      a secret that is shown, not used: nothing of the
//	basic, bearer      request is bound to it
//	query_token
//
// Four schemes have names of their own and need no settings but secrets:
//
//	gateway            x-signature            hex HMAC
//	                   x-signature-timestamp  Unix seconds
//	                   x-signature-algorithm  hmac-sha256 | hmac-sha512
//	                   signed                 timestamp + "." + body
//	gateway-body       the same without the timestamp; signed is the body
//	standard-webhooks  webhook-id, webhook-timestamp, webhook-signature, or the
//	                   same with svix-: v1 by HMAC, v1a by ed25519
//	                   signed                 id + "." + timestamp + "." + body
//	svix               the same, svix- first: of either, the first three that are
//	                   all there count
//
// The intake verifies with it, commands and the load generator sign with it. Verifying
// does no I/O and reads no clock. The public keys of a JWKS are kept by a
// [jwks.Source], which is kept fresh outside of this package.
package signature

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/signature/jwks"
	"github.com/fincart/courier-gateway/ingest/signature/values"
)

// Scheme is one sender's way of signing, compiled from a [Config]. It is
// immutable and safe for concurrent use.
type Scheme struct {
	name    string
	family  *family
	config  Config // complete, its secrets included
	binding Binding

	algorithms []*algorithm // allowed, the preferred first
	codecs     []codec      // of the signature, the preferred first
	separator  []byte       // of the signature's fields
	parts      []part       // of the message
	claims     []claim      // that a token must have
	keys       []key        // the first that is valid signs
	source     *jwks.Source // of RSA keys; nil for none
	inputs     *sync.Pool   // of *input

	signature, algorithm, keyID, timestamp source
	noField, tooMany, noPrefix             *Failure
	badAlgorithm                           *Failure // of a token
	tooOld, tooNew, mismatch               *Failure
}

// New compiles a scheme. Its error is an [event.Faults], which lists every fault of the
// config, by its keys, as in "secrets[1].id". It keeps nothing of the config's memory
// but Keys and PrivateKey.
func New(c Config) (*Scheme, error) {
	f := familyOf(c.Scheme)
	if f == nil {
		var out event.Faults
		oneOf(&out, "scheme", c.Scheme, Names()...)
		out.Check(len(c.Secrets) > 0, "secrets", "at least one secret is needed")
		return nil, out
	}
	full := f.complete(c)
	if faults := c.faults(f, &full); len(faults) > 0 {
		return nil, faults
	}
	s := &Scheme{name: c.Scheme, family: f, config: full.clone(), source: full.Keys}
	s.compile()
	return s, nil
}

// compile fills in what follows from the config, which has no faults.
func (s *Scheme) compile() {
	c := &s.config
	for i, a := range c.Algorithms {
		s.algorithms = append(s.algorithms, newAlgorithm(a, i))
	}
	for _, e := range c.Encodings {
		s.codecs = append(s.codecs, newCodec(e))
	}
	for _, secret := range c.Secrets {
		k, _ := c.newKey(s.family.keys, secret, s.algorithms)
		s.keys = append(s.keys, k)
	}
	if s.family.signs() {
		s.parts = newParts(c.Message)
	}
	s.claims = newClaims(c.Claims)
	s.separator = []byte(c.Signature.Separator)
	s.inputs = &sync.Pool{New: func() any { return &input{scheme: s} }}
	s.binding = s.bind()
	s.prepareFailures()
}

// prepareFailures makes every failure beforehand.
func (s *Scheme) prepareFailures() {
	c := &s.config
	s.signature = newSource(c.Signature.From, c.Signature.Names, Malformed, s.signatureForm())
	s.algorithm = newSource("header", []string{c.AlgorithmHeader}, WrongAlgorithm, "names an algorithm that is not allowed")
	s.keyID = newSource("header", []string{c.KeyIDHeader}, Malformed, "can't be read")
	s.timestamp = source{from: "none"}
	if c.Timestamp.From != "none" {
		s.timestamp = newSource(c.Timestamp.From, c.Timestamp.Names, Malformed, "is not a time "+values.UnitNames[c.Timestamp.Unit])
	}
	what := s.signature.what
	s.noField = &Failure{Kind: Missing, text: what + " has no signature " + strings.Join(c.Signature.Fields, " or ")}
	s.tooMany = &Failure{Kind: Malformed, text: fmt.Sprintf("%s has more than %d signatures, or %d for public keys", what, maxSignatures, maxVerifications)}
	s.noPrefix = &Failure{Kind: Malformed, text: what + " does not start with " + c.Signature.Prefix + s.family.word}
	s.tooOld = &Failure{Kind: TooOld, text: "the timestamp is more than " + c.TolerancePast.String() + " in the past"}
	s.tooNew = &Failure{Kind: TooNew, text: "the timestamp is more than " + c.ToleranceFuture.String() + " in the future"}
	s.mismatch = &Failure{Kind: Mismatch, text: "the signature does not match the body and the secret"}
	switch s.family.keys {
	case tokenKeys, basicKeys:
		s.mismatch = &Failure{Kind: Mismatch, text: what + " does not hold what is expected"}
	case jwtKeys:
		s.badAlgorithm = &Failure{Kind: WrongAlgorithm, text: what + " is signed by an algorithm that is not allowed"}
		s.mismatch = &Failure{Kind: Mismatch, text: "the token's signature does not match the secret"}
		s.tooOld = &Failure{Kind: TooOld, text: "the token has expired"}
		s.tooNew = &Failure{Kind: TooNew, text: "the token is from the future"}
	default: // a signature over a message
	}
}

// signatureForm says what a signature that can't be read is not.
func (s *Scheme) signatureForm() string {
	switch s.family.keys {
	case jwtKeys:
		return "is not a JSON web token that can be used here"
	case basicKeys:
		return "is not the base64 of user:password"
	case tokenKeys:
		return "can't be read"
	case rsaKeys:
		return "is not " + s.config.encodings()
	default:
		return "is not a " + s.config.encodings() + " digest of its algorithm's length"
	}
}

// encodings names the encodings of the signature, for people.
func (c *Config) encodings() string {
	names := make([]string, len(c.Encodings))
	for i, e := range c.Encodings {
		names[i] = string(e)
	}
	return strings.Join(names, " or ")
}

// clone returns a copy that shares no memory with c but its keys.
func (c *Config) clone() Config {
	d := *c
	d.Secrets = slices.Clone(c.Secrets)
	for i := range d.Secrets {
		d.Secrets[i].Key = slices.Clone(d.Secrets[i].Key)
	}
	d.Algorithms, d.Encodings, d.Message = slices.Clone(c.Algorithms), slices.Clone(c.Encodings), slices.Clone(c.Message)
	d.Signature.Names, d.Signature.Fields = slices.Clone(c.Signature.Names), slices.Clone(c.Signature.Fields)
	d.Timestamp.Names = slices.Clone(c.Timestamp.Names)
	return d
}

// Name returns the scheme's name, as it is in the config.
func (s *Scheme) Name() string { return s.name }

// Binding returns how much of a request the scheme's signature covers.
func (s *Scheme) Binding() Binding { return s.binding }

// String names the scheme; it hides the secrets from a careless log line.
func (s *Scheme) String() string { return s.name }

// GoString is [Scheme.String].
func (s *Scheme) GoString() string { return s.name }
