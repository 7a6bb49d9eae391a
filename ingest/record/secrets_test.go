package record

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/ingest/signature"
)

// redactorOf is one for couriers with these secrets.
func redactorOf(t testing.TB, secrets ...string) *Redactor {
	t.Helper()
	var schemes []*signature.Scheme
	for _, secret := range secrets {
		s, err := signature.New(signature.Config{Scheme: "bearer", Secrets: []signature.Secret{{ID: "k", Key: []byte(secret)}}})
		if err != nil {
			t.Fatal(err)
		}
		schemes = append(schemes, s)
	}
	return NewRedactor(schemes, nil)
}

// TestWhatIsNoSecretStays: what every request has is not taken for one of many secrets.
func TestWhatIsNoSecretStays(t *testing.T) {
	t.Parallel()
	var many []string
	for i := range 500 {
		many = append(many, fmt.Sprintf("secret-%d-0123456789", i))
	}
	r := redactorOf(t, many...)
	for _, text := range []string{
		"", "secret-", "secret-7-012345678", "550e8400-e29b-41d4-a716-446655440000", "4bf92f3577b34da6a3ce929d0e0e4736",
		strings.Repeat("secret-", 100), base64.StdEncoding.EncodeToString([]byte("secret-7-012345")), "100%", `\`, "%zz%4", `\u12`, "a+b",
	} {
		if r.Finds([]byte(text)) {
			t.Errorf("a secret is found in %q", text)
		}
	}
	for _, secret := range many {
		if !r.Finds([]byte("x"+secret)) || !r.Finds(hex.AppendEncode(nil, []byte(secret))) {
			t.Fatalf("%s is not found", secret)
		}
	}
	if short := redactorOf(t, "abc"); !short.Finds([]byte("xabcx")) || short.Finds([]byte("xabx")) {
		t.Error("a short secret is not found, or where it is not")
	}
}

// FuzzSecretsAreFound puts a secret into texts in ways that are nested, as far as they are
// resolved.
func FuzzSecretsAreFound(f *testing.F) {
	f.Add("user:", "!", uint8(0), uint8(1))
	f.Add("", "", uint8(2), uint8(3))
	f.Add("\xff%", "\\", uint8(4), uint8(5))
	const secret = "S3cret-0123456789-abcdef"
	r := redactorOf(f, secret)
	escapeAll := func(b []byte, format string) []byte {
		var out bytes.Buffer
		for _, c := range b {
			fmt.Fprintf(&out, format, c)
		}
		return out.Bytes()
	}
	wrap := []func(b []byte) []byte{
		func(b []byte) []byte { return b },
		func(b []byte) []byte { return hex.AppendEncode(nil, b) },
		func(b []byte) []byte { return base64.StdEncoding.AppendEncode(nil, b) },
		func(b []byte) []byte { return base64.RawURLEncoding.AppendEncode(nil, b) },
		func(b []byte) []byte { return escapeAll(b, "%%%02X") },
		func(b []byte) []byte { return escapeAll(b, `\u%04x`) },
	}
	f.Fuzz(func(t *testing.T, before, after string, inner, outer uint8) {
		within, around := wrap[int(inner)%len(wrap)], int(outer)%len(wrap)
		if inside := int(inner) % len(wrap); inside > 3 && around > 0 && around < 4 {
			return // what is escaped and then encoded is found if the escapes are the usual ones
		}
		text := wrap[around](append(append([]byte{}, within([]byte(secret))...), after...))
		if around == 0 || around > 3 {
			text = append([]byte(before), text...)
		}
		if strings.ContainsAny(before+after, `%\`) {
			return // those may make other escapes of it
		}
		if !r.Finds(text) {
			t.Errorf("not found in %q", text)
		}
		body := r.Begin(nil).Body(text, nil, len(text))
		if r.Finds(body) || !bytes.HasPrefix(text, body) {
			t.Errorf("of %q the body is %q", text, body)
		}
	})
}

func BenchmarkFinds(b *testing.B) {
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprintf("secret-%d-0123456789abcdef", i))
	}
	r, id := redactorOf(b, many...), []byte("550e8400-e29b-41d4-a716-446655440000")
	b.ReportAllocs()
	for b.Loop() {
		if r.Finds(id) {
			b.Fatal("found")
		}
	}
}
