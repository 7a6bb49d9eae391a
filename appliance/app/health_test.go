package app

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// part is one that answers after some time, or with the end of the asker's patience.
type part struct {
	name  string
	after time.Duration
}

func (p part) Name() string { return p.name }

func (p part) Ping(ctx context.Context) error {
	select {
	case <-time.After(p.after):
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p part) State(ctx context.Context) (event.QueueState, error) {
	return event.QueueState{Mode: "embedded", Healthy: true}, p.Ping(ctx)
}

// advised is a store that works, but not as it should.
type advised struct{ part }

func (advised) Problems() []string { return []string{"drop an index"} }

func TestHealthShowsWhatTheStoreAdvises(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &health{
			store: advised{part{"mongodb", 0}}, queue: part{"", 0},
			couriers: func() []string { return nil }, draining: new(atomic.Bool),
		}
		h.probe(t.Context())
		code, body := h.answer(true)
		var r HealthReport
		if err := json.Unmarshal(body, &r); err != nil {
			t.Fatal(err)
		}
		if code != http.StatusOK || r.Status != "degraded" || r.Mongo != "connected" || len(r.Problems) != 1 || r.Problems[0] != "drop an index" {
			t.Errorf("%d %+v", code, r)
		}
	})
}

// TestAPartThatHangsIsTheOnlyOneToBlame: however long one part takes, the report says
// of the others what is true, and the answer stays 200 as long as the queue works.
func TestAPartThatHangsIsTheOnlyOneToBlame(t *testing.T) {
	const quick, slow = time.Millisecond, probeTimeout * 3 / 4
	for name, c := range map[string]struct {
		store, cache, queue  time.Duration
		mongo, redis, status string
		code                 int
	}{
		"the store hangs":   {store: time.Hour, cache: slow, queue: slow, mongo: "disconnected", redis: "connected", status: "degraded", code: http.StatusOK},
		"the cache hangs":   {store: slow, cache: time.Hour, queue: slow, mongo: "connected", redis: "disconnected", status: "degraded", code: http.StatusOK},
		"the queue hangs":   {store: slow, cache: slow, queue: time.Hour, mongo: "connected", redis: "connected", status: "unhealthy", code: http.StatusServiceUnavailable},
		"all are only slow": {store: slow, cache: slow, queue: slow, mongo: "connected", redis: "connected", status: "healthy", code: http.StatusOK},
		"all are quick":     {store: quick, cache: quick, queue: quick, mongo: "connected", redis: "connected", status: "healthy", code: http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &health{
					store: part{"mongodb", c.store}, cache: part{"redis", c.cache}, queue: part{"", c.queue},
					couriers: func() []string { return nil }, draining: new(atomic.Bool),
				}
				began := time.Now()
				h.probe(t.Context())
				if took := time.Since(began); took > probeTimeout {
					t.Errorf("the probe took %v", took)
				}
				code, body := h.answer(true)
				var r HealthReport
				if err := json.Unmarshal(body, &r); err != nil {
					t.Fatal(err)
				}
				if c.code == http.StatusOK && r.Status == "degraded" && !strings.Contains(strings.Join(r.Problems, ""), "has not answered within 800ms") {
					t.Errorf("the problem is %q", r.Problems)
				}
				if code != c.code || r.Status != c.status || r.Mongo != c.mongo || r.Redis != c.redis {
					t.Errorf("%d %s, want %d and %s, mongo %s, redis %s", code, body, c.code, c.status, c.mongo, c.redis)
				}
			})
		})
	}
}

// troubled is a queue with problems that don't keep events from being accepted.
type troubled struct{ problems []string }

func (q troubled) State(context.Context) (event.QueueState, error) {
	return event.QueueState{Mode: "embedded", Healthy: true, Problems: q.problems}, nil
}

func TestProblemsOfTheQueueDegrade(t *testing.T) {
	h := &health{queue: troubled{[]string{"one", "another"}}, couriers: func() []string { return nil }, draining: new(atomic.Bool)}
	h.probe(t.Context())
	code, body := h.answer(true)
	var r HealthReport
	if err := json.Unmarshal(body, &r); err != nil || code != http.StatusOK || r.Status != "degraded" || !slices.Equal(r.Problems, []string{"one", "another"}) {
		t.Errorf("%d %s, %v", code, body, err)
	}
}
