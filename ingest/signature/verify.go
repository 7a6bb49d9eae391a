package signature

import (
	"errors"
	"time"

	"github.com/fincart/courier-gateway/ingest/signature/jwks"
)

// Kind is the closed list of reasons for which a signature is refused.
type Kind uint8

// The kinds of failure.
const (
	Missing        Kind = iota + 1 // something that is needed is absent or empty
	Doubled                        // it stands there more than once
	Malformed                      // it can't be read
	WrongAlgorithm                 // the sender may not use this algorithm
	Mismatch                       // no secret leads to this signature
	TooOld                         // the time is beyond the tolerance into the past
	TooNew                         // the time is beyond the tolerance into the future
	NotYetValid                    // it is by a secret that does not count yet
	Expired                        // it is by a secret that no longer counts
	UnknownKey                     // it names a key that the sender's JWKS does not have
	NoKeys                         // the sender's JWKS can't be had: the request may be good, later
	WrongClaim                     // the token is good, but not what it claims
)

var kindNames = [...]string{
	Missing: "missing", Doubled: "doubled", Malformed: "malformed", WrongAlgorithm: "wrong_algorithm", Mismatch: "mismatch",
	TooOld: "too_old", TooNew: "too_new", NotYetValid: "not_yet_valid", Expired: "expired", UnknownKey: "unknown_key",
	NoKeys: "no_keys", WrongClaim: "wrong_claim",
}

// String returns a name for metrics and records.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return ""
}

// Failure says why a request was refused: which kind, never which byte. It is
// safe to show to the sender.
type Failure struct {
	Kind Kind
	text string
}

func (f *Failure) Error() string { return f.text }

// Verify returns the id of the key with which r was signed. Its error is a
// [*Failure]. The cheap checks come first; comparing takes the same time
// whichever byte differs. It keeps nothing of r, and for HMAC it does not
// allocate.
func (s *Scheme) Verify(r Request, now time.Time) (keyID string, err error) {
	in := s.inputs.Get().(*input)
	in.request, in.now = r, now
	keyID, fail := s.judge(in)
	in.reset()
	s.inputs.Put(in)
	if fail != nil {
		return "", fail
	}
	return keyID, nil
}

func (s *Scheme) judge(in *input) (keyID string, fail *Failure) {
	for i := range s.family.before {
		if fail = s.family.before[i].run(s, in); fail != nil {
			return "", fail
		}
	}
	if keyID, fail = s.prove(in); fail != nil {
		return "", fail
	}
	for i := range s.family.after {
		if fail = s.family.after[i].run(s, in); fail != nil {
			return "", fail
		}
	}
	return keyID, nil
}

// prove finds the key that signed. Keys outside their time are tried too, last,
// so that whoever uses one is told so.
func (s *Scheme) prove(in *input) (keyID string, fail *Failure) {
	keys, fail := s.candidates(in)
	if fail != nil {
		return "", fail
	}
	for i := range keys {
		if k := &keys[i]; k.valid(in.now) && k.proves(in) {
			return k.id, nil
		}
	}
	for i := range keys {
		if k := &keys[i]; !k.valid(in.now) && k.proves(in) {
			return "", k.outside(in.now)
		}
	}
	return "", s.mismatch
}

var (
	noKeys     = &Failure{Kind: NoKeys, text: "the sender's public keys can't be had at the moment; send it again"}
	unknownKey = &Failure{Kind: UnknownKey, text: "the signature is by a key that is not among the sender's public keys"}
)

// candidates returns the keys that may have signed: those of the JWKS for an RSA
// signature and the secrets for any other, never both.
func (s *Scheme) candidates(in *input) ([]key, *Failure) {
	if s.family.keys != rsaKeys && (in.algorithm == nil || in.algorithm.name != RS256) {
		return s.keys, nil
	}
	found, err := s.source.Find(in.keyID, in.now)
	switch {
	case errors.Is(err, jwks.ErrUnknown):
		return nil, unknownKey
	case err != nil:
		return nil, noKeys
	}
	for _, public := range found {
		in.public = append(in.public, key{id: public.ID, verifier: (*rsaKey)(public)})
	}
	return in.public, nil
}
