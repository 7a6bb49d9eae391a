package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/process"
)

// outage is how long the drills keep a dependency away. The drills of CI take
// longer than a developer wants to wait.
var outage = flag.Duration("outage", 3*time.Second, "how long the drills keep a dependency away")

// patient returns a configuration for a drill: the outage is longer than the
// broker's ack wait, so that what is held has to be kept alive, and the ack wait
// is longer than a busy machine may pause a process.
func patient(t *testing.T) config.Config {
	t.Helper()
	cfg := quick(t)
	cfg.JetStream.AckWait = min(*outage*2/3, 6*time.Second)
	return cfg
}

// drills asks for those that take minutes.
var drills = flag.Bool("drills", false, "run the drills that take minutes")

// drillRate is the load during a drill, in events per second.
const drillRate = 500

// stream posts events at a steady rate, whatever the answers, until stop is
// called.
type stream struct {
	a     *testApp
	tag   string
	quit  chan struct{}
	done  sync.WaitGroup
	mu    sync.Mutex
	acked []string
	bad   []string
	took  []time.Duration
}

func (a *testApp) stream(tag string, rate int) *stream {
	s := &stream{a: a, tag: tag, quit: make(chan struct{})}
	s.done.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-s.quit:
				return
			case <-tick.C:
				s.done.Go(func() { s.post(fmt.Sprintf("%s-%d", tag, i), fmt.Sprintf("shp-%s-%d", tag, i%200)) })
			}
		}
	})
	return s
}

func (s *stream) post(key, shipment string) {
	began := time.Now()
	got, err := s.a.post(eventBody(key, shipment, "in_transit", began))
	took := time.Since(began)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took = append(s.took, took)
	if err != nil || got.Status != http.StatusAccepted {
		s.bad = append(s.bad, fmt.Sprintf("%s: %+v %v", key, got, err))
		return
	}
	s.acked = append(s.acked, key)
}

func (s *stream) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.acked)
}

// stop ends the load and fails the test unless every request was acknowledged.
func (s *stream) stop() []string {
	s.a.t.Helper()
	close(s.quit)
	s.done.Wait()
	if len(s.bad) > 0 {
		s.a.t.Errorf("%d of %d requests were not acknowledged, such as %s", len(s.bad), len(s.took), s.bad[0])
	}
	slices.Sort(s.took)
	s.a.t.Logf("%d acknowledged; p50 %v, p99 %v, slowest %v", len(s.acked),
		s.took[len(s.took)/2], s.took[len(s.took)*99/100], s.took[len(s.took)-1])
	return s.acked
}

// drains waits until nothing is unprocessed. How long that takes is the store's
// affair; the backlog has to keep shrinking.
func (a *testApp) drains() {
	a.t.Helper()
	for left := a.state().Unprocessed(); left > 0; {
		before := left
		eventually(a.t, fmt.Sprintf("a backlog of %d events to shrink", before), func() bool {
			left = a.state().Unprocessed()
			return left < before
		})
	}
}

// checksAll waits until the backlog is drained and checks that every event was
// processed at its first attempt.
func (a *testApp) checksAll(keys []string) {
	a.t.Helper()
	a.drains()
	for _, key := range keys {
		// The figures are up to a second old: the last events may still be under way.
		if r := a.ends(key, event.Processed); len(r.Attempts) != 1 {
			a.t.Errorf("event %s is %q after attempts %+v, want processed at the first", key, r.Status, r.Attempts)
		}
	}
	if letters := a.deadLetters(""); len(letters) != 0 {
		a.t.Errorf("there are dead letters: %s", asJSON(letters))
	}
}

// health returns the status that /health reports, and how the parts are connected.
func (a *testApp) health() map[string]any {
	a.t.Helper()
	_, h, err := a.askHealth()
	if err != nil {
		a.t.Fatal(err)
	}
	return h
}

func (a *testApp) askHealth() (code int, report map[string]any, err error) {
	resp, err := client.Get(a.publicURL() + "/health")
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	return resp.StatusCode, report, json.NewDecoder(resp.Body).Decode(&report)
}

