package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// TestGatewayVectors holds digests made with Python's hmac module.
func TestGatewayVectors(t *testing.T) {
	t.Parallel()
	const (
		gateway256 = "d240536dad08d35d515c27f9b42ab8ca66b84e111325f6b4d8283aa785294ff8"
		gateway512 = "a79f8a906d9d6fce8ce5b81d4a20bcd0d9be5df326b166eaa55a116f54098049ac50ec19e1346bb022b5c5745c126eba34f33bcfdedd120883d6b320e48760d3"
		body256    = "9ccc0a78e10322b9a405b2b18dd95729d589cfe162e977a8c2a853b59355d766"
	)
	for _, tc := range []struct{ scheme, algorithm, want string }{
		{"gateway", "hmac-sha256", gateway256},
		{"gateway", "hmac-sha512", gateway512},
		{"gateway-body", "hmac-sha256", body256},
	} {
		c := config(tc.scheme)
		c.Algorithms = []Algorithm{Algorithm(tc.algorithm)}
		r := &captured{headers: compile(t, c).Sign(body, noon), body: body}
		if got, _ := r.Header("x-signature"); string(got) != tc.want {
			t.Errorf("%s by %s signs %s, want %s", tc.scheme, tc.algorithm, got, tc.want)
		}
		if got, _ := r.Header("x-signature-algorithm"); string(got) != tc.algorithm {
			t.Errorf("%s names algorithm %s, want %s", tc.scheme, got, tc.algorithm)
		}
		if got, n := r.Header("x-signature-timestamp"); tc.scheme == "gateway" && string(got) != "1772107200" || tc.scheme != "gateway" && n != 0 {
			t.Errorf("%s has timestamp %q", tc.scheme, got)
		}
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	at := func(d time.Duration) string { return strconv.FormatInt(noon.Add(d).Unix(), 10) }
	for _, tc := range []struct {
		name   string
		change func(*captured)
		want   Kind   // 0 for acceptance
		text   string // part of the failure's text
	}{
		{"as signed", func(*captured) {}, 0, ""},
		{"upper-case hex", func(r *captured) {
			v, _ := r.Header("x-signature")
			r.set("x-signature", strings.ToUpper(string(v)))
		}, 0, ""},
		{"other body", func(r *captured) { r.body = append([]byte(" "), r.body...) }, Mismatch, "does not match"},
		{"no body", func(r *captured) { r.body = nil }, Mismatch, "does not match"},
		{"other timestamp inside the tolerance", func(r *captured) { r.set("x-signature-timestamp", at(time.Second)) }, Mismatch, "does not match"},
		{"same timestamp, other digits", func(r *captured) { r.set("x-signature-timestamp", "0"+at(0)) }, Mismatch, "does not match"},
		{"one bit off", func(r *captured) {
			v, _ := r.Header("x-signature")
			v[63] ^= 1
			r.set("x-signature", string(v))
		}, Mismatch, "does not match"},
		{"no signature", func(r *captured) { r.set("x-signature") }, Missing, "x-signature is missing"},
		{"empty signature", func(r *captured) { r.set("x-signature", "") }, Missing, "x-signature is missing"},
		{"signature not hex", func(r *captured) { r.set("x-signature", strings.Repeat("g", 64)) }, Malformed, "x-signature"},
		{"signature cut short", func(r *captured) { r.set("x-signature", strings.Repeat("a", 62)) }, Malformed, "x-signature"},
		{"signature too long", func(r *captured) { r.set("x-signature", strings.Repeat("a", 66)) }, Malformed, "x-signature"},
		{"signature of the other length", func(r *captured) { r.set("x-signature", strings.Repeat("a", 128)) }, Malformed, "x-signature"},
		{"signature doubled", func(r *captured) { r.headers = append(r.headers, r.headers...) }, Doubled, "more than once"},
		{"second signature empty", func(r *captured) { r.headers = append(r.headers, Header{Name: "X-Signature"}) }, Doubled, "x-signature occurs"},
		{"no timestamp", func(r *captured) { r.set("x-signature-timestamp") }, Missing, "x-signature-timestamp is missing"},
		{"timestamp doubled", func(r *captured) { r.set("x-signature-timestamp", at(0), at(0)) }, Doubled, "x-signature-timestamp occurs"},
		{"timestamp negative", func(r *captured) { r.set("x-signature-timestamp", "-1") }, Malformed, "x-signature-timestamp"},
		{"timestamp as a date", func(r *captured) { r.set("x-signature-timestamp", "2026-02-26T12:00:00Z") }, Malformed, "x-signature-timestamp"},
		{"timestamp endless", func(r *captured) { r.set("x-signature-timestamp", strings.Repeat("9", 19)) }, Malformed, "x-signature-timestamp"},
		{"timestamp in the far future", func(r *captured) { r.set("x-signature-timestamp", strings.Repeat("9", 18)) }, TooNew, "1m0s in the future"},
		{"timestamp in milliseconds", func(r *captured) { r.set("x-signature-timestamp", at(0)+"000") }, TooNew, "in the future"},
		{"timestamp at the epoch", func(r *captured) { r.set("x-signature-timestamp", "0") }, TooOld, "5m0s in the past"},
		{"no algorithm", func(r *captured) { r.set("x-signature-algorithm") }, Missing, "x-signature-algorithm is missing"},
		{"algorithm doubled", func(r *captured) { r.set("x-signature-algorithm", "hmac-sha256", "hmac-sha256") }, Doubled, "x-signature-algorithm occurs"},
		{"algorithm unknown", func(r *captured) { r.set("x-signature-algorithm", "none") }, WrongAlgorithm, "not allowed"},
		{"algorithm in upper case", func(r *captured) { r.set("x-signature-algorithm", "HMAC-SHA256") }, WrongAlgorithm, "not allowed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := compile(t, config("gateway"))
			r := &captured{headers: s.Sign(body, noon), body: body}
			tc.change(r)
			id, err := s.Verify(r, noon)
			expect(t, id, err, "new", tc.want)
			if err != nil && !strings.Contains(err.Error(), tc.text) {
				t.Errorf("the failure says %q, want %q in it", err, tc.text)
			}
		})
	}
}

