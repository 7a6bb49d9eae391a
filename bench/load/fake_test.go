package load

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/bench"
	"github.com/fincart/courier-gateway/bench/proof"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/ingest/payload"
	"github.com/fincart/courier-gateway/ingest/signature"
)

var noon = time.Date(2026, 2, 26, 12, 0, 0, 0, time.UTC)

// fake is a stand-in for a whole appliance: it takes events, has them processed at once,
// with transient faults, and is the ledger of what it has.
type fake struct {
	*httptest.Server
	faults bench.Faults
	// refuse, when set, answers an event with this status instead of taking it.
	refuse func(key string) int
	// behind is how many sequences its reconciler has not come to.
	behind uint64

	mu       sync.Mutex
	records  map[string]*event.Record
	accepted uint64
}

func newFake(t *testing.T, faults bench.Faults) *fake {
	t.Helper()
	f := &fake{faults: faults, records: map[string]*event.Record{}}
	f.Server = httptest.NewServer(http.HandlerFunc(f.take))
	t.Cleanup(f.Close)
	return f
}

func (f *fake) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var e event.Event
	switch {
	case signatureFault("gateway", r, body) != "":
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"errorCode":"INVALID_SIGNATURE"}`)
	case len(payload.DecodeCanonical(body, &e, nil)) > 0:
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"errorCode":"INVALID_PAYLOAD"}`)
	default:
		if f.refuse != nil {
			if status := f.refuse(e.Key); status != 0 {
				w.WriteHeader(status)
				return
			}
		}
		known := f.process(strings.Clone(e.Key))
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintf(w, `{"acknowledged":true,"eventId":%q,"idempotencyKey":%q,"duplicate":%v}`, e.ID, e.Key, known)
	}
}

// process handles an event once and reports whether it was known.
func (f *fake) process(key string) (known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.accepted++
	if f.records[key] != nil {
		return true
	}
	r := &event.Record{Status: event.Processed}
	f.records[key] = r
	failures := f.faults.Of(key).Failures
	for n := range failures {
		r.Attempts = append(r.Attempts, event.Attempt{Number: n + 1, Outcome: event.WillRetry})
	}
	r.Attempts = append(r.Attempts, event.Attempt{Number: failures + 1, Outcome: event.Succeeded})
	return false
}

func (f *fake) record(key string) *event.Record {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.records[key]
}

func (f *fake) Figures(context.Context) (proof.Figures, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	counts := event.StoreCounts{Records: map[event.Status]int64{event.Processed: int64(len(f.records))}}
	queue := event.QueueState{Sync: "none", LastSeq: f.accepted, Verified: f.accepted - min(f.accepted, f.behind), At: time.Now()}
	return proof.Figures{Version: "fake", Queue: queue, Store: counts}, nil
}

func (f *fake) Event(_ context.Context, key, _ string) (event.Record, error) {
	if r := f.record(key); r != nil {
		return *r, nil
	}
	return event.Record{}, event.Errorf(event.NotFound, "", "there is none")
}

// The rest of a ledger is for appliances that a load test has started itself.
func (f *fake) Shipment(context.Context, string, string) (shipment.Shipment, error) {
	return shipment.Shipment{}, errNotAsked
}
func (f *fake) DeadLetters(context.Context, string) iter.Seq2[event.DeadLetter, error] {
	return func(yield func(event.DeadLetter, error) bool) { yield(event.DeadLetter{}, errNotAsked) }
}
func (f *fake) Applied(context.Context) (uint64, error) { return 0, errNotAsked }

var errNotAsked = errors.New("a load test of a running appliance does not ask for that")

// signatureFault says what is wrong with a request's signature, by the words of the
// specification.
func signatureFault(scheme string, r *http.Request, body []byte) string {
	mac := hmac.New(sha256.New, []byte("a secret"))
	if scheme == "gateway" {
		seconds := r.Header.Get("x-signature-timestamp")
		var at int64
		if _, err := fmt.Sscanf(seconds, "%d", &at); err != nil || time.Since(time.Unix(at, 0)).Abs() > 5*time.Minute {
			return "timestamp"
		}
		mac.Write([]byte(seconds + "."))
	}
	mac.Write(body)
	switch {
	case r.Header.Get("x-signature-algorithm") != "hmac-sha256":
		return "algorithm"
	case r.Header.Get("x-signature") != hex.EncodeToString(mac.Sum(nil)):
		return "signature"
	case r.Header.Get("content-type") != "application/json" || r.Method != http.MethodPost:
		return "content type or method"
	}
	return ""
}

func generator(tb testing.TB, change func(*bench.GeneratorConfig)) *bench.Generator {
	tb.Helper()
	cfg := bench.GeneratorConfig{Seed: 7, Source: "courier-x", Start: noon, Step: 2 * time.Hour, Interleave: 64}
	if change != nil {
		change(&cfg)
	}
	g, err := bench.NewGenerator(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

func settings(scheme string) signature.Config {
	return signature.Config{
		Scheme: scheme, Secrets: []signature.Secret{{ID: "one", Key: []byte("a secret")}},
		TolerancePast: time.Minute, ToleranceFuture: time.Minute,
	}
}

// newSigner returns a signer for an endpoint.
func newSigner(t testing.TB, url, scheme string) *bench.Signer {
	t.Helper()
	compiled, err := bench.NewScheme(settings(scheme))
	if err != nil {
		t.Fatal(err)
	}
	s, err := bench.NewSigner(bench.SignerConfig{URL: url, Scheme: compiled})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// at returns an endpoint of this machine.
func at(t testing.TB, url string) *endpoint {
	t.Helper()
	e, err := newEndpoint(t.Context(), url, false, "")
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// newTestLoad returns a load on an endpoint, for courier demo.
func newTestLoad(t testing.TB, url string, cfg loadConfig, m Mix) *load {
	t.Helper()
	to := at(t, url)
	if cfg.timeout == 0 {
		cfg.timeout = 10 * time.Second
	}
	events := generator(t, func(c *bench.GeneratorConfig) { c.Source = "demo"; c.Interleave = 20 })
	return &load{
		cfg: cfg, plan: &plan{events: events, mix: m}, signer: newSigner(t, to.url, "gateway"),
		past: time.Hour, to: to, rec: newRecorder(to.url, defaultThresholds.Within),
	}
}
