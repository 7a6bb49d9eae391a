package signature

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
)

// sender is how one sender signs, without its secrets.
type sender struct {
	name    string
	config  Config
	binding string // as Binding says it
}

func timed(c Config) Config {
	c.TolerancePast, c.ToleranceFuture = DefaultTolerance, DefaultTolerance
	return c
}

// header returns settings of an HMAC over the body alone in one header.
func header(name string, e ...Encoding) Config {
	return Config{Scheme: "hmac", Encodings: e, Signature: Place{Names: []string{name}}}
}

func prefixed(c Config, prefix string) Config {
	c.Signature.Prefix = prefix
	return c
}

// stripelike returns settings of "t=,v1=" over timestamp, full stop and body.
func stripelike(name string) Config {
	return timed(Config{
		Scheme:    "hmac",
		Signature: Place{Names: []string{name}, Format: "fields", Fields: []string{"v1"}},
		Timestamp: Timestamp{From: "field", Names: []string{"t"}},
		Message:   []string{"timestamp", "literal:.", "body"},
	})
}

const (
	bodyOnly    = "the whole body, not the time"
	bodyAndTime = "the whole body and the time"
	nothing     = "nothing of the body, not the time"
)

// senders holds every sender that is known, and shapes that none of them has.
func senders() []sender {
	easypost := prefixed(header("X-Hmac-Signature"), "hmac-sha256-hex=")
	easypost.Normalize = "nfkd"
	uber := header("x-uber-signature")
	uber.Signature.Names = append(uber.Signature.Names, "X-Postmates-Signature")
	onfleet := header("X-Onfleet-Signature")
	onfleet.Algorithms, onfleet.Derive = []Algorithm{SHA512}, "hex"
	return []sender{
		{"gateway", timed(Config{Scheme: "gateway"}), bodyAndTime},
		{"gateway-body", Config{Scheme: "gateway-body"}, bodyOnly},
		{"standard webhooks, shipbob", timed(Config{Scheme: "standard-webhooks"}), bodyAndTime},
		{"svix", timed(Config{Scheme: "svix"}), bodyAndTime},
		{"shippo", stripelike("Shippo-Auth-Signature"), bodyAndTime},
		{"shippo by token", Config{Scheme: "query_token", Signature: Place{Names: []string{"token"}}}, nothing},
		{"easypost", easypost, bodyOnly},
		{"easypost v2", timed(Config{
			Scheme:    "hmac",
			Signature: Place{Names: []string{"X-Hmac-Signature-V2"}, Prefix: "hmac-sha256-hex=", PrefixOptional: true},
			Timestamp: Timestamp{From: "header", Names: []string{"X-Timestamp"}, Unit: "rfc2822"},
			Message:   []string{"timestamp", "method", "path:X-Path", "body"},
			Normalize: "nfkd",
		}), bodyAndTime},
		{"aftership tracking", header("aftership-hmac-sha256", Base64), bodyOnly},
		{"aftership returns", header("as-signature-hmac-sha256", Base64), bodyOnly},
		{"aftership shipping", prefixed(header("am-webhook-signature", Base64), "hmac-sha256="), bodyOnly},
		{"shipengine, shipstation", timed(Config{
			Scheme: "rsa", Encodings: []Encoding{Base64},
			Signature:   Place{Names: []string{"x-shipengine-rsa-sha256-signature"}},
			KeyIDHeader: "x-shipengine-rsa-sha256-key-id",
			JWKS:        "https://api.shipengine.com/jwks",
			Timestamp:   Timestamp{From: "header", Names: []string{"x-shipengine-timestamp"}, Unit: "rfc3339"},
			Message:     []string{"timestamp", "literal:.", "body"},
		}), bodyAndTime},
		{"sendcloud", header("Sendcloud-Signature"), bodyOnly},
		{"easyship", timed(Config{Scheme: "jwt", Signature: Place{Names: []string{"X-EASYSHIP-SIGNATURE"}}}), nothing},
		{"fedex", header("fdx-signature", Base64, Hex), bodyOnly},
		{"ups track alert", Config{Scheme: "static_header", Signature: Place{Names: []string{"credential"}}}, nothing},
		{"ups track alert v2", Config{Scheme: "bearer"}, nothing},
		{"onfleet", onfleet, bodyOnly},
		{"uber direct", uber, bodyOnly},
		{"lalamove", timed(Config{
			Scheme:    "hmac",
			Signature: Place{From: "json", Names: []string{"signature"}},
			Timestamp: Timestamp{From: "json", Names: []string{"timestamp"}},
			Message:   []string{"timestamp", "literal:\r\n", "method", "literal:\r\n", "path", "literal:\r\n\r\n", "json:data"},
		}), "only data of the body and the time"},
		{"bosta, aymakan, delhivery, shiprocket", Config{Scheme: "static_header", Signature: Place{Names: []string{"x-api-key"}}}, nothing},
		{"doordash drive", Config{Scheme: "basic"}, nothing},
		{"dhl ecommerce", Config{Scheme: "query_token", Signature: Place{Names: []string{"token"}}}, nothing}, // an address of our choice can always carry one
		{"shopify", header("X-Shopify-Hmac-Sha256", Base64), bodyOnly},
		{"stripe", stripelike("Stripe-Signature"), bodyAndTime},
		{"github", prefixed(header("X-Hub-Signature-256"), "sha256="), bodyOnly},

		{"shape: base64url in the query, by sha1", Config{
			Scheme: "hmac", Algorithms: []Algorithm{SHA1}, AllowSHA1: true, Encodings: []Encoding{Base64URL},
			Signature: Place{From: "query", Names: []string{"sig nature"}},
		}, bodyOnly},
		{"shape: fields by semicolon, milliseconds", timed(Config{
			Scheme:    "hmac",
			Signature: Place{Names: []string{"x-s"}, Format: "fields", Fields: []string{"h1", "h2"}, Separator: ";"},
			Timestamp: Timestamp{From: "field", Names: []string{"ts"}, Unit: "ms"},
			Message:   []string{"timestamp", "literal::", "body"}, Derive: "base64",
		}), bodyAndTime},
		{"shape: nested member, algorithm by header", timed(Config{
			Scheme: "hmac", Algorithms: []Algorithm{HMACSHA512, SHA256}, AlgorithmHeader: "X-Alg",
			Signature: Place{From: "json", Names: []string{"meta.signature"}},
			Timestamp: Timestamp{From: "json", Names: []string{"meta.at"}, Unit: "rfc3339"},
			Message:   []string{"timestamp", "json:data.status", "json:data.note"},
		}), "only data.status, data.note of the body and the time"},
		{"shape: tagged hmac", Config{
			Scheme: "hmac", Encodings: []Encoding{Base64},
			Signature: Place{Names: []string{"x-s"}, Format: "tagged", Fields: []string{"v2"}}, Derive: "whsec",
		}, bodyOnly},
		{"shape: ed25519", timed(Config{
			Scheme: "ed25519", Derive: "whsec",
			Signature: Place{Names: []string{"x-signature-ed25519"}},
			Timestamp: Timestamp{From: "header", Names: []string{"x-signature-timestamp"}},
			Message:   []string{"timestamp", "body"},
		}), bodyAndTime},
		{"shape: rsa without key ids", Config{
			Scheme: "rsa", Algorithms: []Algorithm{SHA512}, Signature: Place{Names: []string{"x-s"}}, JWKS: "file:/keys.json",
		}, bodyOnly},
		{"shape: jwt by rsa with claims", timed(Config{
			Scheme: "jwt", Algorithms: []Algorithm{RS256}, Signature: Place{Names: []string{"authorization"}, Prefix: "Bearer "},
			JWKS: "file:/keys.json", Claims: map[string]string{"aud": "us", "exp": ""},
		}), "nothing of the body and the time"},
		{"shape: jwt by the long hmacs", timed(Config{
			Scheme: "jwt", Algorithms: []Algorithm{HS512, HS384, RS256}, Signature: Place{From: "query", Names: []string{"jwt"}},
			JWKS: "file:/keys.json",
		}), nothing},
		{"shape: static header with a word", Config{Scheme: "static_header", Signature: Place{Names: []string{"authorization"}, Prefix: "ApiKey "}}, nothing},
	}
}

