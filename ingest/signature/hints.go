package signature

import (
	"bytes"
	"slices"
	"strings"
	"time"
)

// variant is a way in which settings are often wrong.
type variant struct {
	about  string // which setting; of those about the same, the first that helps is a hint
	says   string // what holds when the request passes with it
	change func(*Config)
	body   func([]byte) []byte // nil for none
}

var variants = []variant{
	{"body", "the body was signed without its final line break", nil, func(b []byte) []byte { return bytes.TrimRight(b, "\r\n") }},
	{"body", "the body was signed with a line break at its end", nil, func(b []byte) []byte { return append(slices.Clone(b), '\n') }},
	{"secret", "the secret has white space around it that does not belong to it", trimSecrets, nil},
	{"derive", `the secret is used as it is: derive = "utf8"`, derived("utf8", "none"), nil},
	{"derive", `the secret has to be normalised: normalize = "nfkd"`, derived("utf8", "nfkd"), nil},
	{"derive", `the secret has to be decoded: derive = "hex"`, derived("hex", "none"), nil},
	{"derive", `the secret has to be decoded: derive = "base64"`, derived("base64", "none"), nil},
	{"derive", `the secret has to be decoded: derive = "whsec"`, derived("whsec", "none"), nil},
	{"message", `only the body is signed: message = ["body"]`, func(c *Config) {
		c.Message, c.Timestamp, c.TolerancePast, c.ToleranceFuture = []string{"body"}, Timestamp{}, 0, 0
	}, nil},
	{"message", `the message is another: message = ["timestamp", "literal:.", "body"]`, message("timestamp", "literal:.", "body"), nil},
	{"message", `the message is another: message = ["timestamp", "body"]`, message("timestamp", "body"), nil},
	{"encodings", `the encoding is another: encodings = ["hex"]`, func(c *Config) { c.Encodings = []Encoding{Hex} }, nil},
	{"encodings", `the encoding is another: encodings = ["base64"]`, func(c *Config) { c.Encodings = []Encoding{Base64} }, nil},
	{"encodings", `the encoding is another: encodings = ["base64url"]`, func(c *Config) { c.Encodings = []Encoding{Base64URL} }, nil},
	{"algorithms", `the algorithm is another: algorithms = ["sha256"]`, byAlgorithm(SHA256), nil},
	{"algorithms", `the algorithm is another: algorithms = ["sha512"]`, byAlgorithm(SHA512), nil},
	{"algorithms", `the algorithm is another: algorithms = ["sha1"], allow_sha1 = true`, byAlgorithm(SHA1), nil},
	{"prefix", "the signature has no prefix: signature.prefix_optional = true", func(c *Config) { c.Signature.PrefixOptional = c.Signature.Prefix != "" }, nil},
}

func derived(derive, normalize string) func(*Config) {
	return func(c *Config) { c.Derive, c.Normalize = derive, normalize }
}

func message(parts ...string) func(*Config) {
	return func(c *Config) { c.Message = parts }
}

func byAlgorithm(a Algorithm) func(*Config) {
	return func(c *Config) { c.Algorithms, c.AlgorithmHeader, c.AllowSHA1 = []Algorithm{a}, "", a == SHA1 }
}

func trimSecrets(c *Config) {
	for i := range c.Secrets {
		c.Secrets[i].Key = bytes.TrimSpace(c.Secrets[i].Key)
	}
}

// hints tries what is often wrong and says with what the request would pass,
// whatever its time. For schemes by HMAC only.
func (s *Scheme) hints(r Request, now time.Time) (says []string) {
	if s.showsSecret(r) {
		return []string{`the secret itself is where the signature should be: scheme = "static_header"`}
	}
	if s.family.keys != macKeys && s.family.keys != pairKeys {
		return nil
	}
	about := ""
	for i := range variants {
		v := &variants[i]
		if v.about != about && v.passes(s, r, now) {
			about, says = v.about, append(says, v.says)
		}
	}
	return says
}

// passes reports whether a request of the scheme is accepted with the variant.
func (v *variant) passes(s *Scheme, r Request, now time.Time) bool {
	c := s.config.loose()
	if v.change != nil {
		v.change(&c)
	}
	if v.body != nil {
		r = &altered{Request: r, body: v.body(r.Body())}
	}
	scheme, err := New(c)
	if err != nil {
		return false
	}
	_, err = scheme.Verify(r, now)
	return err == nil
}

// showsSecret reports whether the request holds a secret in place of a signature.
func (s *Scheme) showsSecret(r Request) bool {
	text, fail := s.signature.read(&input{scheme: s, request: r})
	return fail == nil && s.family.keys == macKeys && s.signature.from == "header" && slices.ContainsFunc(s.config.Secrets, func(k Secret) bool {
		return bytes.Equal(text, k.Key)
	})
}

// loose returns c as a scheme hmac that takes any time.
func (c *Config) loose() Config {
	d := c.clone()
	if len(familyOf(d.Scheme).ids) > 0 { // Standard Webhooks
		d.Signature.Fields = d.Signature.Fields[:1]
		d.Secrets = slices.DeleteFunc(d.Secrets, func(s Secret) bool { return strings.HasPrefix(string(s.Key), publicPrefix) })
	}
	d.Scheme = "hmac"
	const ever = 100 * 365 * 24 * time.Hour
	d.TolerancePast, d.ToleranceFuture = ever, ever
	if d.Timestamp.From == "none" {
		d.Timestamp, d.TolerancePast, d.ToleranceFuture = Timestamp{}, 0, 0
	}
	return d
}

// altered is a request with another body.
type altered struct {
	Request
	body []byte
}

func (a *altered) Body() []byte { return a.body }
