package bench

import (
	"slices"
	"testing"

	"github.com/fincart/courier-gateway/ingest/signature"
)

func TestEndpoint(t *testing.T) {
	t.Parallel()
	for base, want := range map[string]string{
		"http://h:1": "http://h:1/v1/events/courier/demo", "https://h/": "https://h/v1/events/courier/demo", "http://h/hook?x=1": "http://h/hook?x=1",
		"h:1": "", "": "", "ftp://h": "", "http://": "",
	} {
		got, err := Endpoint(base, "demo")
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", base, got, err, want)
		}
	}
}

func TestPreferKeepsTheOthers(t *testing.T) {
	t.Parallel()
	c := signature.Config{Scheme: "hmac", Algorithms: []signature.Algorithm{signature.SHA256, signature.SHA512, signature.SHA1}, AllowSHA1: true}
	prefer(&c, signature.SHA512)
	if want := []signature.Algorithm{signature.SHA512, signature.SHA256, signature.SHA1}; !slices.Equal(c.Algorithms, want) || !c.AllowSHA1 {
		t.Errorf("%v", c.Algorithms)
	}
}
