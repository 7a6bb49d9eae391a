package values

import (
	"net/url"
	"testing"
)

// FuzzParameter compares with the standard library's reading of a query.
func FuzzParameter(f *testing.F) {
	for _, seed := range []string{"token=x", "a=1&tok%65n=a+b%26&token=", "token", "&&=&token=%zz", "%token=1", "token=%4", "x;token=1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		_, value, count, ok := Parameter(nil, []byte(query), "token")
		want, err := url.ParseQuery(query)
		if err != nil {
			return // it knows fewer queries than are sent
		}
		if count != len(want["token"]) || !ok || string(value) != want.Get("token") {
			t.Fatalf("token in %q is %q, %d times, %v; want %q", query, value, count, ok, want["token"])
		}
	})
}