// publicKeys reports whether the keys come from a JWKS.
func (s *sender) publicKeys() bool {
	return s.config.Scheme == "rsa" || len(s.config.Algorithms) == 1 && s.config.Algorithms[0] == RS256
}

// secret returns the secret of that name in the form that the sender wants.
func (s *sender) secret(id string) Secret {
	text := "sécret-" + id
	switch {
	case s.config.Scheme == "ed25519":
		text = publicPrefix + base64.StdEncoding.EncodeToString(edKeyOf(id).Public().(ed25519.PublicKey))
	case s.config.Scheme == "basic":
		text = "user:" + text
	case len(familyOf(s.config.Scheme).ids) > 0 || s.config.Derive == "whsec":
		text = secretPrefix + base64.StdEncoding.EncodeToString([]byte(text))
	case s.config.Derive == "base64":
		text = base64.URLEncoding.EncodeToString([]byte(text))
	case s.config.Derive == "hex":
		text = hex.EncodeToString([]byte(text))
	}
	return Secret{ID: id, Key: []byte(text)}
}

// verifier returns the settings of one who knows these keys.
func (s *sender) verifier(t testing.TB, ids ...string) Config {
	c := s.config
	if c.JWKS != "" {
		c.Keys = keySource(t, jwksOf(ids...))
	}
	for _, id := range ids {
		if !s.publicKeys() {
			c.Secrets = append(c.Secrets, s.secret(id))
		}
	}
	return c
}