// watchHealth asks for the health again and again until the returned function is
// called, which fails the test if any answer called the intake lost, or the cache
// anything but what it is.
func watchHealth(a *testApp, redis string) (stop func()) {
	a.t.Helper()
	quit := make(chan struct{})
	var asked int
	var wrong []string
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
			}
			asked++
			if code, h, err := a.askHealth(); err != nil || code != http.StatusOK || h["redis"] != redis {
				wrong = append(wrong, fmt.Sprintf("%d %v %v", code, h, err))
			}
		}
	})
	return func() {
		a.t.Helper()
		close(quit)
		done.Wait()
		if len(wrong) > 0 || asked == 0 {
			a.t.Errorf("%d of %d answers of /health were not 200 with redis %s, such as %v", len(wrong), asked, redis, wrong[:min(1, len(wrong))])
		}
	}
}

func TestDatabaseOutageCostsTimeOnly(t *testing.T) {
	stopped := func(t *testing.T, d *database) (end func()) { d.cut(); return func() { d.connect(t) } }
	hanging := func(_ *testing.T, d *database) (end func()) { return d.hang() }
	for name, c := range map[string]struct {
		interrupt func(*testing.T, *database) (end func())
		redis     bool
	}{
		"stopped":                {interrupt: stopped},
		"hanging":                {interrupt: hanging},
		"hanging-beside-a-redis": {interrupt: hanging, redis: true},
	} {
		t.Run(name, func(t *testing.T) {
			db := startDatabase(t)
			cfg := patient(t)
			db.use(t, &cfg)
			cache := "embedded"
			if c.redis {
				cache = "connected"
				cfg.Persistence.RedisURL = secretFile(t, "redis://"+startRedis(t).addr+"/0")
				cfg.Persistence.RedisTimeout = time.Second // a busy machine is no outage of Redis
			}
			a := startApp(t, cfg, nil)
			eventually(t, "the database to be connected", func() bool { return a.health()["mongo"] == "connected" })
			s := a.stream(name, db.rate())
			eventually(t, "some events to be acknowledged", func() bool { return s.count() > 10 })
			stopWatching := watchHealth(a, cache)
			end := c.interrupt(t, db)
			eventually(t, "the health to report it", func() bool {
				h := a.health()
				return h["status"] == "degraded" && h["mongo"] == "disconnected"
			})
			a.accept(eventBody("waits", "shp-waits", "in_transit", time.Now()))
			if r := a.ends("waits", event.Received); !strings.HasPrefix(r.Message, "accepted, waiting: the store is down since ") {
				t.Errorf("the event waits: %q", r.Message)
			}
			last(t, *outage)
			end()
			eventually(t, "the health to recover", func() bool { return a.health()["status"] == "healthy" })
			stopWatching()
			a.checksAll(s.stop())
		})
	}
}

// TestErrorsOfTheWholeDatabaseCostTimeOnly has a database answer with errors that are not
// about any event, while it still answers pings and takes writes that change nothing: no
// event spends an attempt, and none becomes a dead letter.
func TestErrorsOfTheWholeDatabaseCostTimeOnly(t *testing.T) {
	db := startDatabase(t)
	cfg := quick(t) // five attempts are over within a second
	db.use(t, &cfg)
	a := startApp(t, cfg, nil)
	eventually(t, "the database to be connected", func() bool { return a.health()["mongo"] == "connected" })
	var keys []string
	for _, c := range []struct {
		number  int32
		command string
		lasts   time.Duration
	}{
		{365, "insert", 3 * time.Second}, // TemporarilyUnavailable
		{134, "find", time.Second},       // ReadConcernMajorityNotAvailableYet
		{112, "insert", time.Second},     // WriteConflict
		{8000, "insert", time.Second},    // of Atlas
		{4711, "insert", time.Second},    // in no list
	} {
		fail := func(command string) int32 {
			if command == c.command {
				return c.number
			}
			return 0
		}
		db.fault.Store(&fail)
		before := db.faults.Load()
		for i := range 5 {
			key := fmt.Sprintf("fault-%d-%d", c.number, i)
			keys = append(keys, key)
			a.accept(eventBody(key, "shp-"+key, "in_transit", time.Now()))
		}
		eventually(t, fmt.Sprintf("error %d of %s to be met several times", c.number, c.command), func() bool {
			return db.faults.Load() > before+4
		})
		last(t, c.lasts)
		db.fault.Store(nil)
		if letters := a.deadLetters(""); len(letters) != 0 {
			t.Errorf("error %d of %s made dead letters: %s", c.number, c.command, asJSON(letters))
		}
		a.drains()
	}
	a.checksAll(keys)
}