func TestTolerance(t *testing.T) {
	t.Parallel()
	s := compile(t, config("gateway"))
	r := &captured{headers: s.Sign(body, noon), body: body}
	for _, tc := range []struct {
		late time.Duration // of the verifier's clock
		want Kind
	}{
		{0, 0}, {5 * time.Minute, 0}, {5*time.Minute + 1, TooOld}, {time.Hour, TooOld},
		{-time.Minute, 0}, {-time.Minute - 1, TooNew}, {-time.Hour, TooNew},
	} {
		id, err := s.Verify(r, noon.Add(tc.late))
		expect(t, id, err, "new", tc.want)
	}
	s = compile(t, config("gateway-body"))
	id, err := s.Verify(&captured{headers: s.Sign(body, noon), body: body}, noon.AddDate(10, 0, 0))
	expect(t, id, err, "new", 0)
}

func TestSecretsRotate(t *testing.T) {
	t.Parallel()
	c := config("gateway")
	both := compile(t, c)
	c.Secrets = c.Secrets[1:]
	before := compile(t, c)
	c.Secrets = []Secret{{ID: "next", Key: []byte("s3cret-next")}}
	after := compile(t, c)

	r := &captured{headers: before.Sign(body, noon), body: body}
	id, err := both.Verify(r, noon)
	expect(t, id, err, "old", 0)
	id, err = after.Verify(r, noon)
	expect(t, id, err, "", Mismatch)
}

func TestAlgorithms(t *testing.T) {
	t.Parallel()
	only := func(a ...Algorithm) *Scheme {
		c := config("gateway")
		c.Algorithms = a
		return compile(t, c)
	}
	r := &captured{headers: only(HMACSHA512).Sign(body, noon), body: body}
	id, err := only().Verify(r, noon)
	expect(t, id, err, "new", 0)
	id, err = only(HMACSHA256).Verify(r, noon)
	expect(t, id, err, "", WrongAlgorithm)
	r.set("x-signature-algorithm")
	id, err = only(HMACSHA512).Verify(r, noon)
	expect(t, id, err, "new", 0)
	id, err = only(HMACSHA256, HMACSHA512).Verify(r, noon)
	expect(t, id, err, "", Missing)
	r.set("x-signature-algorithm", "hmac-sha256") // a digest can't be passed off as the other's
	id, err = only().Verify(r, noon)
	expect(t, id, err, "", Malformed)
}

