package signature

import (
	"slices"
	"strings"
)

// family is a scheme as data: which settings mean something to it, what its
// secrets are, and what it reads of a request, in order.
type family struct {
	name       string
	algorithms []Algorithm // to choose from, the default first
	settings   []string    // keys of a config; one that ends in "." is all below it
	keys       keyForm     // of its secrets
	before     []step      // read of a request before any key is tried
	after      []step      // read of what a key has signed
	word       string      // in front of a credential, in any case
	ids        []string    // names of the signed id; the other headers have as many, and the id that is there says which count
	fixed      *Config     // what a scheme with a name of its own has in place of settings; nil for none
}

// keyForm is what a secret is used as.
type keyForm uint8

const (
	macKeys   keyForm = iota // key of an HMAC
	edKeys                   // public key of ed25519
	pairKeys                 // either, by the secret's prefix: standard-webhooks
	tokenKeys                // what the request has to show
	basicKeys                // the same, as user:password
	rsaKeys                  // none: the keys come from a JWKS
	jwtKeys                  // key of an HMAC, a JWKS, or both
)

// step is one thing that a scheme reads of a request.
type step struct {
	name     string
	read     func(*input) *Failure
	describe func(*input) string // what it has found, for people; "" for nothing
}

var (
	stepAlgorithm  = step{"algorithm", (*input).readAlgorithm, describeAlgorithm}
	stepSignature  = step{"signature", (*input).readSignature, describeSignature}
	stepKeyID      = step{"key id", (*input).readKeyID, describeKeyID}
	stepTimestamp  = step{"timestamp", (*input).readTimestamp, describeTimestamp}
	stepMessage    = step{"message", (*input).readMessage, describeMessage}
	stepCredential = step{"credential", (*input).readCredential, describeCredential}
	stepToken      = step{"token", (*input).readToken, describeSignature}
	stepClaims     = step{"claims", (*input).checkClaims, describeClaims}

	signedSteps = []step{stepAlgorithm, stepSignature, stepKeyID, stepTimestamp, stepMessage}
)

var tolerances = []string{"tolerance_past", "tolerance_future"}

func settings(more ...string) []string { return append(slices.Clone(tolerances), more...) }

// families lists every scheme.
var families = []family{
	{
		name: "gateway", keys: macKeys, before: signedSteps,
		algorithms: gatewayAlgorithms, settings: settings("algorithms"),
		fixed: &Config{
			AlgorithmHeader: "x-signature-algorithm",
			Signature:       Place{Names: []string{"x-signature"}},
			Timestamp:       Timestamp{From: "header", Names: []string{"x-signature-timestamp"}},
			Message:         []string{"timestamp", "literal:.", "body"},
		},
	},
	{
		name: "gateway-body", keys: macKeys, before: signedSteps,
		algorithms: gatewayAlgorithms, settings: settings("algorithms"),
		fixed: &Config{
			AlgorithmHeader: "x-signature-algorithm",
			Signature:       Place{Names: []string{"x-signature"}},
		},
	},
	webhooks("standard-webhooks", "webhook-", "svix-"),
	webhooks("svix", "svix-", "webhook-"),
	{
		name: "hmac", keys: macKeys, before: signedSteps,
		algorithms: []Algorithm{SHA256, SHA512, SHA1, HMACSHA256, HMACSHA512},
		settings: settings("algorithms", "algorithm_header", "allow_sha1", "encodings", "signature.", "timestamp.",
			"message", "derive", "normalize"),
	},
	{
		name: "rsa", keys: rsaKeys, before: signedSteps,
		algorithms: []Algorithm{SHA256, SHA512, SHA1},
		settings: settings("algorithms", "algorithm_header", "allow_sha1", "encodings", "signature.", "timestamp.",
			"message", "key_id_header", "jwks"),
	},
	{
		name: "ed25519", keys: edKeys, before: signedSteps,
		settings: settings("encodings", "signature.", "timestamp.", "message", "derive"),
	},
	{
		name: "jwt", keys: jwtKeys, before: []step{stepToken}, after: []step{stepClaims},
		algorithms: []Algorithm{HS256, HS384, HS512, RS256},
		settings: settings("algorithms", "signature.from", "signature.names", "signature.prefix", "signature.prefix_optional",
			"derive", "normalize", "jwks", "claims"),
	},
	{
		name: "static_header", keys: tokenKeys, before: []step{stepCredential},
		settings: []string{"signature.names", "signature.prefix", "signature.prefix_optional"},
	},
	{
		name: "basic", keys: basicKeys, word: "Basic", before: []step{stepCredential},
		fixed: &Config{Encodings: []Encoding{Base64}, Signature: Place{Names: []string{"authorization"}}},
	},
	{
		name: "bearer", keys: tokenKeys, word: "Bearer", before: []step{stepCredential},
		fixed: &Config{Signature: Place{Names: []string{"authorization"}}},
	},
	{
		name: "query_token", keys: tokenKeys, before: []step{stepCredential},
		settings: []string{"signature.names"},
	},
}

