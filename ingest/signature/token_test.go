package signature

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"
	"time"
)

func b64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// hs256 returns a token signed by HMAC, whatever its header says.
func hs256(header, claims, secret string) string {
	input := b64(header) + "." + b64(claims)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(input))
	return input + "." + b64(string(mac.Sum(nil)))
}

// rs256 returns a token signed by the first test key, whatever its header says.
func rs256(t *testing.T, header, claims string) string {
	t.Helper()
	input := b64(header) + "." + b64(claims)
	sum := sha256.Sum256([]byte(input))
	signature, err := rsa.SignPKCS1v15(rand.Reader, rsaPair()[0], crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + b64(string(signature))
}

func TestTokenHeader(t *testing.T) {
	t.Parallel()
	place := Place{Names: []string{"x-jwt"}}
	byHMAC := compile(t, Config{Scheme: "jwt", Signature: place, Secrets: []Secret{{ID: "k", Key: []byte("s")}}})
	keys := keySource(t, jwksOf("new", "old"))
	byRSA := compile(t, Config{Scheme: "jwt", Signature: place, Algorithms: []Algorithm{RS256}, Keys: keys})
	byBoth := compile(t, Config{Scheme: "jwt", Signature: place, Algorithms: []Algorithm{RS256, HS256}, Keys: keys, Secrets: []Secret{{ID: "k", Key: []byte("s")}}})
	der, err := x509.MarshalPKIXPublicKey(&rsaPair()[0].PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	good := hs256(`{"alg":"HS256"}`, `{}`, "s")

	for _, tc := range []struct {
		name   string
		scheme *Scheme
		token  string
		id     string
		want   Kind
	}{
		{"by HMAC", byHMAC, good, "k", accepted},
		{"by HMAC, both allowed", byBoth, good, "k", accepted},
		{"by RSA", byRSA, rs256(t, `{"alg":"RS256","kid":"new"}`, `{}`), "new", accepted},
		{"by RSA, both allowed", byBoth, rs256(t, `{"alg":"RS256","kid":"new"}`, `{}`), "new", accepted},
		{"by RSA without a key id", byRSA, rs256(t, `{"alg":"RS256"}`, `{}`), "new", accepted},
		{"by RSA, key id with an escape", byRSA, rs256(t, `{"alg":"RS256","kid":"n\u0065w"}`, `{}`), "new", accepted},
		{"by RSA, another key's id", byRSA, rs256(t, `{"alg":"RS256","kid":"old"}`, `{}`), "", Mismatch},
		{"by RSA, an id of no key", byRSA, rs256(t, `{"alg":"RS256","kid":"none"}`, `{}`), "", UnknownKey},
		{"by RSA, an empty id", byRSA, rs256(t, `{"alg":"RS256","kid":""}`, `{}`), "", UnknownKey},
		{"by RSA, id no string", byRSA, rs256(t, `{"alg":"RS256","kid":1}`, `{}`), "", Malformed},
		{"by RSA, two ids", byRSA, rs256(t, `{"alg":"RS256","kid":"new","kid":"old"}`, `{}`), "", Malformed},
		{"none", byHMAC, b64(`{"alg":"none"}`) + "." + b64(`{}`) + ".", "", Malformed},
		{"none with a signature", byBoth, hs256(`{"alg":"none"}`, `{}`, "s"), "", WrongAlgorithm},
		{"None", byBoth, hs256(`{"alg":"None"}`, `{}`, "s"), "", WrongAlgorithm},
		{"HMAC by the public key", byRSA, hs256(`{"alg":"HS256","kid":"new"}`, `{}`, public), "", WrongAlgorithm},
		{"HMAC by the public key, both allowed", byBoth, hs256(`{"alg":"HS256","kid":"new"}`, `{}`, public), "", Mismatch},
		{"RSA for those who know HMAC only", byHMAC, rs256(t, `{"alg":"RS256","kid":"new"}`, `{}`), "", WrongAlgorithm},
		{"an HMAC passed off as RSA", byBoth, hs256(`{"alg":"RS256","kid":"new"}`, `{}`, "s"), "", Mismatch},
		{"a longer HMAC than allowed", byHMAC, hs256(`{"alg":"HS512"}`, `{}`, "s"), "", WrongAlgorithm},
		{"algorithm in another case", byHMAC, hs256(`{"alg":"hs256"}`, `{}`, "s"), "", WrongAlgorithm},
		{"algorithm with an escape", byHMAC, hs256(`{"alg":"HS25\u0036"}`, `{}`, "s"), "k", accepted},
		{"algorithm under another name", byHMAC, hs256(`{"ALG":"HS256"}`, `{}`, "s"), "", Malformed},
		{"two algorithms", byHMAC, hs256(`{"alg":"HS256","alg":"none"}`, `{}`, "s"), "", Malformed},
		{"no algorithm", byHMAC, hs256(`{}`, `{}`, "s"), "", Malformed},
		{"algorithm no string", byHMAC, hs256(`{"alg":["HS256"]}`, `{}`, "s"), "", Malformed},
		{"an extension that must be understood", byHMAC, hs256(`{"alg":"HS256","crit":["exp"],"exp":1}`, `{}`, "s"), "", Malformed},
		{"header no object", byHMAC, hs256(`"HS256"`, `{}`, "s"), "", Malformed},
		{"header no JSON", byHMAC, hs256(`{"alg":"HS256"`, `{}`, "s"), "", Malformed},
		{"claims no object", byHMAC, hs256(`{"alg":"HS256"}`, `[]`, "s"), "", Malformed},
		{"claims no JSON", byHMAC, hs256(`{"alg":"HS256"}`, `{`, "s"), "", Malformed},
		{"padded", byHMAC, good + "=", "", Malformed},
		{"two parts", byHMAC, good[:strings.LastIndex(good, ".")], "", Malformed},
		{"four parts", byHMAC, good + ".x", "", Malformed},
		{"five parts, as if encrypted", byHMAC, good + "." + good, "", Malformed},
		{"no signature", byHMAC, good[:strings.LastIndex(good, ".")+1], "", Malformed},
		{"signature of another length", byHMAC, good[:len(good)-3], "", Mismatch},
		{"other claims", byHMAC, strings.Replace(good, "."+b64("{}")+".", "."+b64(`{"a":1}`)+".", 1), "", Mismatch},
		{"dots", byHMAC, "..", "", Malformed},
	} {
		r := &captured{}
		r.set("x-jwt", tc.token)
		outcome(t, tc.name, tc.scheme, r, noon, tc.id, tc.want)
	}
}

func TestTokenClaims(t *testing.T) {
	t.Parallel()
	c := Config{
		Scheme: "jwt", Signature: Place{Names: []string{"x-jwt"}}, Secrets: []Secret{{ID: "k", Key: []byte("s")}},
		TolerancePast: 10 * time.Second, ToleranceFuture: 5 * time.Second,
	}
	times := compile(t, c)
	c.Claims = map[string]string{"aud": "us", "sub": "", "n": "7"}
	required := compile(t, c)
	for _, tc := range []struct {
		name, claims string
		scheme       *Scheme
		want         Kind
	}{
		{"none", `{}`, times, accepted},
		{"in time", `{"iat":1772107200,"nbf":1772107200,"exp":1772107201}`, times, accepted},
		{"expired, but tolerated", `{"exp":1772107191}`, times, accepted},
		{"expired", `{"exp":1772107190}`, times, TooOld},
		{"long expired", `{"exp":0}`, times, TooOld},
		{"soon, but tolerated", `{"nbf":1772107205}`, times, accepted},
		{"not yet", `{"nbf":1772107206}`, times, TooNew},
		{"issued in the future", `{"iat":1772107206}`, times, TooNew},
		{"with a fraction", `{"exp":1772107191.9,"iat":1772107205.9}`, times, accepted},
		{"expired, with a fraction", `{"exp":1772107190.9}`, times, TooOld},
		{"in words", `{"exp":"1772107201"}`, times, Malformed},
		{"with an exponent", `{"exp":1e12}`, times, Malformed},
		{"negative", `{"exp":-1}`, times, Malformed},
		{"null", `{"exp":null}`, times, Malformed},
		{"endless", `{"exp":99999999999999999999}`, times, Malformed},
		{"twice", `{"exp":1772107201,"exp":1}`, times, Malformed},
		{"twice by an escape", `{"exp":1772107201,"e\u0078p":1}`, times, Malformed},

		{"all there", `{"aud":"us","sub":"x","n":7}`, required, accepted},
		{"one of a list", `{"aud":["them","us"],"sub":"x","n":7}`, required, accepted},
		{"by an escape", `{"aud":"\u0075s","sub":"x","n":7}`, required, accepted},
		{"another value", `{"aud":"them","sub":"x","n":7}`, required, WrongClaim},
		{"another list", `{"aud":["them"],"sub":"x","n":7}`, required, WrongClaim},
		{"a list of other things", `{"aud":["us",1],"sub":"x","n":7}`, required, WrongClaim},
		{"one missing", `{"aud":"us","n":7}`, required, WrongClaim},
		{"one null", `{"aud":"us","sub":null,"n":7}`, required, WrongClaim},
		{"one twice", `{"aud":"us","sub":"x","n":7,"aud":"us"}`, required, WrongClaim},
		{"a number as text", `{"aud":"us","sub":"x","n":"7"}`, required, accepted},
		{"another number", `{"aud":"us","sub":"x","n":70}`, required, WrongClaim},
	} {
		r := &captured{}
		r.set("x-jwt", hs256(`{"alg":"HS256"}`, tc.claims, "s"))
		outcome(t, tc.name, tc.scheme, r, noon, "k", tc.want)
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	static := compile(t, Config{Scheme: "static_header", Signature: Place{Names: []string{"x-key", "api-key"}, Prefix: "Key ", PrefixOptional: true},
		Secrets: []Secret{{ID: "k", Key: []byte("Key to all")}, {ID: "k2", Key: []byte("open")}}})
	basic := compile(t, Config{Scheme: "basic", Secrets: []Secret{{ID: "k", Key: []byte("user:pass:word")}}})
	bearer := compile(t, Config{Scheme: "bearer", Secrets: []Secret{{ID: "k", Key: []byte("open sesame")}}})
	query := compile(t, Config{Scheme: "query_token", Signature: Place{Names: []string{"k"}}, Secrets: []Secret{{ID: "k", Key: []byte("open")}}})
	basicText := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, tc := range []struct {
		name, header, value, query string
		scheme                     *Scheme
		id                         string
		want                       Kind
	}{
		{"with its word", "X-Key", "Key open", "", static, "k2", accepted},
		{"without its word", "X-Key", "open", "", static, "k2", accepted},
		{"under its other name", "Api-Key", "open", "", static, "k2", accepted},
		{"starting like its word", "X-Key", "Key Key to all", "", static, "k", accepted},
		{"cut by its word", "X-Key", "Key to all", "", static, "", Mismatch},
		{"only its word", "X-Key", "Key ", "", static, "", Mismatch},
		{"longer", "X-Key", "open sesame", "", static, "", Mismatch},
		{"shorter", "X-Key", "ope", "", static, "", Mismatch},
		{"elsewhere", "X-Other", "open", "", static, "", Missing},
		{"user and password", "Authorization", basicText("user:pass:word"), "", basic, "k", accepted},
		{"without padding", "Authorization", strings.TrimRight(basicText("user:pass:word"), "="), "", basic, "k", accepted},
		{"another password", "Authorization", basicText("user:pass"), "", basic, "", Mismatch},
		{"another user", "Authorization", basicText("User:pass:word"), "", basic, "", Mismatch},
		{"not encoded", "Authorization", "Basic user:pass:word", "", basic, "", Malformed},
		{"nothing encoded", "Authorization", "Basic =", "", basic, "", Malformed},
		{"nothing but the word", "Authorization", "Basic", "", basic, "", Malformed},
		{"another word", "Authorization", "Bearer " + basicText("user:pass:word")[6:], "", basic, "", Malformed},
		{"bearer", "Authorization", "bearer open sesame", "", bearer, "k", accepted},
		{"bearer without a token", "Authorization", "Bearer  ", "", bearer, "", Malformed},
		{"basic for bearer", "Authorization", "Basic open sesame", "", bearer, "", Malformed},
		{"in the query", "", "", "a=b&k=open", query, "k", accepted},
		{"in the query, encoded", "", "", "k=%6Fpen", query, "k", accepted},
		{"in the query, twice", "", "", "k=open&k=open", query, "", Doubled},
		{"in the query, twice by an escape", "", "", "k=open&%6b=x", query, "", Doubled},
		{"in the query, encoded badly", "", "", "k=%6xpen", query, "", Malformed},
		{"in the query, empty", "", "", "k=", query, "", Missing},
		{"in the query, without a value", "", "", "k", query, "", Missing},
		{"in a header", "K", "open", "", query, "", Missing},
	} {
		r := &captured{query: tc.query}
		if tc.header != "" {
			r.set(tc.header, tc.value)
		}
		outcome(t, tc.name, tc.scheme, r, noon, tc.id, tc.want)
	}
}
