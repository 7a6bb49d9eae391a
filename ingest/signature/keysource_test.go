package signature

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
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// publisher is a sender's place of keys.
type publisher struct {
	mu       sync.Mutex
	document []byte
	err      error
	loads    int
}

func (p *publisher) load(context.Context) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.loads++
	return p.document, p.err
}

func (p *publisher) set(document []byte, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.document, p.err = document, err
}

func (p *publisher) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.loads
}

func TestKeySourceRun(t *testing.T) {
	first, both, second := jwks("new"), jwks("new", "old"), jwks("old") // made outside: that takes real time
	rsaSender := sender{config: Config{Scheme: "rsa", KeyIDHeader: "kid", Signature: Place{Names: []string{"s"}}, JWKS: "file:x"}}
	byNew, byOld := rsaSender.signer(t, "new"), rsaSender.signer(t, "old")
	synctest.Test(t, func(t *testing.T) {
		p := &publisher{err: errors.New("the line is dead")}
		k, err := NewKeySource(KeySourceConfig{Load: p.load, Every: time.Hour, Retry: time.Minute, MaxAge: 3 * time.Hour, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		var reports []error
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			k.Run(ctx, func(err error) { reports = append(reports, err) })
		}()
		c := rsaSender.config
		c.Keys = k
		s := compile(t, c)
		newer, older := signed(t, byNew, payload, noon), signed(t, byOld, payload, noon)
		after := func(d time.Duration, loads int, want [2]Kind, what string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if p.count() != loads {
				t.Errorf("%s: loaded %d times, want %d", what, p.count(), loads)
			}
			outcome(t, what+", new key", s, newer, time.Now(), "new", want[0])
			outcome(t, what+", old key", s, older, time.Now(), "old", want[1])
		}
		after(0, 1, [2]Kind{NoKeys, NoKeys}, "at first, without keys")
		p.set(first, nil)
		after(59*time.Second, 1, [2]Kind{NoKeys, NoKeys}, "before it is tried again")
		after(time.Second, 2, [2]Kind{accepted, UnknownKey}, "once there is a key") // and one is missed
		p.set(both, nil)
		after(59*time.Second, 2, [2]Kind{accepted, UnknownKey}, "a key is missed, but not so fast")
		after(time.Second, 3, [2]Kind{accepted, accepted}, "the missed key came")
		after(59*time.Minute, 3, [2]Kind{accepted, accepted}, "before the hour is over")
		p.set(second, nil)
		after(time.Minute, 4, [2]Kind{UnknownKey, Mismatch}, "one key is withdrawn") // the test keys change places
		p.set(nil, errors.New("the line is dead"))
		after(time.Minute, 5, [2]Kind{UnknownKey, Mismatch}, "a failure keeps the keys")
		p.set([]byte(`{"keys":[]}`), nil)
		after(time.Minute, 6, [2]Kind{NoKeys, NoKeys}, "an empty set counts")
		p.set(both, nil)
		after(time.Minute, 7, [2]Kind{accepted, accepted}, "the keys are back")
		p.set(nil, errors.New("the line is dead"))
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		outcome(t, "keys that are old", s, newer, time.Now(), "new", accepted)
		outcome(t, "keys that are too old", s, newer, time.Now().Add(time.Second), "", NoKeys)
		if count, loaded := k.Keys(); count != 2 || time.Since(loaded) != 3*time.Hour {
			t.Errorf("has %d keys since %v", count, loaded)
		}
		cancel()
		<-done
		for i, text := range []string{"dead", "", "", "", "dead", "no RSA key", "", "dead"} {
			if i >= len(reports) || (reports[i] == nil) != (text == "") || reports[i] != nil && !strings.Contains(reports[i].Error(), text) {
				t.Errorf("report %d of %v is not %q", i, reports, text)
			}
		}
	})
}

func TestKeySourceStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		k, err := NewKeySource(KeySourceConfig{
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

// TestKeySourceRenews loads keys before their time because somebody asks for it, but
// not again within Retry.
func TestKeySourceRenews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		loads := 0
		k, err := NewKeySource(KeySourceConfig{
			Load:  func(context.Context) ([]byte, error) { loads++; return jwks("new"), nil },
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

func TestNewKeySourceRefuses(t *testing.T) {
	t.Parallel()
	load := func(context.Context) ([]byte, error) { return nil, nil }
	for _, c := range []KeySourceConfig{
		{},
		{Load: load, Every: 2, Retry: 1, MaxAge: 3},
		{Now: time.Now, Every: 2, Retry: 1, MaxAge: 3},
		{Load: load, Now: time.Now, Every: 2, MaxAge: 3},
		{Load: load, Now: time.Now, Every: 2, Retry: 3, MaxAge: 4},
		{Load: load, Now: time.Now, Every: 2, Retry: 1, MaxAge: 2},
	} {
		if _, err := NewKeySource(c); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

// ones returns a number of so many bits, a multiple of 8, as a JWKS has it.
func ones(bits int) string {
	return base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{0xff}, bits/8))
}

func TestParseJWKS(t *testing.T) {
	t.Parallel()
	var good struct{ Keys []map[string]any }
	if err := json.Unmarshal(jwks("a"), &good); err != nil {
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
		{"one key", string(jwks("a")), "[a]"},
		{"two keys of one id", string(jwks("a", "a")), "[a a]"},
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
		set, err := parseJWKS([]byte(tc.document))
		got := fmt.Sprint(err)
		if err == nil {
			ids := []string{}
			for _, k := range set.all {
				ids = append(ids, k.id)
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
	document := jwks("a")
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(document) })
	mux.HandleFunc("GET /moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/keys", http.StatusFound) })
	mux.HandleFunc("GET /huge", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, maxJWKSBytes+1)) })
	mux.HandleFunc("GET /full", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, maxJWKSBytes)) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, document, 0o600); err != nil {
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
		if tc.want == "" && (err != nil || string(got) != string(document)) || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
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
	if got, err := load(t.Context()); err != nil || len(got) != maxJWKSBytes {
		t.Errorf("got %d bytes, %v, want as many as are possible", len(got), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := load(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v from a load that was given up", err)
	}
}
