package jwks

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// document returns a key set with the same key under each of these ids.
func document(ids ...string) []byte {
	var keys []map[string]string
	for _, id := range ids {
		keys = append(keys, map[string]string{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": id, "n": ones(2048), "e": "AQAB"})
	}
	text, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		panic(err)
	}
	return text
}

func TestSourceStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		k, err := NewSource(Config{
			Load:  func(ctx context.Context) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() },
			Every: time.Hour, Retry: time.Minute, MaxAge: 3 * time.Hour, Now: time.Now,
		})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			k.Run(ctx, func(err error) { t.Errorf("reports %v", err) })
		}()
		synctest.Wait()
		cancel()
		<-done
	})
}

// TestSourceRenews loads keys before their time because they are asked for, but
// not again within Retry.
func TestSourceRenews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		loads := 0
		k, err := NewSource(Config{
			Load:  func(context.Context) ([]byte, error) { loads++; return document("new"), nil },
			Every: time.Hour, Retry: time.Minute, MaxAge: 3 * time.Hour, Now: time.Now,
		})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			k.Run(ctx, func(error) {})
		}()
		for i, after := range []time.Duration{time.Second, time.Minute, time.Hour - time.Minute} {
			time.Sleep(after)
			synctest.Wait()
			if want := min(i+1, 2); loads != want {
				t.Errorf("%v later there were %d loads, want %d", after, loads, want)
			}
			if i == 0 {
				k.Renew()
				k.Renew()
			}
		}
		cancel()
		<-done
	})
}

func TestNewSourceRefuses(t *testing.T) {
	t.Parallel()
	load := func(context.Context) ([]byte, error) { return nil, nil }
	for _, c := range []Config{
		{},
		{Load: load, Every: 2, Retry: 1, MaxAge: 3},
		{Now: time.Now, Every: 2, Retry: 1, MaxAge: 3},
		{Load: load, Now: time.Now, Every: 2, MaxAge: 3},
		{Load: load, Now: time.Now, Every: 2, Retry: 3, MaxAge: 4},
		{Load: load, Now: time.Now, Every: 2, Retry: 1, MaxAge: 2},
	} {
		if _, err := NewSource(c); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

// ones returns a number of so many bits, a multiple of 8, as a JWKS has it.
func ones(bits int) string {
	return base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{0xff}, bits/8))
}

func TestParse(t *testing.T) {
	t.Parallel()
	var good struct{ Keys []map[string]any }
	if err := json.Unmarshal(document("a"), &good); err != nil {
		t.Fatal(err)
	}
	with := func(name string, value any) string {
		one := map[string]any{}
		for k, v := range good.Keys[0] {
			one[k] = v
		}
		if one[name] = value; value == nil {
			delete(one, name)
		}
		text, err := json.Marshal(map[string]any{"keys": []any{one}})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, tc := range []struct {
		name, document string
		want           string // ids of the keys, or what the error says
	}{
		{"one key", string(document("a")), "[a]"},
		{"two keys of one id", string(document("a", "a")), "[a a]"},
		{"no keys", `{"keys":[]}`, "[]"},
		{"nothing else said", with("use", nil), "[a]"},
		{"no algorithm", with("alg", nil), "[a]"},
		{"for verifying", with("key_ops", []string{"sign", "verify"}), "[a]"},
		{"private members and whatever", with("d", "AQAB"), "[a]"},
		{"no id", with("kid", nil), "[jwk-e3b0c44298fc1c14]"},
		{"an id that can't be printed", with("kid", "a\nb"), "[jwk-7e18f737311b2dc3]"},
		{"for encryption", with("use", "enc"), "[]"},
		{"for signing only", with("key_ops", []string{"sign"}), "[]"},
		{"for no operation", with("key_ops", []string{}), "[]"},
		{"another algorithm", with("alg", "PS256"), "[]"},
		{"another type", with("kty", "EC"), "[]"},
		{"a shared secret", with("kty", "oct"), "[]"},
		{"a modulus of 2048 bits", with("n", ones(2048)), "[a]"},
		{"a modulus of 8192 bits", with("n", ones(8192)), "[a]"},
		{"a modulus of 1024 bits", with("n", ones(1024)), "[]"},
		{"a modulus of 8200 bits", with("n", ones(8200)), "[]"},
		{"an even modulus", with("n", ones(2048)[:340]+"AA"), "[]"},
		{"a modulus that is no base64", with("n", "a b"), "[]"},
		{"exponent 1", with("e", "AQ"), "[]"},
		{"an even exponent", with("e", "AAAE"), "[]"},
		{"an exponent of 40 bits", with("e", ones(40)), "[]"},
		{"no exponent", with("e", nil), "[]"},
		{"no JSON", `{"keys":[}`, "no JSON of the right form"},
		{"keys that are none", `{"keys":[1]}`, "no JSON of the right form"},
		{"no member keys", `{"Key":[]}`, "no member keys"},
		{"too many keys", `{"keys":[` + strings.Repeat("{},", maxKeys) + `{}]}`, "17 keys, at most 16"},
	} {
		set, err := parse([]byte(tc.document))
		got := fmt.Sprint(err)
		if err == nil {
			ids := []string{}
			for _, k := range set.all {
				ids = append(ids, k.ID)
			}
			got = fmt.Sprint(ids)
		}
		if err == nil && got != tc.want || err != nil && !strings.Contains(got, tc.want) {
			t.Errorf("%s: got %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestLoader(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	set := document("a")
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(set) })
	mux.HandleFunc("GET /moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/keys", http.StatusFound) })
	mux.HandleFunc("GET /huge", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, maxBytes+1)) })
	mux.HandleFunc("GET /full", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, maxBytes)) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, set, 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ address, want string }{ // part of the error; none for the document
		{server.URL + "/keys", ""},
		{"http://localhost:" + port + "/keys", ""},
		{"file:" + file, ""},
		{server.URL + "/moved", "it redirects to"},
		{server.URL + "/none", "answers 404"},
		{server.URL + "/huge", "more than 262144 bytes"},
		{"file:" + file + ".none", "no such file"},
		{"https://127.0.0.1:" + port + "/keys", "server gave HTTP response to HTTPS client"},
		{"http://192.0.2.1/keys", "https only"},
		{"http://localhost.example.com/keys", "https only"},
		{"ftp://127.0.0.1/keys", "neither file:PATH nor a https address"},
		{"https://user:s3cret@127.0.0.1/keys", "holds a name or a password"},
		{"ftp://user:s3cret@127.0.0.1/keys", "holds a name or a password"},
		{"file:", "neither"},
		{"keys.json", "neither"},
		{"https://", "neither"},
		{"://", "neither"},
		{"", "neither"},
	} {
		var got []byte
		load, err := Loader(tc.address)
		if err == nil {
			got, err = load(t.Context())
		}
		if tc.want == "" && (err != nil || string(got) != string(set)) || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: got %d bytes, %v; want %q", tc.address, len(got), err, tc.want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error shows the password: %v", tc.address, err)
		}
	}
	load, err := Loader(server.URL + "/full")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := load(t.Context()); err != nil || len(got) != maxBytes {
		t.Errorf("got %d bytes, %v, want as many as are possible", len(got), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := load(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v from a load that was given up", err)
	}
}