func TestNewListsEveryFault(t *testing.T) {
	t.Parallel()
	_, err := New(Config{
		Scheme:     "gateway",
		Algorithms: []Algorithm{"md5", HMACSHA256, HMACSHA256},
		Secrets: []Secret{
			{ID: "a", Key: []byte("k")}, {ID: "a", Key: []byte("k")}, {ID: "line\nbreak", Key: []byte("k")}, {ID: strings.Repeat("x", 65)},
		},
		ToleranceFuture: -1,
	})
	var got []string
	if faults, ok := errors.AsType[event.Faults](err); ok {
		for _, f := range faults {
			got = append(got, f.Path)
		}
	}
	want := "algorithms[0] algorithms[2] secrets[1].id secrets[2].id secrets[3].id secrets[3].key tolerance_past tolerance_future"
	if strings.Join(got, " ") != want {
		t.Errorf("faults at %v, want %s", got, want)
	}
	if _, err = New(Config{Scheme: "rot13"}); err == nil || err.Error() != `scheme: "rot13" is none of `+strings.Join(Names(), ", ")+`; secrets: at least one secret is needed` {
		t.Errorf("got %v", err)
	}
	if _, err = New(Config{Scheme: "gateway-body", Secrets: []Secret{{ID: "k", Key: []byte("k")}}}); err != nil {
		t.Errorf("a scheme without a timestamp wants a tolerance: %v", err)
	}
}

func TestSecretsStayHidden(t *testing.T) {
	t.Parallel()
	c := config("gateway")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, c); strings.Contains(got, "s3cret") || strings.Contains(got, "115, 51, 99") {
			t.Errorf("%s gives the secret away: %s", verb, got)
		}
	}
}

func TestNewKeepsNothingOfTheConfig(t *testing.T) {
	t.Parallel()
	c := config("gateway")
	r := &captured{headers: compile(t, c).Sign(body, noon), body: body}
	s := compile(t, c)
	c.Secrets[0].Key[0] ^= 1
	id, err := s.Verify(r, noon)
	expect(t, id, err, "new", 0)
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	for _, one := range senders() {
		signer, s := one.signer(t, "new"), compile(t, one.verifier(t, "new"))
		good, bad := one.wires(t)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 20 {
					if _, err := s.Verify(good, noon); err != nil {
						t.Errorf("%s: %v", one.name, err)
					}
					if _, err := s.Verify(bad, noon); err == nil {
						t.Errorf("%s: a wrong request is accepted", one.name)
					}
				}
				if _, err := s.Verify(newWire(signed(t, signer, payload, noon)), noon); err != nil {
					t.Errorf("%s: another body: %v", one.name, err)
				}
			})
		}
		wg.Wait()
	}
}

// FuzzVerify compares Verify with a second implementation that takes the
// straight road.
func FuzzVerify(f *testing.F) {
	s, plain := compile(f, config("gateway")), compile(f, config("gateway-body"))
	for _, h := range s.Sign(body, noon) {
		f.Add(h.Value, "1772107200", "hmac-sha256", body)
	}
	f.Add("", "", "", []byte(nil))
	f.Add(strings.Repeat("A", 128), "999999999999999999", "hmac-sha512", []byte("x"))
	f.Fuzz(func(t *testing.T, sig, timestamp, algorithm string, body []byte) {
		for _, tc := range []struct {
			scheme  *Scheme
			message string
			timed   bool
		}{{s, timestamp + "." + string(body), true}, {plain, string(body), false}} {
			right := referenceDigest(algorithm, tc.message)
			for _, sig := range []string{sig, right} {
				r := &captured{body: body}
				r.set("x-signature", sig)
				r.set("x-signature-timestamp", timestamp)
				r.set("x-signature-algorithm", algorithm)
				_, err := tc.scheme.Verify(r, noon)
				want := right != "" && strings.EqualFold(sig, right) && (!tc.timed || referenceTimely(timestamp))
				if (err == nil) != want {
					t.Fatalf("%s: signature %q, timestamp %q, algorithm %q, body %q: %v, want acceptance %v", tc.scheme.Name(), sig, timestamp, algorithm, body, err, want)
				}
			}
		}
	})
}

func referenceDigest(algorithm, message string) string {
	h, ok := map[string]func() hash.Hash{"hmac-sha256": sha256.New, "hmac-sha512": sha512.New}[algorithm]
	if !ok {
		return ""
	}
	m := hmac.New(h, []byte("s3cret-new"))
	m.Write([]byte(message))
	return hex.EncodeToString(m.Sum(nil))
}

func referenceTimely(timestamp string) bool {
	n, err := strconv.ParseUint(timestamp, 10, 63)
	return err == nil && len(timestamp) <= 18 && int64(n) >= noon.Unix()-300 && int64(n) <= noon.Unix()+60
}

func TestKeyInfosTellNoSecret(t *testing.T) {
	t.Parallel()
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := compile(t, Config{Scheme: "gateway-body", Secrets: []Secret{
		{ID: "new", Key: []byte("n"), NotBefore: from}, {ID: "old", Key: []byte("o"), NotAfter: from},
	}})
	want := []KeyInfo{{ID: "new", NotBefore: from}, {ID: "old", NotAfter: from}}
	if got := s.KeyInfos(); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
