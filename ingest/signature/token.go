package signature

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fincart/courier-gateway/ingest/signature/values"
)

// readCredential finds what the request shows in place of a signature.
func (in *input) readCredential() *Failure {
	s := in.scheme
	text, fail := s.signature.read(in)
	if fail != nil {
		return fail
	}
	value, ok := s.config.Signature.cutPrefix(text)
	if s.family.word != "" {
		value, ok = cutWord(text, s.family.word)
	}
	if !ok {
		return s.noPrefix
	}
	if s.family.keys == basicKeys {
		start := len(in.decoded)
		if in.decoded, ok = s.codecs[0].appendDecoded(in.decoded, value); !ok {
			return s.signature.refused
		}
		value = in.decoded[start:]
	}
	in.given = append(in.given, given{0, value})
	return nil
}

// cutWord returns what is behind a word in any case and at least one space
// (RFC 9110, section 11.4).
func cutWord(text []byte, word string) (value []byte, ok bool) {
	first, rest, found := bytes.Cut(text, blank)
	return bytes.TrimLeft(rest, " "), found && strings.EqualFold(string(first), word)
}

// readToken takes a JSON web token (RFC 7519) apart, in its compact form only.
// The algorithm that it names has to be one that the config allows, so there is
// no way to "none", and none from a public key to an HMAC.
func (in *input) readToken() *Failure {
	s := in.scheme
	text, fail := s.signature.read(in)
	if fail != nil {
		return fail
	}
	token, ok := s.config.Signature.cutPrefix(text)
	if !ok {
		return s.noPrefix
	}
	dot := bytes.LastIndexByte(token, '.')
	if bytes.Count(token, stop) != 2 {
		return s.signature.refused
	}
	head, claims, _ := bytes.Cut(token[:dot], stop)
	header, signature := in.segment(head), in.segment(token[dot+1:])
	if len(signature) == 0 || !values.IsObject(header) {
		return s.signature.refused
	}
	if fail = in.readTokenHeader(header); fail != nil {
		return fail
	}
	in.parts = append(in.parts, token[:dot])
	in.given = append(in.given, given{0, signature})
	in.claims = claims // still encoded: they are not read before the token is verified
	return nil
}

var stop = []byte(".")

// segment decodes one part of a token; nil when that can't be done.
func (in *input) segment(text []byte) []byte {
	start := len(in.decoded)
	out, ok := in.scheme.codecs[0].appendDecoded(in.decoded, text)
	if !ok || bytes.IndexByte(text, '=') >= 0 {
		return nil
	}
	in.decoded = out
	return out[start:len(out):len(out)]
}

func (in *input) readTokenHeader(header []byte) *Failure {
	s := in.scheme
	if _, critical := values.Member(header, "crit"); critical > 0 { // extensions that must be understood
		return s.signature.refused
	}
	raw, count := values.Member(header, "alg")
	name, isString := values.Inside(raw)
	decoded, name, ok := values.AppendText(in.decoded, name)
	if count != 1 || !isString {
		return s.signature.refused
	}
	i := slices.IndexFunc(s.algorithms, func(a *algorithm) bool { return ok && string(name) == string(a.name) })
	if i < 0 {
		return s.badAlgorithm
	}
	in.algorithm = s.algorithms[i]
	if raw, count = values.Member(header, "kid"); count == 0 {
		return nil
	}
	id, isString := values.Inside(raw)
	if in.decoded, in.keyID, ok = values.AppendText(decoded, id); count > 1 || !isString || !ok {
		return s.signature.refused
	}
	return nil
}

// claim is something that a token has to claim.
type claim struct {
	name, value string // an empty value asks only for the claim
	wrong       *Failure
}

func newClaims(required map[string]string) []claim {
	var claims []claim
	for _, name := range slices.Sorted(maps.Keys(required)) {
		claims = append(claims, claim{name, required[name],
			&Failure{Kind: WrongClaim, text: "the token's claim " + name + " is missing or has another value"}})
	}
	return claims
}

// checkClaims reads the claims of a token whose signature is valid.
func (in *input) checkClaims() *Failure {
	s := in.scheme
	claims := in.segment(in.claims)
	if !values.IsObject(claims) {
		return s.signature.refused
	}
	for i := range s.claims {
		if !s.claims[i].holds(claims) {
			return s.claims[i].wrong
		}
	}
	expires, okExpires := numericDate(claims, "exp")
	begins, okBegins := numericDate(claims, "nbf")
	issued, okIssued := numericDate(claims, "iat")
	soon := in.now.Add(s.config.ToleranceFuture)
	switch {
	case !okExpires || !okBegins || !okIssued:
		return s.signature.refused
	case !expires.IsZero() && !in.now.Before(expires.Add(s.config.TolerancePast)):
		return s.tooOld
	case begins.After(soon) || issued.After(soon):
		return s.tooNew
	default:
		return nil
	}
}

func (c *claim) holds(claims []byte) bool {
	raw, count := values.Member(claims, c.name)
	var text string
	var list []string
	switch {
	case count != 1:
		return false
	case c.value == "":
		return string(raw) != "null"
	case raw[0] == '"':
		return json.Unmarshal(raw, &text) == nil && text == c.value
	case raw[0] == '[':
		return json.Unmarshal(raw, &list) == nil && slices.Contains(list, c.value)
	default:
		return string(raw) == c.value
	}
}

// numericDate reads a claim in seconds since 1970, whose fraction doesn't count.
// The zero time is none.
func numericDate(claims []byte, name string) (at time.Time, ok bool) {
	raw, count := values.Member(claims, name)
	if count == 0 {
		return at, true
	}
	whole, fraction, dotted := bytes.Cut(raw, stop)
	seconds, ok := values.ParseDigits(whole)
	if dotted && ok {
		ok = len(bytes.Trim(fraction, "0123456789")) == 0
	}
	return time.Unix(seconds, 0), ok && count == 1
}
