package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/bench"
	"github.com/fincart/courier-gateway/ingest/signature"
)

// intake is a stand-in for an appliance that verifies signatures by itself, from the
// words of the specification.
type intake struct {
	*httptest.Server
	scheme, secret string
	mu             sync.Mutex
	bodies         []string
	paths          []string
	keys           map[string]bool
}

func newIntake(t *testing.T, scheme, secret string) *intake {
	t.Helper()
	in := &intake{scheme: scheme, secret: secret, keys: map[string]bool{}}
	in.Server = httptest.NewServer(in)
	t.Cleanup(in.Close)
	return in
}

func (in *intake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if fault := in.fault(r, body); fault != "" {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, `{"acknowledged":false,"errorCode":"INVALID_SIGNATURE","detail":%q}`, fault)
		return
	}
	var e struct{ EventID, IdempotencyKey string }
	_ = json.Unmarshal(body, &e) // some tests send what is no event
	in.mu.Lock()
	defer in.mu.Unlock()
	in.bodies = append(in.bodies, string(body))
	in.paths = append(in.paths, r.URL.Path)
	duplicate := e.IdempotencyKey != "" && in.keys[e.IdempotencyKey]
	in.keys[e.IdempotencyKey] = true
	w.WriteHeader(http.StatusAccepted)
	fmt.Fprintf(w, "{\n \"acknowledged\":true, \"eventId\":%q, \"duplicate\":%v\n}", e.EventID, duplicate)
}

// fault says what is wrong with a request's signature.
func (in *intake) fault(r *http.Request, body []byte) string {
	newHash := sha256.New
	switch r.Header.Get("x-signature-algorithm") {
	case "hmac-sha256":
	case "hmac-sha512":
		newHash = sha512.New
	default:
		return "algorithm"
	}
	mac := hmac.New(newHash, []byte(in.secret))
	if in.scheme == "gateway" {
		seconds := r.Header.Get("x-signature-timestamp")
		var at int64
		if _, err := fmt.Sscanf(seconds, "%d", &at); err != nil || time.Since(time.Unix(at, 0)).Abs() > 5*time.Minute {
			return "timestamp"
		}
		mac.Write([]byte(seconds + "."))
	}
	mac.Write(body)
	if r.Header.Get("x-signature") != hex.EncodeToString(mac.Sum(nil)) {
		return "signature"
	}
	if r.Header.Get("content-type") != "application/json" || r.Method != http.MethodPost {
		return "content type or method"
	}
	return ""
}

func (in *intake) last() string {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.bodies) == 0 {
		return ""
	}
	return in.bodies[len(in.bodies)-1]
}

func (in *intake) received() (bodies, paths []string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.Clone(in.bodies), slices.Clone(in.paths)
}

func settings(scheme, secret string) signature.Config {
	return signature.Config{
		Scheme: scheme, Secrets: []signature.Secret{{ID: "one", Key: []byte(secret)}},
		TolerancePast: time.Minute, ToleranceFuture: time.Minute,
	}
}

// newSigner returns a signer for an endpoint by these settings.
func newSigner(t testing.TB, url string, c signature.Config) *bench.Signer {
	t.Helper()
	scheme, err := bench.NewScheme(c)
	if err != nil {
		t.Fatal(err)
	}
	s, err := bench.NewSigner(bench.SignerConfig{URL: url, Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
