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
	Doubled                        // it is there more than once
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
	keyID, fail := in.verify()
	in.reset()
	s.inputs.Put(in)
	if fail != nil {
		return "", fail
	}
	return keyID, nil
}

// verify reads what the scheme reads of a request, and finds the key that signed.
func (in *input) verify() (keyID string, fail *Failure) {
	if fail = in.read(in.scheme.family.before); fail != nil {
		return "", fail
	}
	if keyID, fail = in.findKey(); fail != nil {
		return "", fail
	}
	return keyID, in.read(in.scheme.family.after)
}

func (in *input) read(steps []step) *Failure {
	for i := range steps {
		if fail := steps[i].read(in); fail != nil {
			return fail
		}
	}
	return nil
}

// findKey finds the key that signed. Keys outside their time are tried too, last,
// so that the failure can say so.
func (in *input) findKey() (keyID string, fail *Failure) {
	keys, fail := in.candidates()
	if fail != nil {
		return "", fail
	}
	for i := range keys {
		if k := &keys[i]; k.valid(in.now) && k.verifies(in) {
			return k.id, nil
		}
	}
	for i := range keys {
		if k := &keys[i]; !k.valid(in.now) && k.verifies(in) {
			return "", k.outside(in.now)
		}
	}
	return "", in.scheme.mismatch
}

var (
	noKeys     = &Failure{Kind: NoKeys, text: "the sender's public keys can't be had at the moment; send it again"}
	unknownKey = &Failure{Kind: UnknownKey, text: "the signature is by a key that is not among the sender's public keys"}
)

// candidates returns the keys that may have signed: those of the JWKS for an RSA
// signature and the secrets for any other, never both.
func (in *input) candidates() ([]key, *Failure) {
	s := in.scheme
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
