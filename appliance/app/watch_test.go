package app

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/process"
)

// watched is a health whose parts all work, for tests that break one.
func watched() (*health, *watchedParts) {
	p := &watchedParts{queue: event.QueueState{Mode: "embedded", Healthy: true, MaxBytes: 1000, DiskFree: -1}}
	return &health{
		queue: p, store: p, letters: p, held: func() *process.Hold { return p.hold }, couriers: func() []string { return nil },
		outcomes: func() []string { return p.outcomes }, slow: func() []string { p.slowLooks++; return nil },
		limits: healthLimits{deadLetters: 100, diskReserve: 1000}, draining: new(atomic.Bool),
	}, p
}

type watchedParts struct {
	queue     event.QueueState
	hold      *process.Hold
	pending   int64
	problems  []string
	outcomes  []string
	slowLooks int
	uncounted error
}

func (p *watchedParts) State(context.Context) (event.QueueState, error) { return p.queue, nil }

func (p *watchedParts) Name() string { return "embedded" }

func (p *watchedParts) Ping(context.Context) error { return nil }

func (p *watchedParts) Problems() []string { return p.problems }

func (p *watchedParts) Counts(context.Context) (event.StoreCounts, error) {
	return event.StoreCounts{DeadLetters: map[event.ReviewStatus]int64{event.ReviewPending: p.pending, event.ReviewClosed: 1 << 20}}, p.uncounted
}

// report probes and returns the report for operators, which is 200 in all these cases.
func (h *health) report(t *testing.T) (r HealthReport) {
	t.Helper()
	h.probe(t.Context())
	code, body := h.answer(true)
	if err := json.Unmarshal(body, &r); err != nil {
		t.Fatal(err)
	}
	if code != http.StatusOK {
		t.Errorf("status %d: %s", code, body)
	}
	return r
}

// wantHealth fails the test unless the report has this status and, where it is
// degraded, one problem with all of these words.
func wantHealth(t *testing.T, what string, r HealthReport, status string, words ...string) {
	t.Helper()
	if r.Status != status || (len(words) > 0) != (len(r.Problems) == 1) {
		t.Errorf("%s: %s, %q", what, r.Status, r.Problems)
		return
	}
	for _, word := range words {
		if !strings.Contains(r.Problems[0], word) {
			t.Errorf("%s: %q says nothing of %q", what, r.Problems[0], word)
		}
	}
}

func TestHealthOfWorkersThatHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := watched()
		p.hold = &process.Hold{Since: time.Now(), Cause: errors.New("write /data: read-only file system")}
		wantHealth(t, "at once", h.report(t), "healthy")
		time.Sleep(stalled + time.Second)
		wantHealth(t, "after a while", h.report(t), "degraded", "workers", "2000-01-01T00:00:00Z", "read-only file system")
		p.hold = nil
		wantHealth(t, "when it is over", h.report(t), "healthy")
	})
}

func TestHealthOfWhatTheStoreSays(t *testing.T) {
	h, p := watched()
	p.problems = []string{"store.db is damaged"}
	wantHealth(t, "damage", h.report(t), "degraded", "damaged")
	p.problems, p.outcomes = nil, []string{"store.db is older"}
	wantHealth(t, "an older store", h.report(t), "degraded", "older")
}

func TestHealthOfDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := watched()
		p.pending = 99
		wantHealth(t, "few", h.report(t), "healthy")
		p.pending = 100
		wantHealth(t, "many, not looked at yet", h.report(t), "healthy")
		time.Sleep(slowEvery)
		wantHealth(t, "many", h.report(t), "degraded", "100 dead letters", "process.dead_letter_alarm", "dlq replay")
		p.pending, p.uncounted = 0, errors.New("no answer")
		time.Sleep(slowEvery)
		wantHealth(t, "many, and the store can't be asked", h.report(t), "degraded", "100 dead letters")
		p.uncounted = nil
		time.Sleep(slowEvery)
		wantHealth(t, "none any more", h.report(t), "healthy")
		if p.slowLooks != 4 {
			t.Errorf("%d looks at what costs more in %v", p.slowLooks, 3*slowEvery)
		}
		p.pending, h.limits.deadLetters = 1<<40, 0
		time.Sleep(slowEvery)
		wantHealth(t, "no alarm asked for", h.report(t), "healthy")
	})
}

func TestHealthOfTheQueue(t *testing.T) {
	for what, test := range map[string]struct {
		change func(*event.QueueState)
		words  []string // none for healthy
	}{
		"nearly full":                {func(s *event.QueueState) { s.Bytes = 901 }, []string{"901 of 1000", "jetstream.max_bytes"}},
		"full of history":            {func(s *event.QueueState) { s.Bytes = 900 }, nil},
		"no limit":                   {func(s *event.QueueState) { s.Bytes, s.MaxBytes = 1<<40, -1 }, nil},
		"disk nearly at reserve":     {func(s *event.QueueState) { s.DiskFree = 1249 }, []string{"1249 bytes free", "jetstream.disk_reserve_bytes"}},
		"disk above the reserve":     {func(s *event.QueueState) { s.DiskFree = 1250 }, nil},
		"a disk elsewhere":           {func(s *event.QueueState) { s.DiskFree = -1 }, nil},
		"what the queue itself says": {func(s *event.QueueState) { s.Problems = []string{"events were lost"} }, []string{"events were lost"}},
		"more settled than checked":  {func(s *event.QueueState) { s.AckFloor = 5 }, nil},
	} {
		h, p := watched()
		test.change(&p.queue)
		status := "healthy"
		if len(test.words) > 0 {
			status = "degraded"
		}
		wantHealth(t, what, h.report(t), status, test.words...)
	}
}

func TestHealthOfAReconcilerThatStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := watched()
		p.queue.AckFloor, p.queue.Verified = 10, 5
		wantHealth(t, "at first", h.report(t), "healthy")
		for range 3 {
			time.Sleep(unverifiedFor)
			p.queue.AckFloor, p.queue.Verified = p.queue.AckFloor+1, p.queue.Verified+1
			wantHealth(t, "slow but moving", h.report(t), "healthy")
		}
		time.Sleep(unverifiedFor + time.Second)
		wantHealth(t, "standing", h.report(t), "degraded", "reconciler", "sequence 8", "13 are settled")
		p.queue.Verified = p.queue.AckFloor
		wantHealth(t, "moving again", h.report(t), "healthy")
		time.Sleep(2 * unverifiedFor)
		wantHealth(t, "nothing to verify", h.report(t), "healthy")
	})
}

func TestRefusedCouriers(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	registry := prometheus.NewRegistry()
	answers := prometheus.NewCounterVec(prometheus.CounterOpts{Name: requestsMetric}, []string{"courier", "code"})
	registry.MustRegister(answers)
	w := &refusedCouriers{
		figures: registry, now: func() time.Time { return now }, of: map[string]*refusedCourier{},
		couriers: func() []string { return []string{"acme", "other"} },
	}
	come := func(courier string, code event.Code, n int) {
		answers.WithLabelValues(courier, string(code)).Add(float64(n))
		now = now.Add(slowEvery)
		w.update()
	}
	want := func(what string, words ...string) {
		t.Helper()
		problems := w.problems()
		if (len(words) > 0) != (len(problems) == 1) {
			t.Errorf("%s: %q", what, problems)
			return
		}
		for _, word := range words {
			if !strings.Contains(problems[0], word) {
				t.Errorf("%s: %q says nothing of %q", what, problems[0], word)
			}
		}
	}
	come("acme", event.InvalidSignature, allRefused-1)
	want("a few are refused")
	come("acme", event.InvalidPayload, 1)
	want("all are refused", "courier acme", "all of its 10 requests", "2026-01-01T00:00:05Z", string(event.InvalidSignature), "rejections list --courier acme")
	come("other", "ACCEPTED", 1)
	want("another one comes through", "courier acme")
	come("acme", "DUPLICATE", 1)
	want("one is accepted")
	come("acme", event.InvalidSignature, allRefused)
	want("all since then", "all of its 10 requests")
	now = now.Add(refusedFor + time.Second)
	want("long ago")
	come("acme", event.InvalidSignature, 1)
	want("one, much later")
	come("acme", event.RateLimited, 100)
	come("acme", event.IntakeUnavailable, 100)
	come("acme", "HANDSHAKE", 100)
	come("-", event.UnknownCourier, 100)
	come("stranger", event.InvalidSignature, 100)
	want("what says nothing of an active courier")
	answers.WithLabelValues("other", "ACCEPTED").Inc()
	come("other", event.InvalidSignature, 100)
	want("some come through beside many that don't")
}

// writeCertificate makes a certificate for these times and returns its files.
func writeCertificate(t *testing.T, from, to time.Time) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: to}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestCertificateProblems(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for what, test := range map[string]struct {
		lived, left time.Duration
		want        string
	}{
		"fresh":              {day, 89 * day, ""},
		"before renewal":     {82 * day, 8 * day, ""},
		"not renewed":        {84 * day, 6 * day, "expires at 2026-01-07"},
		"of a few days":      {5 * day, day, ""},
		"of a few, at last":  {6*day - time.Hour, time.Hour, "expires at 2026-01-01T01"},
		"of many years":      {3000 * day, 8 * day, ""},
		"expired":            {90 * day, -time.Second, "expired at 2025-12-31T23:59:59Z"},
		"expired for a year": {90 * day, -365 * day, "expired at 2025"},
	} {
		cert, key := writeCertificate(t, now.Add(-test.lived), now.Add(test.left))
		problems := certificateProblems("ingest.tls_cert_file", cert, key, "by itself", now)
		if (test.want != "") != (len(problems) == 1) {
			t.Errorf("%s: %q", what, problems)
			continue
		}
		if test.want != "" && (!strings.Contains(problems[0], test.want) || !strings.Contains(problems[0], cert)) {
			t.Errorf("%s: %q", what, problems)
		}
	}
	if problems := certificateProblems("ingest.tls_cert_file", "", "", "", now); problems != nil {
		t.Errorf("no certificate: %q", problems)
	}
	gone := filepath.Join(t.TempDir(), "gone.pem")
	if problems := certificateProblems("ingest.tls_cert_file", gone, gone, "", now); len(problems) != 1 || !strings.Contains(problems[0], "no such file") {
		t.Errorf("a certificate that is gone: %q", problems)
	}
}