// TestStoreOutageUnderLoad is the same at full load, which FerretDB can't take:
// the embedded store behind a gate.
func TestStoreOutageUnderLoad(t *testing.T) {
	g := &gate{}
	a := startApp(t, patient(t), g.wrap)
	s := a.stream("gate", drillRate)
	eventually(t, "some events to be acknowledged", func() bool { return s.count() > 100 })
	g.shut.Store(true)
	eventually(t, "the workers to notice", func() bool { return a.workerPhase() == "holding" })
	last(t, *outage)
	if letters := a.deadLetters(""); len(letters) != 0 {
		t.Errorf("there are dead letters during the outage: %s", asJSON(letters))
	}
	g.shut.Store(false)
	a.checksAll(s.stop())
}

// gate is a store that is out of reach while it is shut.
type gate struct {
	process.Store
	shut atomic.Bool
}

func (g *gate) wrap(inner process.Store) process.Store { g.Store = inner; return g }

func (g *gate) pass() error {
	if g.shut.Load() {
		return event.Errorf(event.DependencyDown, "store", "out of reach")
	}
	return nil
}

func (g *gate) Ping(ctx context.Context) error { return errors.Join(g.pass(), g.Store.Ping(ctx)) }

func (g *gate) Records(ctx context.Context, ids []event.Identity) ([]event.Record, error) {
	if err := g.pass(); err != nil {
		return nil, err
	}
	return g.Store.Records(ctx, ids)
}

func (g *gate) Commit(ctx context.Context, changes []event.Change) ([]error, error) {
	if err := g.pass(); err != nil {
		return nil, err
	}
	return g.Store.Commit(ctx, changes)
}

// workerPhase is what the worker that has been silent longest is doing.
func (a *testApp) workerPhase() string {
	a.t.Helper()
	var s struct {
		Worker struct {
			Phase string `json:"phase"`
		} `json:"worker"`
	}
	a.get("/api/v1/status", &s)
	return s.Worker.Phase
}

// last lets an outage last for d.
func last(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

// redisDrill is how many events make a rate that does not depend on when a batch began.
const redisDrill = 4_000

func TestRedisOutageCostsSpeedOnly(t *testing.T) {
	for name, interrupt := range map[string]func(*server) (end func()){
		"stopped": func(s *server) func() { s.kill(); return s.start },
		"hanging": func(s *server) func() { return s.pause() },
	} {
		t.Run(name, func(t *testing.T) {
			redis, g := startRedis(t), &gate{}
			cfg := patient(t)
			cfg.Persistence.RedisURL = secretFile(t, "redis://"+redis.addr+"/0")
			cfg.JetStream.DuplicateWindow = time.Second // so that copies get past the broker
			a := startApp(t, cfg, g.wrap)
			eventually(t, "the cache to be connected", func() bool { return a.health()["redis"] == "connected" })
			with := a.drained(g, name+"-with", redisDrill)
			once := processedOnce(a, name+"-once", 20)
			s := a.stream(name, drillRate)
			eventually(t, "some events to be acknowledged", func() bool { return s.count() > 100 })
			end := interrupt(redis)
			eventually(t, "the health to report it", func() bool {
				h := a.health()
				return h["status"] == "degraded" && h["redis"] == "disconnected"
			})
			postAgain(a, once)
			acked := s.stop()
			changedNothing(a, name+"-once", once)
			a.checksAll(acked)
			without := 0
			for try := 0; try < 3 && without < with/2; try++ { // the machine may be busy once, but not always
				without = a.drained(g, fmt.Sprint(name, "-without-", try), redisDrill)
			}
			end()
			eventually(t, "the health to recover", func() bool { return a.health()["status"] == "healthy" })
			t.Logf("%d events/s with the cache, %d without", with, without)
			if without < with/2 {
				t.Errorf("%d events/s without the cache, less than half of %d", without, with)
			}
		})
	}
}

// drained posts n events as fast as it can while g keeps the workers from their store,
// opens it, and returns how many were then processed in a second.
func (a *testApp) drained(g *gate, tag string, n int) int {
	a.t.Helper()
	g.shut.Store(true)
	now := time.Now()
	keys := make([]string, n)
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := w; i < n; i += 16 {
				keys[i] = fmt.Sprintf("%s-%d", tag, i)
				a.postUntilAccepted(eventBody(keys[i], fmt.Sprintf("shp-%s-%d", tag, i%300), "in_transit", now))
			}
		})
	}
	wg.Wait()
	eventually(a.t, "the workers to notice", func() bool { return a.workerPhase() == "holding" })
	g.shut.Store(false)
	a.drains()
	var some []string
	for i := 0; i < n; i += 1 + n/1000 {
		some = append(some, keys[i])
	}
	a.checksAll(some)
	return int(float64(n) / spanOf(a, some).Seconds())
}

