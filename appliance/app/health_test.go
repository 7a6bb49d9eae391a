package app

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/process"
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

// TestAPartThatHangsIsTheOnlyOneReported: however long one part takes, the report says
// of the others what is true, and the answer stays 200 as long as the queue works.
func TestAPartThatHangsIsTheOnlyOneReported(t *testing.T) {
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

// TestHealthSaysSinceWhenAPartIsDown has a store that is gone for three probes, back for
// one, and gone again.
func TestHealthSaysSinceWhenAPartIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := watched()
		h.letters, h.store = nil, part{"sqlite", time.Hour}
		began := time.Now().Add(probeTimeout)
		probe := func(status string, words ...string) {
			t.Helper()
			h.probe(t.Context())
			_, body := h.answer(true)
			var r HealthReport
			if err := json.Unmarshal(body, &r); err != nil {
				t.Fatal(err)
			}
			wantHealth(t, "a probe", r, status, words...)
			if r.Store != "sqlite" || (status == "healthy") != (r.Mongo == "embedded") {
				t.Errorf("store %q, mongo %q", r.Store, r.Mongo)
			}
			time.Sleep(probeEvery)
		}
		for range 3 {
			probe("degraded", "the store (sqlite) is down since "+began.Add(-probeTimeout).UTC().Format(time.RFC3339), "800ms")
		}
		h.store = part{"sqlite", 0}
		probe("healthy")
		h.store, began = part{"sqlite", time.Hour}, time.Now()
		probe("degraded", "is down since "+began.UTC().Format(time.RFC3339))
	})
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
		"nearly full":                {func(s *event.QueueState) { s.Bytes = 901 }, []string{"901 B of 1000 B", "jetstream.max_bytes"}},
		"full of history":            {func(s *event.QueueState) { s.Bytes = 900 }, nil},
		"no limit":                   {func(s *event.QueueState) { s.Bytes, s.MaxBytes = 1<<40, -1 }, nil},
		"disk nearly at reserve":     {func(s *event.QueueState) { s.DiskFree = 1249 }, []string{"1.2 KiB free", "jetstream.disk_reserve_bytes"}},
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
