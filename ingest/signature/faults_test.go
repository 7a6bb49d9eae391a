package signature

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

func TestFaults(t *testing.T) {
	t.Parallel()
	one := []Secret{{ID: "k", Key: []byte("secret")}}
	good := func(change func(*Config)) Config {
		c := Config{Scheme: "hmac", Signature: Place{Names: []string{"x-s"}}, Secrets: one}
		change(&c)
		return c
	}
	keys := keySource(t, jwksOf("new"))
	for _, tc := range []struct {
		name   string
		config Config
		want   string // "path: part of the message", separated by "; "
	}{
		{"nothing wrong", good(func(*Config) {}), ""},
		{"nothing at all", Config{}, `scheme: "" is none of gateway; secrets: at least one`},
		{"no secret", good(func(c *Config) { c.Secrets = nil }), "secrets: at least one"},
		{"no header", good(func(c *Config) { c.Signature.Names = nil }), "signature.names: a name is needed"},
		{"a header that can't be", good(func(c *Config) { c.Signature.Names = []string{"x-s", "x s", "X-S"} }), `signature.names[1]: "x s" is no name; signature.names[2]: "x-s" is listed twice`},
		{"two members", good(func(c *Config) {
			c.Signature.From, c.Signature.Names, c.Message = "json", []string{"a", "b"}, []string{"json:c"}
		}), "signature.names: only headers may have several"},
		{"a member that can't be", good(func(c *Config) {
			c.Signature.From, c.Signature.Names, c.Message = "json", []string{"a..b"}, []string{"json:c"}
		}), `signature.names[0]: "a..b" is no member's name`},
		{"a member in quotes", good(func(c *Config) {
			c.Signature.From, c.Signature.Names, c.Message = "json", []string{`"a"`}, []string{"json:c"}
		}), `signature.names[0]: "\"a\"" is no member`},
		{"elsewhere", good(func(c *Config) { c.Signature.From = "cookie" }), `signature.from: "cookie" is none of header, json, query`},
		{"unknown algorithm", good(func(c *Config) { c.Algorithms = []Algorithm{"md5"} }), `algorithms[0]: "md5" is none of`},
		{"sha1 without consent", good(func(c *Config) { c.Algorithms = []Algorithm{SHA1} }), "algorithms[0]: sha1 is used only with allow_sha1"},
		{"consent without sha1", good(func(c *Config) { c.AllowSHA1 = true }), "allow_sha1: is set, but sha1 is not"},
		{"algorithms that nothing distinguishes", good(func(c *Config) { c.Algorithms = []Algorithm{SHA256, SHA512} }), "algorithm_header: is needed to distinguish 2 algorithms"},
		{"algorithm header that can't be", good(func(c *Config) { c.AlgorithmHeader = "x:y" }), `algorithm_header: "x:y" is no header's name`},
		{"unknown encoding", good(func(c *Config) { c.Encodings = []Encoding{"base32"} }), `encodings[0]: "base32" is none of`},
		{"the same encoding twice", good(func(c *Config) { c.Encodings = []Encoding{Hex, Base64, Hex} }), `encodings[2]: "hex" is listed twice`},
		{"unknown format", good(func(c *Config) { c.Signature.Format = "csv" }), `signature.format: "csv" is none of plain, fields, tagged`},
		{"fields without names", good(func(c *Config) { c.Signature.Format = "fields" }), "signature.fields: the format fields needs the names"},
		{"names without fields", good(func(c *Config) { c.Signature.Fields = []string{"v1"} }), "signature.fields: the format plain has no fields"},
		{"fields that can't be", good(func(c *Config) { c.Signature.Format, c.Signature.Fields = "tagged", []string{"v1", "v=1", "v1"} }), `signature.fields[1]: "v=1" is no field's name; signature.fields[2]: "v1" is listed twice`},
		{"prefix of a list", good(func(c *Config) {
			c.Signature.Format, c.Signature.Fields, c.Signature.Prefix = "tagged", []string{"v1"}, "x="
		}), "signature.prefix: is for the plain format"},
		{"no prefix, but optional", good(func(c *Config) { c.Signature.PrefixOptional = true }), "signature.prefix_optional: is set, but there is no prefix"},
		{"unknown separator", good(func(c *Config) { c.Signature.Separator = "|" }), `signature.separator: "|" is none of; signature.separator: is for the format fields`},
		{"unknown part", good(func(c *Config) { c.Message = []string{"body", "host"} }), "message[1]: is none of literal:TEXT"},
		{"part without a name", good(func(c *Config) { c.Message = []string{"literal:", "header:", "json:", "body"} }), "message[0]: needs something behind; message[1]: needs something behind; message[2]: needs something behind"},
		{"part with a needless name", good(func(c *Config) { c.Message = []string{"body:x"} }), "message[0]: body takes no value; message: signs nothing"},
		{"part with a name that can't be", good(func(c *Config) { c.Message = []string{"header:a b", "header:a|", "json:a.", "body"} }), "message[0]: names no header; message[1]: names no header; message[2]: names no member"},
		{"a message of nothing", good(func(c *Config) { c.Message = []string{"literal:x", "method", "path"} }), "message: signs nothing that the sender says"},
		{"a message of too much", good(func(c *Config) { c.Message = slices.Repeat([]string{"body"}, 17) }), "message: has 17 parts, at most 16"},
		{"timestamp from nowhere", good(func(c *Config) { c.Message = []string{"timestamp", "body"} }), "message[0]: there is no timestamp"},
		{"timestamp unsigned", timed(good(func(c *Config) { c.Timestamp = Timestamp{From: "header", Names: []string{"t"}} })), "message: does not hold the timestamp"},
		{"timestamp signed as a header", timed(good(func(c *Config) {
			c.Timestamp, c.Message = Timestamp{From: "header", Names: []string{"T"}}, []string{"header:t", "body"}
		})), ""},
		{"timestamp signed with the body", timed(good(func(c *Config) { c.Timestamp = Timestamp{From: "json", Names: []string{"t"}} })), ""},
		{"timestamp signed inside a member", timed(good(func(c *Config) {
			c.Timestamp, c.Message = Timestamp{From: "json", Names: []string{"a.t"}}, []string{"json:a"}
		})), ""},
		{"timestamp outside of the member", timed(good(func(c *Config) {
			c.Timestamp, c.Message = Timestamp{From: "json", Names: []string{"ab.t"}}, []string{"json:a"}
		})), "message: does not hold the timestamp"},
		{"timestamp without a name", timed(good(func(c *Config) { c.Timestamp, c.Message = Timestamp{From: "header"}, []string{"timestamp", "body"} })), "timestamp.names: a name is needed"},
		{"timestamp without tolerance", good(func(c *Config) {
			c.Timestamp, c.Message = Timestamp{From: "header", Names: []string{"t"}}, []string{"timestamp", "body"}
			c.TolerancePast = -time.Second
		}), "tolerance_past: must be positive, is -1s; tolerance_future: must be positive, is 0s"},
		{"tolerance without timestamp", timed(good(func(*Config) {})), "tolerance_past: there is no timestamp; tolerance_future: there is no timestamp"},
		{"unit without timestamp", good(func(c *Config) { c.Timestamp.Unit = "ms" }), "timestamp.unit: there is no timestamp"},
		{"name without timestamp", good(func(c *Config) { c.Timestamp.Names = []string{"t"} }), "timestamp.names: there is no timestamp"},
		{"unknown unit", timed(good(func(c *Config) {
			c.Timestamp, c.Message = Timestamp{From: "header", Names: []string{"t"}, Unit: "min"}, []string{"timestamp", "body"}
		})), `timestamp.unit: "min" is none of`},
		{"timestamp from elsewhere", good(func(c *Config) { c.Timestamp.From = "query" }), `timestamp.from: "query" is none of`},
		{"field without fields", timed(good(func(c *Config) {
			c.Timestamp, c.Message = Timestamp{From: "field", Names: []string{"t"}}, []string{"timestamp", "body"}
		})), "timestamp.from: the signature has no fields"},
		{"field for both", timed(good(func(c *Config) {
			c.Signature.Format, c.Signature.Fields = "fields", []string{"t"}
			c.Timestamp, c.Message = Timestamp{From: "field", Names: []string{"t"}}, []string{"timestamp", "body"}
		})), "timestamp.names: names a field that holds signatures"},
		{"signature in the signed body", good(func(c *Config) { c.Signature.From = "json" }), "message[0]: the body holds the signature"},
		{"signature in the signed member", good(func(c *Config) {
			c.Signature.From, c.Signature.Names, c.Message = "json", []string{"data.sig"}, []string{"json:data"}
		}), "message[0]: json:data holds the signature"},
		{"signature in a signed header", good(func(c *Config) { c.Message = []string{"header:X-Id|X-S", "body"} }), "message[0]: header:X-Id|X-S holds the signature"},
		{"signature in the timestamp's header", timed(good(func(c *Config) {
			c.Timestamp, c.Message = Timestamp{From: "header", Names: []string{"X-S"}}, []string{"timestamp", "body"}
		})), "timestamp.names: names the header that holds the signature"},
		{"unknown derivation", good(func(c *Config) { c.Derive = "rot13" }), `derive: "rot13" is none of`},
		{"unknown normalisation", good(func(c *Config) { c.Normalize = "nfc" }), `normalize: "nfc" is none of`},
		{"normalised bytes", good(func(c *Config) {
			c.Derive, c.Normalize, c.Secrets = "hex", "nfkd", []Secret{{ID: "k", Key: []byte("00")}}
		}), "normalize: nfkd has no meaning for a key in hex"},
		{"secret that is no hex", good(func(c *Config) { c.Derive = "hex" }), "secrets[0].key: is not hex"},
		{"secret that is no base64", good(func(c *Config) { c.Derive, c.Secrets = "base64", []Secret{{ID: "k", Key: []byte("a b")}} }), "secrets[0].key: is not base64"},
		{"secret that is no text", good(func(c *Config) { c.Normalize, c.Secrets = "nfkd", []Secret{{ID: "k", Key: []byte("\xff")}} }), "secrets[0].key: is not valid UTF-8"},
		{"secret of nothing", good(func(c *Config) { c.Derive, c.Secrets = "whsec", []Secret{{ID: "k", Key: []byte("whsec_")}} }), "secrets[0].key: is empty once it is decoded"},
		{"secret that ends before it begins", good(func(c *Config) {
			c.Secrets = []Secret{{ID: "k", Key: []byte("x"), NotBefore: noon, NotAfter: noon}}
		}), "secrets[0].not_after: must be later than not_before"},
		{"private key", timed(Config{Scheme: "standard-webhooks", Secrets: []Secret{{ID: "k", Key: []byte("whsk_AAAA")}}}), "secrets[0].key: is a private key"},
		{"public key cut short", timed(Config{Scheme: "standard-webhooks", Secrets: []Secret{{ID: "k", Key: []byte("whpk_AAAA")}}}), "secrets[0].key: is no ed25519 public key"},
		{"settings of a named scheme", timed(Config{Scheme: "gateway", Secrets: one, Encodings: []Encoding{Base64}, Message: []string{"body"}}), "encodings: means nothing to scheme gateway; message: means nothing to scheme gateway"},
		{"gateway by the short name", timed(Config{Scheme: "gateway", Secrets: one, Algorithms: []Algorithm{SHA256}}), `algorithms[0]: "sha256" is none of [hmac-sha256 hmac-sha512]`},
		{"algorithm of ed25519", Config{Scheme: "ed25519", Derive: "hex", Signature: Place{Names: []string{"s"}}, Algorithms: []Algorithm{SHA256},
			Secrets: []Secret{{ID: "k", Key: []byte(strings.Repeat("ab", 32))}}}, "algorithms: means nothing to scheme ed25519"},
		{"ed25519 as text", Config{Scheme: "ed25519", Signature: Place{Names: []string{"s"}}, Secrets: one}, "secrets[0].key: is no ed25519 public key"},
		{"rsa without keys", Config{Scheme: "rsa", Signature: Place{Names: []string{"s"}}}, "jwks: is needed"},
		{"rsa with keys that are not loaded", Config{Scheme: "rsa", Signature: Place{Names: []string{"s"}}, JWKS: "https://x/jwks"}, "jwks: no source of its keys was made"},
		{"rsa with secrets", Config{Scheme: "rsa", Signature: Place{Names: []string{"s"}}, Keys: keys, Secrets: one}, "secrets: mean nothing here"},
		{"keys over plain http", Config{Scheme: "rsa", Signature: Place{Names: []string{"s"}}, Keys: keys, JWKS: "http://x/jwks"}, "jwks: keys come by https only"},
		{"keys from nowhere", Config{Scheme: "rsa", Signature: Place{Names: []string{"s"}}, Keys: keys, JWKS: "jwks.json"}, `jwks: "jwks.json" is neither`},
		{"jwt by rsa without keys", Config{Scheme: "jwt", Signature: Place{Names: []string{"s"}}, Algorithms: []Algorithm{RS256}}, "jwks: is needed"},
		{"jwt by rsa with secrets", Config{Scheme: "jwt", Signature: Place{Names: []string{"s"}}, Algorithms: []Algorithm{RS256}, Keys: keys, Secrets: one}, "secrets: mean nothing here"},
		{"jwt by hmac with keys", Config{Scheme: "jwt", Signature: Place{Names: []string{"s"}}, Keys: keys, JWKS: "file:x", Secrets: one}, "jwks: means nothing without RS256"},
		{"jwt by none", Config{Scheme: "jwt", Signature: Place{Names: []string{"s"}}, Algorithms: []Algorithm{"none"}, Secrets: one}, `algorithms[0]: "none" is none of`},
		{"jwt in the body", Config{Scheme: "jwt", Signature: Place{From: "json", Names: []string{"s"}}, Secrets: one}, `signature.from: "json" is none of header, query`},
		{"jwt with less than no tolerance", Config{Scheme: "jwt", Signature: Place{Names: []string{"s"}}, Secrets: one, TolerancePast: -1}, "tolerance_past: must not be negative"},
		{"jwt with a claim that can't be", Config{Scheme: "jwt", Signature: Place{Names: []string{"s"}}, Secrets: one, Claims: map[string]string{"": "x"}}, `claims: "" is no claim's name`},
		{"credential with a message", timed(Config{Scheme: "static_header", Signature: Place{Names: []string{"s"}}, Secrets: one, Message: []string{"body"}}), "tolerance_past: means nothing to scheme static_header; tolerance_future: means nothing; message: means nothing"},
		{"basic without a user", Config{Scheme: "basic", Secrets: one}, `secrets[0].key: must be "user:password"`},
		{"credential with white space", Config{Scheme: "bearer", Secrets: []Secret{{ID: "k", Key: []byte("x\n")}}}, "secrets[0].key: starts or ends with white space"},
		{"query token without a name", Config{Scheme: "query_token", Secrets: one}, "signature.names: a name is needed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := New(tc.config)
			checkFaults(t, err, tc.want)
		})
	}
}

func checkFaults(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" {
		if err != nil {
			t.Errorf("got %v, want no fault", err)
		}
		return
	}
	faults, _ := errors.AsType[event.Faults](err)
	parts := strings.Split(want, "; ")
	if len(faults) != len(parts) {
		t.Fatalf("got %d faults: %v\nwant %s", len(faults), err, want)
	}
	for i, part := range parts {
		path, message, _ := strings.Cut(part, ": ")
		if faults[i].Path != path || !strings.Contains(faults[i].Message, message) {
			t.Errorf("fault %d is %s: %s, want %s", i, faults[i].Path, faults[i].Message, part)
		}
	}
	if strings.Contains(err.Error(), "AAAA") {
		t.Errorf("%v holds a key", err)
	}
}