// postUntilAccepted posts an event as a courier does, again after a refusal that asks for
// it: on a machine that is too busy the intake refuses rather than let a sender wait. Any
// goroutine may call it.
func (a *testApp) postUntilAccepted(body []byte) {
	for try := 0; ; try++ {
		got, err := a.post(body)
		if err == nil && got.Status == http.StatusAccepted {
			return
		}
		if err != nil || got.Status != http.StatusServiceUnavailable || try == 100 {
			a.t.Errorf("posting %s: %+v, %v", body, got, err)
			return
		}
		last(a.t, 100*time.Millisecond)
	}
}

// spanOf returns the time between the ends of the first and the last of events.
func spanOf(a *testApp, keys []string) time.Duration {
	a.t.Helper()
	var ends []time.Time
	for _, key := range keys {
		ends = append(ends, a.ends(key, event.Processed).EndedAt)
	}
	slices.SortFunc(ends, time.Time.Compare)
	return ends[len(ends)-1].Sub(ends[0])
}

// posted is the body of an event, and its ledger row before it is posted again.
type posted struct {
	body []byte
	row  event.Record
}

// processedOnce posts n events of one shipment and waits until they are processed.
func processedOnce(a *testApp, shipment string, n int) map[string]posted {
	a.t.Helper()
	once := map[string]posted{}
	for i := range n {
		key := fmt.Sprintf("%s-%d", shipment, i)
		body := eventBody(key, shipment, "in_transit", time.Now())
		a.accept(body)
		once[key] = posted{body, a.ends(key, event.Processed)}
	}
	return once
}

// postAgain posts copies until the broker, which knows them for a while, takes one of
// each for new.
func postAgain(a *testApp, once map[string]posted) {
	a.t.Helper()
	for key, p := range once {
		eventually(a.t, "the broker to take the copy of "+key, func() bool { return !a.accept(p.body).Duplicate })
	}
}

// changedNothing waits until all copies are settled and checks that every event has
// the one outcome that it had before.
func changedNothing(a *testApp, id string, once map[string]posted) {
	a.t.Helper()
	now := time.Now()
	eventually(a.t, "the copies to be settled", func() bool {
		q := a.state()
		return q.At.After(now.Add(time.Second)) && q.Unprocessed() == 0
	})
	for key, p := range once {
		r := a.ends(key, event.Processed)
		if len(r.Attempts) != 1 || r.Conflicts != 0 || !r.EndedAt.Equal(p.row.EndedAt) {
			a.t.Errorf("the copy of %s changed its row from %+v to %+v", key, p.row, r)
		}
	}
	var s shipment.Shipment
	if a.get("/api/v1/shipments/"+id, &s); len(s.History) != len(once) {
		a.t.Errorf("%d events and their copies made a history of %d", len(once), len(s.History))
	}
}
