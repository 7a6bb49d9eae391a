package signature

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
)

func TestDecoding(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		encoding Encoding
		text     string
		want     string // "-" for a refusal
	}{
		{Hex, "00ffAb", "\x00\xff\xab"}, {Hex, "0", "-"}, {Hex, "0x", "-"}, {Hex, "00 ff", "-"}, {Hex, "0x00", "-"},
		{Base64, "+/8=", "\xfb\xff"}, {Base64, "+/8", "\xfb\xff"}, {Base64, "-_8=", "-"}, {Base64, "+/8==", "-"}, {Base64, "+/8=\n", "-"},
		{Base64, "+/\n8", "-"}, {Base64, "+/9=", "-"}, {Base64, "+", "-"}, {Base64, "+===", "-"}, {Base64, "AAAA", "\x00\x00\x00"}, {Base64, "AAAA=", "-"},
		{Base64, "AA==", "\x00"}, {Base64, "AA=", "-"}, {Base64, "=", "-"},
		{Base64URL, "-_8", "\xfb\xff"}, {Base64URL, "-_8=", "\xfb\xff"}, {Base64URL, "+/8=", "-"},
	} {
		out, ok := newCodec(tc.encoding).appendDecoded([]byte("kept"), []byte(tc.text))
		got := strings.TrimPrefix(string(out), "kept")
		if !bytes.HasPrefix(out, []byte("kept")) || ok == (tc.want == "-") || ok && got != tc.want {
			t.Errorf("%s as %s is %q, %v; want %q", tc.text, tc.encoding, got, ok, tc.want)
		}
	}
	for _, e := range encodings {
		c := newCodec(e)
		if out, ok := c.appendDecoded(nil, []byte(c.encode([]byte("\xfb\xff\x00")))); !ok || string(out) != "\xfb\xff\x00" {
			t.Errorf("%s writes %s and reads %q, %v", e, c.encode([]byte("\xfb\xff\x00")), out, ok)
		}
	}
}

func TestSignatureFields(t *testing.T) {
	t.Parallel()
	c := stripelike("stripe-signature")
	c.Secrets = []Secret{{ID: "k", Key: []byte("whole")}}
	s := compile(t, c)
	r := signed(t, s, payload, noon)
	_, value, _ := strings.Cut(r.headers[0].Value, "v1=")
	for _, tc := range []struct {
		name, header string
		want         Kind
	}{
		{"as signed", "t=1772107200,v1=" + value, accepted},
		{"in another order, with spaces", " v1=" + value + " ,  t=1772107200", accepted},
		{"with what is not known", "v0=x,t=1772107200,,=,v1=" + value + ",x", accepted},
		{"two signatures, the second right", "t=1772107200,v1=" + strings.Repeat("0", 64) + ",v1=" + value, accepted},
		{"two signatures, the first no hex", "t=1772107200,v1=zz,v1=" + value, accepted},
		{"two signatures, the first right", "t=1772107200,v1=" + value + ",v1=" + strings.Repeat("0", 64), accepted},
		{"no signature", "t=1772107200,v0=" + value, Missing},
		{"empty signature", "t=1772107200,v1=", Malformed},
		{"no time", "v1=" + value, Missing},
		{"empty time", "t=,v1=" + value, Missing},
		{"two times", "t=1772107200,t=1772107200,v1=" + value, Doubled},
		{"two times, one without a value", "t,t=1772107200,v1=" + value, Doubled},
		{"time in another case", "T=1772107200,v1=" + value, Missing},
		{"time in words", "t=noon,v1=" + value, Malformed},
		{"by semicolons", "t=1772107200;v1=" + value, Missing},
		{"as many as there may be", "t=1772107200" + strings.Repeat(",v1=00", maxSignatures-1) + ",v1=" + value, accepted},
		{"too many, the last right", "t=1772107200" + strings.Repeat(",v1=00", maxSignatures) + ",v1=" + value, Malformed},
		{"too many, the first right", "t=1772107200,v1=" + value + strings.Repeat(",v1=00", maxSignatures), Malformed},
	} {
		r.set("Stripe-Signature", tc.header)
		outcome(t, tc.name, s, r, noon, "k", tc.want)
	}
}

func TestMembers(t *testing.T) {
	t.Parallel()
	s := compile(t, Config{
		Scheme: "hmac", Encodings: []Encoding{Base64}, Signature: Place{From: "json", Names: []string{"sig"}},
		Message: []string{"json:data"}, Secrets: []Secret{{ID: "k", Key: []byte("5")}},
	})
	out, err := s.SignRequest(Draft{Body: []byte(`{"data": {"a":1} }`)}, noon)
	if err != nil {
		t.Fatal(err)
	}
	text := string(out.Body)
	sig := text[len(`{"sig":"`):strings.Index(text, `","data"`)]
	if raw, err := base64.StdEncoding.DecodeString(sig); err != nil || len(raw) != 32 {
		t.Fatalf("signed %s", text)
	}
	escaped := strings.NewReplacer("/", `\/`, "=", `\u003d`, "A", `\u0041`).Replace(sig)
	for _, tc := range []struct {
		name, body string
		want       Kind
	}{
		{"as signed", text, accepted},
		{"with escapes", strings.Replace(text, sig, escaped, 1), accepted},
		{"in another order", `{"data":{"a":1},"sig":"` + sig + `"}`, accepted},
		{"spelt by an escape", `{"d\u0061ta":{"a":1},"sig":"` + sig + `"}`, accepted},
		{"other white space in the member", `{"data":{"a": 1},"sig":"` + sig + `"}`, Mismatch},
		{"doubled member", `{"data":{"a":1},"sig":"` + sig + `","data":{"a":2}}`, Doubled},
		{"doubled by an escape", `{"data":{"a":1},"sig":"` + sig + `","dat\u0061":{"a":2}}`, Doubled},
		{"no member", `{"sig":"` + sig + `"}`, Missing},
		{"the member inside another", `{"x":{"data":{"a":1}},"sig":"` + sig + `"}`, Missing},
		{"signature null", `{"data":{"a":1},"sig":null}`, Missing},
		{"signature a list", `{"data":{"a":1},"sig":["` + sig + `"]}`, Malformed},
		{"signature no ASCII", `{"data":{"a":1},"sig":"\u00e9` + sig + `"}`, Malformed},
		{"signature a number", `{"data":{"a":1},"sig":7}`, Malformed},
		{"no object", `[` + text + `]`, Malformed},
		{"no JSON", text + `,`, Malformed},
		{"cut off", text[:len(text)-1], Malformed},
		{"empty", ``, Malformed},
		{"deep", strings.Repeat(`{"data":`, 20000) + strings.Repeat(`}`, 20000), Malformed},
	} {
		outcome(t, tc.name, s, &captured{body: []byte(tc.body)}, noon, "k", tc.want)
	}
}
