// Package signature proves who sent a request. In comes a [Request] and the
// time, out comes the id of the secret that signed it, or a [Failure]. Beside
// each Verify stands the Sign that a sender would perform, and both take the
// signed bytes from the same place:
//
//	gateway       x-signature            hex HMAC
//	              x-signature-timestamp  Unix seconds
//	              x-signature-algorithm  hmac-sha256 | hmac-sha512
//	              signed                 timestamp + "." + body
//
//	gateway-body  x-signature            hex HMAC
//	              x-signature-algorithm  hmac-sha256 | hmac-sha512
//	              signed                 body
//
// It is a leaf: the intake verifies with it, commands and the load generator
// sign with it. It does no I/O and reads no clock.
package signature

import (
	"crypto/rand"
	"slices"
	"sync"
	"time"
)

// Request is what a scheme reads of a request. It is an interface so that a
// request on the wire and one captured in a file can be verified alike.
type Request interface {
	// Header returns the first value of a header, without surrounding white
	// space, and how often the header occurs. The name is in lower case; the
	// match must ignore case.
	Header(name string) (value []byte, count int)
	// Body returns the body as it was sent.
	Body() []byte
}

// Header is one header of a signed request.
type Header struct{ Name, Value string }

// Scheme is one sender's way of signing, compiled from a [Config]. It is
// immutable and safe for concurrent use.
type Scheme struct {
	recipe     recipe
	algorithms []Algorithm // allowed, the preferred first
	keys       []*key      // all live; the first one signs
	past       time.Duration
	future     time.Duration

	signature, algorithm, timestamp source
	tooOld, tooNew                  *Failure
}

// key is one secret, ready to compute with.
type key struct {
	id   string
	macs map[Algorithm]*sync.Pool // of *mac; one entry for each allowed algorithm
}

// New compiles a scheme. Its error is an [Invalid], which lists every fault of
// the config.
func New(c Config) (*Scheme, error) {
	if faults := c.faults(); len(faults) > 0 {
		return nil, faults
	}
	s := &Scheme{
		recipe:     recipes[slices.IndexFunc(recipes, func(r recipe) bool { return r.name == c.Scheme })],
		algorithms: slices.Clone(c.Algorithms),
		past:       c.TolerancePast,
		future:     c.ToleranceFuture,
	}
	if len(s.algorithms) == 0 {
		s.algorithms = slices.Clone(Algorithms)
	}
	for _, secret := range c.Secrets {
		s.keys = append(s.keys, s.newKey(secret))
	}
	s.signature = newSource(s.recipe.signature, Malformed, "is not a hex digest of its algorithm's length")
	s.algorithm = newSource(s.recipe.algorithm, WrongAlgorithm, "names an algorithm that is not allowed")
	s.timestamp = newSource(s.recipe.timestamp, Malformed, "is not a time in Unix seconds")
	s.tooOld = &Failure{Kind: TooOld, text: "the timestamp is more than " + c.TolerancePast.String() + " in the past"}
	s.tooNew = &Failure{Kind: TooNew, text: "the timestamp is more than " + c.ToleranceFuture.String() + " in the future"}
	return s, nil
}

func (s *Scheme) newKey(secret Secret) *key {
	k := &key{id: secret.ID, macs: make(map[Algorithm]*sync.Pool, len(s.algorithms))}
	raw := slices.Clone(secret.Key)
	for _, a := range s.algorithms {
		k.macs[a] = &sync.Pool{New: func() any { return a.newMAC(raw) }}
	}
	return k
}

// Name returns the scheme's name, as it stands in the config.
func (s *Scheme) Name() string { return s.recipe.name }

// Dummy returns a scheme that does the same work as s and accepts nothing,
// because its keys are random and nobody has seen them. With it, a request for
// a sender that does not exist takes as long as one with a wrong signature.
func (s *Scheme) Dummy() *Scheme {
	d := *s
	d.keys = nil
	for _, k := range s.keys {
		raw := make([]byte, 32)
		_, _ = rand.Read(raw) // never fails, see crypto/rand
		d.keys = append(d.keys, d.newKey(Secret{ID: k.id, Key: raw}))
	}
	return &d
}