// webhooks is Standard Webhooks with headers of one prefix or else of another, never
// some of each. A mapping that names the event by the id gets the one that is signed.
func webhooks(name, first, second string) family {
	names := func(what string) []string { return []string{first + what, second + what} }
	return family{
		name: name, keys: pairKeys, before: signedSteps,
		algorithms: []Algorithm{SHA256}, settings: tolerances, ids: names("id"),
		fixed: &Config{
			Encodings: []Encoding{Base64},
			Signature: Place{Names: names("signature"), Format: "tagged", Fields: []string{"v1", "v1a"}},
			Timestamp: Timestamp{From: "header", Names: names("timestamp")},
			Message:   []string{"header:" + strings.Join(names("id"), "|"), "literal:.", "timestamp", "literal:.", "body"},
			Derive:    "whsec",
		},
	}
}

// Names lists the names of all schemes.
func Names() []string {
	names := make([]string, len(families))
	for i := range families {
		names[i] = families[i].name
	}
	return names
}

// AlgorithmsOf lists what [Config.Algorithms] may hold for a scheme, the default
// first; nothing when there is no choice.
func AlgorithmsOf(scheme string) []Algorithm {
	if f := familyOf(scheme); f != nil && f.allows("algorithms") {
		return slices.Clone(f.algorithms)
	}
	return nil
}

func familyOf(name string) *family {
	for i := range families {
		if families[i].name == name {
			return &families[i]
		}
	}
	return nil
}

func (f *family) allows(setting string) bool {
	return slices.ContainsFunc(f.settings, func(s string) bool {
		return s == setting || strings.HasSuffix(s, ".") && strings.HasPrefix(setting, s)
	})
}

// signs reports whether the scheme signs a message made of parts.
func (f *family) signs() bool { return len(f.before) == len(signedSteps) }

// complete returns c with what its scheme fixes and with all defaults.
func (f *family) complete(c Config) Config {
	if f.fixed != nil {
		fixed := *f.fixed
		fixed.Scheme, fixed.Algorithms, fixed.TolerancePast, fixed.ToleranceFuture = c.Scheme, c.Algorithms, c.TolerancePast, c.ToleranceFuture
		fixed.Secrets, fixed.PrivateKey = c.Secrets, c.PrivateKey
		c = fixed
	}
	if len(c.Algorithms) == 0 && len(f.algorithms) > 0 {
		c.Algorithms = f.algorithms[:1]
		if f.fixed != nil {
			c.Algorithms = f.algorithms
		}
	}
	if len(c.Encodings) == 0 {
		c.Encodings = []Encoding{Hex}
	}
	if len(c.Message) == 0 {
		c.Message = []string{"body"}
	}
	switch f.name {
	case "query_token":
		c.Signature.From = "query"
	case "jwt":
		c.Encodings = []Encoding{Base64URL}
	}
	for to, value := range map[*string]string{
		&c.Signature.From: "header", &c.Signature.Format: "plain", &c.Signature.Separator: ",",
		&c.Timestamp.From: "none", &c.Timestamp.Unit: "s", &c.Derive: "utf8", &c.Normalize: "none",
	} {
		if *to == "" {
			*to = value
		}
	}
	c.Signature.Names = inCase(c.Signature.From, c.Signature.Names)
	c.Timestamp.Names = inCase(c.Timestamp.From, c.Timestamp.Names)
	c.AlgorithmHeader, c.KeyIDHeader = strings.ToLower(c.AlgorithmHeader), strings.ToLower(c.KeyIDHeader)
	return c
}

// inCase returns the names of headers in lower case, and others as they are.
func inCase(from string, names []string) []string {
	if from != "header" {
		return names
	}
	lower := make([]string, len(names))
	for i, n := range names {
		lower[i] = strings.ToLower(n)
	}
	return lower
}
