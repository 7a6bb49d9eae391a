package app

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fincart/courier-gateway/ingest/event"
)

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
	come("acme", "IGNORED", 100)
	come("-", event.UnknownCourier, 100)
	come("stranger", event.InvalidSignature, 100)
	want("what says nothing of an active courier")
	answers.WithLabelValues("other", "ACCEPTED").Inc()
	come("other", event.InvalidSignature, 100)
	want("some come through beside many that don't")
}
