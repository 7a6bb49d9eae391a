package signature

import (
	"crypto/hmac"
	"encoding/hex"
	"slices"
	"time"
)

// Kind is the closed list of reasons for which a signature is refused.
type Kind uint8

// The kinds of failure.
const (
	Missing        Kind = iota + 1 // a header is absent or empty
	Doubled                        // a header stands there more than once
	Malformed                      // a header can't be read
	WrongAlgorithm                 // the sender may not use this algorithm
	Mismatch                       // no secret leads to this signature
	TooOld                         // the timestamp is beyond the tolerance into the past
	TooNew                         // the timestamp is beyond the tolerance into the future
)

// Failure says why a request was refused: which kind, never which byte. It is
// safe to show to the sender.
type Failure struct {
	Kind Kind
	text string
}

func (f *Failure) Error() string { return f.text }

var mismatch = &Failure{Kind: Mismatch, text: "the signature does not match the body and the secret"}

// source is a header that a scheme reads, with its failures made beforehand so
// that refusing costs no allocation.
type source struct {
	header           string
	missing, doubled *Failure
	refused          *Failure // for a value that won't do
}

func newSource(header string, refused Kind, why string) source {
	return source{
		header:  header,
		missing: &Failure{Kind: Missing, text: "header " + header + " is missing"},
		doubled: &Failure{Kind: Doubled, text: "header " + header + " occurs more than once"},
		refused: &Failure{Kind: refused, text: "header " + header + " " + why},
	}
}

func (s *source) read(r Request) ([]byte, *Failure) {
	value, count := r.Header(s.header)
	switch {
	case count > 1:
		return nil, s.doubled
	case len(value) == 0:
		return nil, s.missing
	default:
		return value, nil
	}
}

// Verify returns the id of the secret with which r was signed. Its error is a
// [*Failure]. The cheap checks come first; comparing digests takes the same time
// whichever byte differs. It does not allocate and keeps nothing of r.
func (s *Scheme) Verify(r Request, now time.Time) (keyID string, err error) {
	a, fail := s.readAlgorithm(r)
	if fail != nil {
		return "", fail
	}
	var digest [maxDigest]byte
	want := digest[:a.size()]
	if fail = s.readSignature(r, want); fail != nil {
		return "", fail
	}
	timestamp, fail := s.readTimestamp(r, now)
	if fail != nil {
		return "", fail
	}
	for _, k := range s.keys {
		m := k.macs[a].Get().(*mac)
		same := hmac.Equal(m.digest(&s.recipe, timestamp, r.Body()), want)
		k.macs[a].Put(m)
		if same {
			return k.id, nil
		}
	}
	return "", mismatch
}

// readAlgorithm returns the algorithm that r names. A sender that may use only
// one need not name it.
func (s *Scheme) readAlgorithm(r Request) (Algorithm, *Failure) {
	name, fail := s.algorithm.read(r)
	if fail != nil {
		if fail.Kind == Missing && len(s.algorithms) == 1 {
			return s.algorithms[0], nil
		}
		return "", fail
	}
	i := slices.IndexFunc(s.algorithms, func(a Algorithm) bool { return string(a) == string(name) })
	if i < 0 {
		return "", s.algorithm.refused
	}
	return s.algorithms[i], nil
}

// readSignature decodes the signature, which has to fill digest.
func (s *Scheme) readSignature(r Request, digest []byte) *Failure {
	text, fail := s.signature.read(r)
	if fail != nil {
		return fail
	}
	if len(text) != hex.EncodedLen(len(digest)) {
		return s.signature.refused
	}
	if _, err := hex.Decode(digest, text); err != nil {
		return s.signature.refused
	}
	return nil
}

// readTimestamp returns the timestamp as it was sent, once it is known to lie
// within the tolerance; nil when the scheme has none.
func (s *Scheme) readTimestamp(r Request, now time.Time) ([]byte, *Failure) {
	if s.recipe.timestamp == "" {
		return nil, nil
	}
	text, fail := s.timestamp.read(r)
	if fail != nil {
		return nil, fail
	}
	seconds, ok := parseSeconds(text)
	if !ok {
		return nil, s.timestamp.refused
	}
	switch age := now.Sub(time.Unix(seconds, 0)); {
	case age > s.past:
		return nil, s.tooOld
	case age < -s.future:
		return nil, s.tooNew
	default:
		return text, nil
	}
}

// parseSeconds reads up to 18 decimal digits, which can't overflow.
func parseSeconds(text []byte) (seconds int64, ok bool) {
	if len(text) == 0 || len(text) > 18 {
		return 0, false
	}
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		seconds = seconds*10 + int64(c-'0')
	}
	return seconds, true
}