// signer compiles the settings of a sender who signs by one key. All but "new" have the
// second RSA key.
func (s *sender) signer(t testing.TB, id string) *Scheme {
	c := s.verifier(t, id)
	switch {
	case s.publicKeys() && id == "new":
		c.PrivateKey = &PrivateKey{ID: "new", Key: rsaPair()[0]}
	case s.publicKeys():
		c.PrivateKey = &PrivateKey{ID: id, Key: rsaPair()[1]}
	case s.config.Scheme == "ed25519":
		c.PrivateKey = &PrivateKey{Key: edKeyOf(id)}
	}
	return compile(t, c)
}

// text returns the text that signs the request, whole and without what is
// around the signature.
func (s *sender) text(t testing.TB, r *captured) (whole, signature string) {
	t.Helper()
	f := familyOf(s.config.Scheme)
	c := f.complete(s.config)
	switch c.Signature.From {
	case "query":
		values, err := url.ParseQuery(r.query)
		if err != nil {
			t.Fatal(err)
		}
		whole = values.Get(c.Signature.Names[0])
	case "json":
		var value any
		if err := json.Unmarshal(r.body, &value); err != nil {
			t.Fatal(err)
		}
		for _, name := range strings.Split(c.Signature.Names[0], ".") {
			value = value.(map[string]any)[name]
		}
		whole = value.(string)
	default:
		value, _ := r.Header(c.Signature.Names[0])
		whole = string(value)
	}
	signature = strings.TrimPrefix(whole, c.Signature.Prefix+f.word)
	switch {
	case c.Signature.Format == "fields":
		_, signature, _ = strings.Cut(whole, c.Signature.Fields[0]+"=")
	case c.Signature.Format == "tagged":
		_, signature, _ = strings.Cut(whole, c.Signature.Fields[0]+",")
	case c.Scheme == "jwt":
		signature = whole[strings.LastIndex(whole, ".")+1:]
	}
	return whole, strings.TrimSpace(signature)
}

func TestBinding(t *testing.T) {
	t.Parallel()
	for _, s := range senders() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			if got := compile(t, s.verifier(t, "new")).Binding().String(); got != s.binding {
				t.Errorf("binds %q, want %q", got, s.binding)
			}
		})
	}
}

var payload = []byte(`{"data":{"status":"out_for_delivery","note":"left at the \"door\"","weight":1.5},"eventId":"evt_123"}`)
