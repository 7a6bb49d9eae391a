package signature

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"
)

// vector is a request that another program has signed. Unless the note says where
// it was published, Python's hmac module made it.
type vector struct {
	note    string
	config  Config
	secret  string
	request captured
	now     time.Time
	want    Kind // accepted by default
}

// of returns the settings of a sender in the table.
func of(name string) Config {
	for _, s := range senders() {
		if s.name == name {
			return s.config
		}
	}
	panic("there is no sender " + name)
}

func headers(pairs ...string) (out []Header) {
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, Header{Name: pairs[i], Value: pairs[i+1]})
	}
	return out
}

func ever(c Config) Config {
	c.TolerancePast, c.ToleranceFuture = 100*365*24*time.Hour, 100*365*24*time.Hour
	return c
}

const (
	rfc7515Key    = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
	rfc7515Claims = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
	rfc7515HS256  = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." + rfc7515Claims + ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	rfc7515RS256  = "eyJhbGciOiJSUzI1NiJ9." + rfc7515Claims + "." + rfc7515RSA
	rfc7515RSA    = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
	rfc7515JWKS   = `{"keys":[{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}]}`
)

func vectors(t *testing.T) []vector {
	t.Helper()
	published := keySource(t, []byte(rfc7515JWKS))
	jws := func(c Config) Config {
		c.Scheme, c.Signature = "jwt", Place{Names: []string{"authorization"}, Prefix: "Bearer "}
		return c
	}
	before := time.Unix(1300819379, 0)
	return []vector{
		{"Standard Webhooks, from its specification", timed(Config{Scheme: "standard-webhooks"}), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
			captured{headers: headers("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp", "1614265330",
				"webhook-signature", "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
				body: []byte(`{"test": 2432232314}`)}, time.Unix(1614265330, 0), accepted},
		{"the same by Svix's names", timed(Config{Scheme: "standard-webhooks"}), "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
			captured{headers: headers("Svix-Id", "msg_p5jXN8AQM9LWM0D4loKWxJek", "Svix-Timestamp", "1614265330",
				"Svix-Signature", "v2,abc v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
				body: []byte(`{"test": 2432232314}`)}, time.Unix(1614265330, 0), accepted},
		{"Sendcloud, from its documentation", of("sendcloud"), "secretkey",
			captured{headers: headers("Sendcloud-Signature", "1eed4b3d41f4653ac64fd56f1bf1cbfd349e4482cbc11dff7134bd93e5da4b0a"),
				body: []byte(`{"key": "value"}`)}, noon, accepted},
		{"GitHub, from its documentation", of("github"), "It's a Secret to Everybody",
			captured{headers: headers("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"),
				body: []byte("Hello, World!")}, noon, accepted},
		{"t= and v1=, from lemon.markets' documentation", stripelike("lmg-signature"), strings.Repeat("0", 64),
			captured{headers: headers("LMG-Signature", "t=0,v1=3523dcc0013f08dfa1855772441107330218793f399d7452bd3ff2159c6e0285"),
				body: []byte("{}")}, time.Unix(200, 0), accepted},
		{"EasyPost with NFKD", of("easypost"), "s\u00e9cret \ufb01\u2460",
			captured{headers: headers("X-Hmac-Signature", "hmac-sha256-hex=42588e26d0ce42fea3265668781c07bc2fb900db1539d76229296c8abdebe2e1"),
				body: payload}, noon, accepted},
		{"the same secret spelt another way", of("easypost"), "se\u0301cret fi1",
			captured{headers: headers("X-Hmac-Signature", "hmac-sha256-hex=42588e26d0ce42fea3265668781c07bc2fb900db1539d76229296c8abdebe2e1"),
				body: payload}, noon, accepted},
		{"EasyPost without a normalised secret", of("easypost"), "s\u00e9cret \ufb01\u2460",
			captured{headers: headers("X-Hmac-Signature", "hmac-sha256-hex=70bda4d06d6b2278e65d5855f3f929c8c3fbbc2a6f1fdba02091c376e5410952"),
				body: payload}, noon, Mismatch},
		{"EasyPost V2", of("easypost v2"), "k",
			captured{method: "POST", path: "/hooks/easypost", headers: headers("X-Timestamp", "Thu, 26 Feb 2026 12:00:00 +0000", "X-Path", "/hooks/easypost",
				"X-Hmac-Signature-V2", "b6fcdbc1ed2c2c90735a7d20b6c8ecd8b5aad811cbf67b605847fd6356fde807"),
				body: payload}, noon, accepted},
		{"Uber Direct by its older header, from its documentation", of("uber direct"), "c5c26d5a-70d6-46c7-a652-d7c09825ad29",
			captured{headers: headers("X-Postmates-Signature", "cdff8133fb065f8d37a2c1c94c3331b6a82766d14e7ea4faacc4886558cedd65"),
				body: []byte(`{"kind": "event.courier_update", "location": {"lat": 37.7974109, "lng": -122.424145}}`)}, noon, accepted},
		{"Lalamove", of("lalamove"), "sk_test",
			captured{method: "POST", path: "/hooks/lalamove", body: []byte(`{"apiKey":"pk","timestamp":1772107200,` +
				`"signature":"9623d095e771c71e8346351feab970660ae00b2c73f5d6c01911ef7c796b77ec","eventType":"ORDER_STATUS_CHANGED",` +
				`"data":{"order":{"orderId":"187","status":"PICKED_UP"},"updatedAt":"2026-02-26T12:00.00Z"}}`)}, noon, accepted},
		{"Onfleet", of("onfleet"), "00FF10ab",
			captured{headers: headers("X-Onfleet-Signature", "5306c992bc8d6bd54502092fb029a296f1eacdbe5167a7423a35b99a7ec1f9202478a9ab99149b29b23e37345b1b634ed2353f91b527856459aafe0fd833a89d"),
				body: payload}, noon, accepted},
		{"Shopify", of("shopify"), "hush",
			captured{headers: headers("X-Shopify-Hmac-Sha256", "YqCqM76ICQ7IWL5nOhALI7diWDOAtGClCsT6UIsKun8="), body: payload}, noon, accepted},
		{"FedEx in base64", of("fedex"), "hush",
			captured{headers: headers("fdx-signature", "YqCqM76ICQ7IWL5nOhALI7diWDOAtGClCsT6UIsKun8"), body: payload}, noon, accepted},
		{"FedEx in hex", of("fedex"), "Jefe",
			captured{headers: headers("fdx-signature", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
				body: []byte("what do ya want for nothing?")}, noon, accepted},
		{"SHA-256, RFC 4231 case 2", header("s"), "Jefe",
			captured{headers: headers("s", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
				body: []byte("what do ya want for nothing?")}, noon, accepted},
		{"SHA-512, RFC 4231 case 2", Config{Scheme: "hmac", Algorithms: []Algorithm{SHA512}, Signature: Place{Names: []string{"s"}}}, "Jefe",
			captured{headers: headers("s", "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"),
				body: []byte("what do ya want for nothing?")}, noon, accepted},
		{"SHA-1, RFC 2202 case 2", Config{Scheme: "hmac", Algorithms: []Algorithm{SHA1}, AllowSHA1: true, Signature: Place{Names: []string{"s"}}}, "Jefe",
			captured{headers: headers("s", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
				body: []byte("what do ya want for nothing?")}, noon, accepted},
		{"ed25519, RFC 8032 test 2", Config{Scheme: "ed25519", Derive: "hex", Signature: Place{Names: []string{"s"}}},
			"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
			captured{headers: headers("s", "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
				body: []byte{0x72}}, noon, accepted},
		{"RSA, RFC 7515 A.2", Config{Scheme: "rsa", Encodings: []Encoding{Base64URL}, Signature: Place{Names: []string{"s"}}, Keys: published}, "",
			captured{headers: headers("s", rfc7515RSA), body: []byte("eyJhbGciOiJSUzI1NiJ9." + rfc7515Claims)}, noon, accepted},
		{"JWT, RFC 7515 A.1", jws(Config{Derive: "base64"}), rfc7515Key,
			captured{headers: headers("Authorization", "Bearer "+rfc7515HS256)}, before, accepted},
		{"JWT, RFC 7515 A.1, expired", jws(Config{Derive: "base64"}), rfc7515Key,
			captured{headers: headers("Authorization", "Bearer "+rfc7515HS256)}, before.Add(time.Second), TooOld},
		{"JWT, RFC 7515 A.1, with claims", jws(Config{Derive: "base64", Claims: map[string]string{"iss": "joe", "http://example.com/is_root": "true"}}), rfc7515Key,
			captured{headers: headers("Authorization", "Bearer "+rfc7515HS256)}, before, accepted},
		{"JWT, RFC 7515 A.1, with other claims", jws(Config{Derive: "base64", Claims: map[string]string{"iss": "jane"}}), rfc7515Key,
			captured{headers: headers("Authorization", "Bearer "+rfc7515HS256)}, before, WrongClaim},
		{"JWT, RFC 7515 A.2", ever(jws(Config{Algorithms: []Algorithm{RS256}, Keys: published})), "",
			captured{headers: headers("Authorization", "Bearer "+rfc7515RS256)}, noon, accepted},
		{"JWT, RFC 7519 6.1, unsecured", jws(Config{}), "any",
			captured{headers: headers("Authorization", "Bearer eyJhbGciOiJub25lIn0."+rfc7515Claims+".")}, before, Malformed},
		{"the same with a signature", jws(Config{}), "any",
			captured{headers: headers("Authorization", "Bearer eyJhbGciOiJub25lIn0."+rfc7515Claims+".AAAA")}, before, WrongAlgorithm},
		{"JWS with the body detached, RFC 7797 4.2", jws(Config{Derive: "base64"}), rfc7515Key,
			captured{headers: headers("Authorization", "Bearer eyJhbGciOiJIUzI1NiIsImI2NCI6ZmFsc2UsImNyaXQiOlsiYjY0Il19..A5dxf2s96_n5FLueVuW1Z_vh161FwXZC4YLPff6dmDY"),
				body: []byte("$.02")}, before, Malformed},
		{"Basic, RFC 7617", Config{Scheme: "basic"}, "Aladdin:open sesame",
			captured{headers: headers("Authorization", "basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")}, noon, accepted},
		{"Bearer, in any case and with spaces", Config{Scheme: "bearer"}, "mF_9.B5f-4.1JqM",
			captured{headers: headers("Authorization", "BEARER   mF_9.B5f-4.1JqM")}, noon, accepted},
		{"Bearer without a space", Config{Scheme: "bearer"}, "mF_9.B5f-4.1JqM",
			captured{headers: headers("Authorization", "BearermF_9.B5f-4.1JqM")}, noon, Malformed},
		{"a token in the query, encoded", of("shippo by token"), "a b&c=d/é",
			captured{query: "x=1&tok%65n=a+b%26c%3Dd%2F%c3%A9"}, noon, accepted},
	}
}

func TestVectors(t *testing.T) {
	t.Parallel()
	for _, v := range vectors(t) {
		t.Run(v.note, func(t *testing.T) {
			t.Parallel()
			c, wantID := v.config, "k"
			if v.secret != "" {
				c.Secrets = []Secret{{ID: "k", Key: []byte(v.secret)}}
			} else {
				wantID = "jwk-e3b0c44298fc1c14" // of a key without an id
			}
			outcome(t, "vector", compile(t, c), &v.request, v.now, wantID, v.want)
		})
	}
}

// TestStandardWebhooksPairs signs v1a by the key of RFC 8032's test 2.
func TestStandardWebhooksPairs(t *testing.T) {
	t.Parallel()
	seed, err := hex.DecodeString("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
	if err != nil {
		t.Fatal(err)
	}
	private := ed25519.NewKeyFromSeed(seed)
	const (
		public = "whpk_PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw="
		secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	)
	c := timed(Config{Scheme: "standard-webhooks", Secrets: []Secret{{ID: "pub", Key: []byte(public)}, {ID: "sec", Key: []byte(secret)}}})
	both := compile(t, c)
	c.PrivateKey = &PrivateKey{Key: private}
	byPair, byOther := signed(t, compile(t, c), payload, noon), signed(t, compile(t, c), []byte("another body"), noon)
	c.PrivateKey, c.Secrets = nil, c.Secrets[1:]
	bySecret := signed(t, compile(t, c), payload, noon)
	text := func(r *captured) string { v, _ := r.Header("webhook-signature"); return string(v) }

	if v := text(byPair); !strings.HasPrefix(v, "v1a,") {
		t.Errorf("signs %s, want v1a", v)
	}
	outcome(t, "v1a", both, byPair, noon, "pub", accepted)
	outcome(t, "v1", both, bySecret, noon, "sec", accepted)
	outcome(t, "v1a, public key unknown", compile(t, c), byPair, noon, "", Mismatch)
	for _, tc := range []struct {
		name, value, id string
		want            Kind
	}{
		{"both, the first is wrong", strings.Replace(text(byPair), "a,", "a,AAAA", 1) + " " + text(bySecret), "sec", accepted},
		{"both right", text(bySecret) + " " + text(byPair), "pub", accepted},
		{"v1 passed off as v1a", strings.Replace(text(bySecret), "v1,", "v1a,", 1), "", Malformed},
		{"v1a passed off as v1", strings.Replace(text(byPair), "v1a,", "v1,", 1), "", Malformed},
		{"a version that is not known", strings.Replace(text(bySecret), "v1,", "v3,", 1), "", Missing},
		{"no version", strings.TrimPrefix(text(bySecret), "v1,"), "", Missing},
		{"a version in another case", strings.Replace(text(bySecret), "v1,", "V1,", 1), "", Missing},
		{"as many as there may be", strings.Repeat("v1,AAAA ", maxSignatures-1) + text(bySecret), "sec", accepted},
		{"too many", strings.Repeat("v1,AAAA ", maxSignatures) + text(bySecret), "", Malformed},
		{"as many for public keys", strings.Repeat(text(byOther)+" ", maxVerifications-1) + text(bySecret) + " " + text(byPair), "pub", accepted},
		{"too many for public keys", strings.Repeat(text(byOther)+" ", maxVerifications) + text(bySecret) + " " + text(byPair), "", Malformed},
		{"two spaces", "  " + text(bySecret) + "  " + text(byPair), "pub", accepted},
	} {
		r := *bySecret
		r.set("webhook-signature", tc.value)
		outcome(t, tc.name, both, &r, noon, tc.id, tc.want)
	}
	alone := compile(t, c)
	for n, want := range map[int]Kind{maxSignatures - 1: accepted, maxSignatures: Malformed} {
		r := *bySecret
		r.set("webhook-signature", strings.Repeat("v1,AAAA ", n)+text(bySecret))
		outcome(t, "signatures by a secret alone", alone, &r, noon, "sec", want)
	}
	other := *bySecret
	other.set("webhook-id", "msg_other")
	outcome(t, "another id", both, &other, noon, "", Mismatch)
	other.set("webhook-id")
	outcome(t, "no id", both, &other, noon, "", Missing)
}

// TestHeadersOfTwoNames signs by Svix's names and by those of Standard Webhooks. Those
// of one prefix count, the first that is complete, and only they name the event.
func TestHeadersOfTwoNames(t *testing.T) {
	t.Parallel()
	secrets := []Secret{{ID: "k", Key: []byte("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")}}
	schemes := map[string]*Scheme{}
	for _, name := range []string{"svix", "standard-webhooks"} {
		schemes[name] = compile(t, timed(Config{Scheme: name, Secrets: secrets}))
	}
	of := func(prefix string) map[string]string { // the request of the specification
		return map[string]string{prefix + "id": "msg_p5jXN8AQM9LWM0D4loKWxJek", prefix + "timestamp": "1614265330",
			prefix + "signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}
	}
	for _, tc := range []struct {
		scheme, names, stray, value string
	}{
		{"svix", "svix-", "", ""},
		{"svix", "svix-", "webhook-id", "other"},
		{"svix", "svix-", "webhook-timestamp", "1"},
		{"svix", "svix-", "webhook-signature", "v1,AAAA"},
		{"svix", "webhook-", "", ""},
		{"svix", "webhook-", "svix-signature", "v1,AAAA"},
		{"svix", "webhook-", "svix-id", ""},
		{"svix", "webhook-", "svix-id", "other"},
		{"standard-webhooks", "webhook-", "svix-id", "other"},
		{"standard-webhooks", "webhook-", "svix-signature", "v1,AAAA"},
		{"standard-webhooks", "svix-", "", ""},
		{"standard-webhooks", "svix-", "webhook-id", "other"},
		{"standard-webhooks", "svix-", "webhook-timestamp", "1"},
		{"standard-webhooks", "svix-", "webhook-signature", "v1,AAAA"},
	} {
		r := &captured{body: []byte(`{"test": 2432232314}`)}
		for name, value := range of(tc.names) {
			r.set(name, value)
		}
		if tc.stray != "" {
			r.set(tc.stray, tc.value)
		}
		about := fmt.Sprintf("%s, %s with %s", tc.scheme, tc.names, tc.stray)
		outcome(t, about, schemes[tc.scheme], r, time.Unix(1614265330, 0), "k", accepted)
		for _, name := range []string{"svix-id", "webhook-id"} {
			if id, count := schemes[tc.scheme].Header(r, name); string(id) != of("")["id"] || count != 1 {
				t.Errorf("%s: %s is %q for a mapping, want the id that is signed", about, name, id)
			}
		}
	}
	for mask := 1; mask < 7; mask++ { // a whole request, its headers shared out
		for _, scheme := range schemes {
			r := &captured{body: []byte(`{"test": 2432232314}`)}
			for i, name := range []string{"id", "timestamp", "signature"} {
				r.set([]string{"svix-", "webhook-"}[mask>>i&1]+name, of("")[name])
			}
			outcome(t, fmt.Sprintf("%s, headers of both names, %03b", scheme, mask), scheme, r, time.Unix(1614265330, 0), "", Missing)
		}
	}
	both := &captured{body: []byte(`{"test": 2432232314}`)} // both complete: the first counts, whatever the second says
	for name, value := range of("webhook-") {
		both.set(name, value)
	}
	for name, value := range of("svix-") {
		both.set(name, value)
	}
	both.set("svix-id", "other")
	outcome(t, "both whole, svix- wrong", schemes["svix"], both, time.Unix(1614265330, 0), "", Mismatch)
	outcome(t, "both whole, svix- wrong", schemes["standard-webhooks"], both, time.Unix(1614265330, 0), "k", accepted)
}

// TestSignedPathIsTheRequests sends what was signed for one address to another.
func TestSignedPathIsTheRequests(t *testing.T) {
	t.Parallel()
	c := of("easypost v2")
	c.Secrets = []Secret{{ID: "k", Key: []byte("k")}}
	scheme := compile(t, c)
	sign := func(said string) *captured {
		d := Draft{Method: "POST", Path: "/hooks/easypost", Body: payload}
		if said != "" {
			d.Headers = headers("X-Path", said)
		}
		out, err := scheme.SignRequest(d, noon)
		if err != nil {
			t.Fatal(err)
		}
		return &captured{method: d.Method, path: d.Path, headers: append(d.Headers, out.Headers...), body: out.Body}
	}
	for _, tc := range []struct {
		said, path, query string
		want              Kind
	}{
		{"", "/hooks/easypost", "", accepted},
		{"", "/hooks/easypost", "a=b", accepted},
		{"", "/hooks/easypost/", "", Mismatch},
		{"", "/hooks", "", Mismatch},
		{"", "/v1/events/courier/other", "", Mismatch},
	} {
		r := sign(tc.said)
		r.path, r.query = tc.path, tc.query
		outcome(t, "sent to "+tc.path, scheme, r, noon, "k", tc.want)
	}
	for query, want := range map[string]Kind{"a=b": accepted, "a=c": Mismatch, "": Mismatch} {
		r := sign("")
		r.query = query
		for _, h := range []string{"X-Path", "X-Hmac-Signature-V2"} {
			r.set(h)
		}
		at, _ := r.Header("x-timestamp")
		mac := hmac.New(sha256.New, []byte("k"))
		fmt.Fprintf(mac, "%sPOST/hooks/easypost?a=b%s", at, payload)
		r.set("X-Path", "/hooks/easypost?a=b")
		r.set("X-Hmac-Signature-V2", hex.EncodeToString(mac.Sum(nil)))
		outcome(t, "signed with its query, sent with "+query, scheme, r, noon, "k", want)
	}
}

// TestVectorsBySigning compares what Sign makes with what others made.
func TestVectorsBySigning(t *testing.T) {
	t.Parallel()
	c := timed(Config{Scheme: "standard-webhooks", Secrets: []Secret{{ID: "k", Key: []byte("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")}}})
	out, err := compile(t, c).SignRequest(Draft{
		Headers: headers("Webhook-Id", "msg_p5jXN8AQM9LWM0D4loKWxJek"), Body: []byte(`{"test": 2432232314}`),
	}, time.Unix(1614265330, 0))
	want := "[{webhook-timestamp 1614265330} {webhook-signature v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=}]"
	if got := fmt.Sprint(out.Headers); err != nil || got != want {
		t.Errorf("signs %s, %v; want %s", got, err, want)
	}
	seed, _ := hex.DecodeString("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
	private := ed25519.NewKeyFromSeed(seed)
	c = Config{
		Scheme: "ed25519", Derive: "hex", Signature: Place{Names: []string{"s"}}, PrivateKey: &PrivateKey{Key: private},
		Secrets: []Secret{{ID: "k", Key: []byte("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")}},
	}
	want = "[{s 92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00}]"
	if got := fmt.Sprint(compile(t, c).Sign([]byte{0x72}, noon)); got != want {
		t.Errorf("signs %s, want %s", got, want)
	}
}
