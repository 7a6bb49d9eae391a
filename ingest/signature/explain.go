package signature

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fincart/courier-gateway/ingest/signature/values"
)

// Explanation is what [Scheme.Verify] does with a request, step by step, for
// people who wonder why it was refused. It holds no secret and no signature that
// would be right, only parts of what the request itself says.
type Explanation struct {
	Scheme   string   `json:"scheme"`
	Binding  Binding  `json:"binding"`
	Steps    []Step   `json:"steps"`
	Accepted bool     `json:"accepted"`
	KeyID    string   `json:"keyId,omitempty"`  // of the key that signed
	Reason   string   `json:"reason,omitempty"` // the [Kind] of the failure
	Detail   string   `json:"detail,omitempty"` // the failure as the answer says it
	Hints    []string `json:"hints,omitempty"`  // settings with which the request would pass
}

// Step is one thing that was read or tried.
type Step struct {
	Name   string `json:"name"` // such as "signature", "secret k1" or "public key k1"
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// Explain does what [Scheme.Verify] does, and describes it. Unlike that it goes on
// after a failure as far as it can.
func (s *Scheme) Explain(r Request, now time.Time) Explanation {
	e := Explanation{Scheme: s.name, Binding: s.binding}
	in := &input{scheme: s, request: r, now: now}
	complete := e.read(in, s.family.before)
	if complete && e.try(in) {
		e.read(in, s.family.after)
	}
	keyID, err := s.Verify(r, now)
	e.KeyID, e.Accepted = keyID, err == nil
	if fail, ok := errors.AsType[*Failure](err); ok {
		e.Reason, e.Detail = fail.Kind.String(), fail.text
		if fail.Kind == Mismatch || fail.Kind == Malformed {
			e.Hints = s.hints(r, now)
		}
	}
	return e
}

// read runs steps and reports whether the keys can be tried after them.
func (e *Explanation) read(in *input, steps []step) (complete bool) {
	complete = true
	for _, st := range steps {
		fail := st.read(in)
		detail := st.describe(in)
		switch {
		case fail == nil:
		case fail.Kind == Missing || fail.Kind == Doubled:
			complete, detail = false, fail.text
		default:
			complete = complete && (fail.Kind == TooOld || fail.Kind == TooNew)
			detail = strings.TrimPrefix(detail+"; "+fail.text, "; ")
		}
		if detail != "" {
			e.Steps = append(e.Steps, Step{Name: st.name, OK: fail == nil, Detail: detail})
		}
	}
	return complete
}

// try tries every key and reports whether one matches.
func (e *Explanation) try(in *input) (matched bool) {
	keys, fail := in.candidates()
	if fail != nil {
		e.Steps = append(e.Steps, Step{Name: "keys", Detail: fail.text})
		return false
	}
	for i := range keys {
		k := &keys[i]
		valid, signed := k.valid(in.now), k.verifies(in)
		detail := k.period() + "; it is not by this one"
		if signed {
			detail = k.period() + "; it is by this one"
		}
		e.Steps = append(e.Steps, Step{Name: k.noun() + " " + k.id, OK: valid && signed, Detail: detail})
		matched = matched || signed
	}
	return matched
}

// noun says what a key is.
func (k *key) noun() string {
	switch k.verifier.(type) {
	case *macKey, *tokenKey:
		return "secret"
	default:
		return "public key"
	}
}

// period says when a key counts.
func (k *key) period() string {
	from, to := k.notBefore.UTC().Format(time.RFC3339), k.notAfter.UTC().Format(time.RFC3339)
	switch {
	case k.notBefore.IsZero() && k.notAfter.IsZero():
		return "counts at any time"
	case k.notAfter.IsZero():
		return "counts from " + from
	case k.notBefore.IsZero():
		return "counts until " + to
	default:
		return "counts from " + from + " until " + to
	}
}

func describeAlgorithm(in *input) string {
	s := in.scheme
	switch {
	case in.algorithm == nil:
		return ""
	case s.config.AlgorithmHeader == "":
		return string(in.algorithm.name) + ", by the settings"
	default:
		return string(in.algorithm.name)
	}
}

// describeCredential says nothing of the credential but its length: it may be a
// secret, or nearly one.
func describeCredential(in *input) string {
	s := in.scheme
	text, fail := s.signature.read(in)
	if fail != nil {
		return ""
	}
	return fmt.Sprintf("%s has %d characters", s.signature.what, len(text))
}

func describeSignature(in *input) string {
	s := in.scheme
	text, fail := s.signature.read(in)
	if fail != nil {
		return ""
	}
	start := s.redact(text)
	start = start[:min(len(start), startBytes)]
	description := fmt.Sprintf("%s has %d characters and starts with %s", s.signature.what, len(text), s.safe(start))
	for _, g := range in.given {
		description += fmt.Sprintf("; a signature of %d bytes", len(g.bytes))
		if fields := s.config.Signature.Fields; len(fields) > 0 {
			description += " in " + fields[g.field]
		}
	}
	if s.family.keys == jwtKeys && in.algorithm != nil {
		description += " by " + string(in.algorithm.name)
	}
	return description
}

func describeKeyID(in *input) string {
	s := in.scheme
	if in.keyID == nil {
		return ""
	}
	return s.safe(in.keyID)
}

func describeTimestamp(in *input) string {
	s := in.scheme
	at, ok := values.ParseTime(s.config.Timestamp.Unit, in.timestamp)
	switch {
	case len(in.timestamp) == 0:
		return ""
	case !ok:
		return s.safe(in.timestamp)
	}
	age, side := in.now.Sub(at), "in the past"
	if age < 0 {
		age, side = -age, "in the future"
	}
	return fmt.Sprintf("%s is %s, %v %s", s.safe(in.timestamp), at.UTC().Format(time.RFC3339Nano), age.Round(time.Millisecond), side)
}

func describeMessage(in *input) string {
	s := in.scheme
	timeless := len(in.timestamp) == 0 && s.timestamp.from != "none"
	if len(in.parts) < len(s.parts) || timeless {
		return ""
	}
	return fmt.Sprintf("%d bytes are signed: %s", len(in.whole()), s.safe(in.whole()))
}

func describeClaims(in *input) string { return in.scheme.safe(in.segment(in.claims)) }

const (
	// startBytes is how much is shown of a signature.
	startBytes = 8
	// headBytes and tailBytes are how much is shown of a message.
	headBytes = 320
	tailBytes = 80
)

// safe returns b as printable text in quotes, without secrets, and without its
// middle when it is long.
func (s *Scheme) safe(b []byte) string {
	b = s.redact(b)
	if len(b) <= headBytes+tailBytes {
		return strconv.QuoteToASCII(string(b))
	}
	left := len(b) - headBytes - tailBytes
	return fmt.Sprintf("%s ... %d bytes ... %s", strconv.QuoteToASCII(string(b[:headBytes])), left, strconv.QuoteToASCII(string(b[len(b)-tailBytes:])))
}

// redact takes the secrets out of b.
func (s *Scheme) redact(b []byte) []byte {
	for text := range s.SecretTexts {
		b = bytes.ReplaceAll(b, text, []byte("(hidden)"))
	}
	return b
}
