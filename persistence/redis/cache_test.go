//go:build unix

package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/persistence"
	"github.com/fincart/courier-gateway/persistence/storetest"
)

// redisServer is a redis-server process of a test's own.
type redisServer struct {
	t      testing.TB
	addr   string
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has ended
}

// startRedis starts one on a free port. Without the program the test is skipped,
// except where CI=true promises that it is there.
func startRedis(t testing.TB) *redisServer {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("redis-server is not installed, and CI=true says that it is")
		}
		t.Skip("redis-server is not installed")
	}
	for range 5 {
		l := storetest.Must(net.Listen("tcp", "127.0.0.1:0"))
		s := &redisServer{t: t, addr: l.Addr().String()}
		l.Close()
		if s.run() {
			t.Cleanup(s.kill)
			return s
		}
	}
	t.Fatal("redis-server ends as soon as it is started")
	return nil
}

// start runs the server and fails the test unless it answers.
func (s *redisServer) start() {
	s.t.Helper()
	if !s.run() {
		s.t.Fatal("redis-server has ended")
	}
}

// run runs the server and waits until it answers; false when it has ended, as when
// another program was quicker to take the port.
func (s *redisServer) run() bool {
	s.t.Helper()
	_, port, _ := net.SplitHostPort(s.addr)
	s.cmd = exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", s.t.TempDir())
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		cmd.Wait()
		close(exited)
	}(s.cmd, s.exited)
	client := redis.NewClient(&redis.Options{Addr: s.addr, MaxRetries: -1})
	defer client.Close()
	ended := false
	storetest.Eventually(s.t, "redis-server to answer", func() bool {
		select {
		case <-s.exited:
			ended = true
		default:
		}
		return ended || client.Ping(s.t.Context()).Err() == nil
	})
	return !ended
}

// kill ends the server, stopped or not.
func (s *redisServer) kill() {
	s.cmd.Process.Kill()
	<-s.exited
}

func (s *redisServer) signal(signal syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(signal); err != nil {
		s.t.Fatal(err)
	}
}

// testConfig returns settings with all the time in the world.
func testConfig(addr string) Config {
	return Config{
		URL: "redis://" + addr, Prefix: fmt.Sprintf("test%d:", time.Now().UnixNano()), TTL: time.Hour, MaxConns: 4, ConnectTimeout: 5 * time.Second,
		OperationTimeout: 5 * time.Second, MaxFailures: 3, ProbeEvery: 10 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
	}
}

// healthy reports whether the breaker is closed.
func (r *Cache) healthy() bool { return !r.open.Load() }

func openTest(t testing.TB, c Config) *Cache {
	t.Helper()
	r, err := New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return r
}

func TestContract(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	t.Run("suite", func(t *testing.T) { // the server outlives its parallel tests
		storetest.Cache(t, func(t *testing.T) persistence.Cache { return openTest(t, testConfig(s.addr)) })
	})
}

func TestConfig(t *testing.T) {
	t.Parallel()
	_, err := New(t.Context(), Config{})
	if err == nil {
		t.Fatal("an empty configuration was taken")
	}
	for _, fault := range []string{"TTL:", "MaxConns:", "ConnectTimeout:", "OperationTimeout:", "MaxFailures:", "ProbeEvery:", "Log:"} {
		if !strings.Contains(err.Error(), fault) {
			t.Errorf("%q does not name the fault in %q", err, fault)
		}
	}
	c := testConfig("")
	c.URL = "http://localhost"
	if _, err := New(t.Context(), c); err == nil || !strings.Contains(err.Error(), "scheme") {
		t.Errorf("with a wrong address: %v", err)
	}
}

// trips counts what is sent to Redis.
type trips struct{ commands, pipelines atomic.Int64 }

func (c *trips) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.commands.Add(1)
		return next(ctx, cmd)
	}
}

func (c *trips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.pipelines.Add(1)
		return next(ctx, cmds)
	}
}

func TestRoundTrips(t *testing.T) {
	t.Parallel()
	r := openTest(t, testConfig(startRedis(t).addr))
	count := &trips{}
	r.client.AddHook(count)
	storetest.CacheBatch(t, r)
	if count.commands.Load() != 1 || count.pipelines.Load() != 1 {
		t.Errorf("%d commands and %d pipelines, want one of each", count.commands.Load(), count.pipelines.Load())
	}
	for _, key := range []string{"c:0", "c:499"} {
		if ttl := r.client.TTL(t.Context(), r.config.Prefix+key).Val(); ttl <= 0 || ttl > r.config.TTL {
			t.Errorf("%s is kept for %s", key, ttl)
		}
	}
}

// TestAway stops, continues, kills and starts the server, and asks all the
// while.
func TestAway(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	c := testConfig(s.addr)
	c.OperationTimeout = 50 * time.Millisecond
	r := openTest(t, c)
	id := []event.Identity{{Courier: "c", Key: "k"}}
	back := func(how string) {
		t.Helper()
		storetest.Eventually(t, "the breaker to close after "+how, r.healthy)
		storetest.Eventually(t, "an answer after "+how, func() bool { return r.Store(t.Context(), id, []string{"h"}) == nil })
		storetest.Eventually(t, "the hash after "+how, func() bool { got, err := r.Lookup(t.Context(), id); return err == nil && got[0] == "h" })
	}
	away := func(how string) {
		t.Helper()
		quickest := time.Hour
		for asked := 0; r.healthy(); asked++ {
			began := time.Now()
			got, err := r.Lookup(t.Context(), id)
			if event.CodeOf(err) != event.DependencyDown || len(got) != 1 || got[0] != "" {
				t.Errorf("%s: %q, %v", how, got, err)
			}
			quickest = min(quickest, time.Since(began)) // a busy machine may stall one
			if asked > 2*c.MaxFailures {
				t.Fatalf("%s: the breaker is closed after %d failures", how, asked)
			}
		}
		if quickest > 2*c.OperationTimeout {
			t.Errorf("%s: the quickest look-up took %s, its time is %s", how, quickest, c.OperationTimeout)
		}
		began := time.Now()
		const calls = 1000
		for range calls {
			if _, err := r.Lookup(t.Context(), id); event.CodeOf(err) != event.DependencyDown {
				t.Fatalf("%s, breaker open: %v", how, err)
			}
		}
		if took := time.Since(began); took > calls*c.OperationTimeout/10 {
			t.Errorf("%s: %d calls with the breaker open took %s", how, calls, took)
		}
		if err := r.Store(t.Context(), id, []string{"h"}); event.CodeOf(err) != event.DependencyDown {
			t.Errorf("%s: store: %v", how, err)
		}
		if err := r.Ping(t.Context()); event.CodeOf(err) != event.DependencyDown {
			t.Errorf("%s: ping: %v", how, err)
		}
	}
	back("the start")
	s.signal(syscall.SIGSTOP)
	away("stopped")
	s.signal(syscall.SIGCONT)
	back("going on")
	s.kill()
	away("killed")
	s.start()
	back("a restart")
}

// TestTakesNoWrites fills the server: it goes on answering pings, and the breaker
// stays open until it takes writes again.
func TestTakesNoWrites(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	c := testConfig(s.addr)
	var said storetest.Buffer
	c.Log = slog.New(slog.NewTextHandler(&said, nil))
	r := openTest(t, c)
	probes := &trips{}
	r.client.AddHook(probes)
	id := []event.Identity{{Courier: "c", Key: "k"}}
	admin := redis.NewClient(&redis.Options{Addr: s.addr})
	defer admin.Close()
	if err := admin.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	for range c.MaxFailures {
		if err := r.Store(t.Context(), id, []string{"h"}); event.CodeOf(err) != event.DependencyDown {
			t.Errorf("store in a full server: %v", err)
		}
	}
	before := probes.pipelines.Load()
	storetest.Eventually(t, "a few probes", func() bool { return probes.pipelines.Load() > before+3 })
	if n := strings.Count(said.String(), "\n"); n != 1 || r.healthy() {
		t.Errorf("healthy is %t, and %d lines are in the log, want one: %s", r.healthy(), n, said.String())
	}
	if err := admin.ConfigSet(t.Context(), "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	storetest.Eventually(t, "the breaker to close", r.healthy)
	if err := r.Store(t.Context(), id, []string{"h"}); err != nil {
		t.Errorf("store in a server with room: %v", err)
	}
}

// latency makes every answer come so late.
type latency struct{ trips }

const late = 100 * time.Millisecond

func (l *latency) wait(ctx context.Context) error {
	select {
	case <-time.After(late):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *latency) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		l.commands.Add(1)
		return errors.Join(l.wait(ctx), next(ctx, cmd))
	}
}

func (l *latency) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		l.pipelines.Add(1)
		return errors.Join(l.wait(ctx), next(ctx, cmds))
	}
}

// TestAnswersTooLate has every answer come, but later than operations wait for.
func TestAnswersTooLate(t *testing.T) {
	t.Parallel()
	c := testConfig(startRedis(t).addr)
	c.OperationTimeout = late / 2
	r := openTest(t, c)
	slow := &latency{}
	r.client.AddHook(slow)
	for range 2 * c.MaxFailures {
		r.Lookup(t.Context(), make([]event.Identity, 1))
	}
	before := slow.commands.Load()
	storetest.Eventually(t, "a few probes", func() bool { return slow.commands.Load() > before+3 })
	if r.healthy() {
		t.Error("healthy, with answers later than calls wait")
	}
}

func TestDownAtTheStart(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	s.kill()
	c := testConfig(s.addr)
	var said storetest.Buffer
	c.Log = slog.New(slog.NewTextHandler(&said, nil))
	r := openTest(t, c)
	if r.healthy() {
		t.Error("healthy without a server")
	}
	if got, err := r.Lookup(t.Context(), make([]event.Identity, 2)); event.CodeOf(err) != event.DependencyDown || len(got) != 2 {
		t.Errorf("%q, %v", got, err)
	}
	s.start()
	storetest.Eventually(t, "the breaker to close", r.healthy)
	storetest.Eventually(t, "the log", func() bool { return strings.Contains(said.String(), "cache is back") })
	if n := strings.Count(said.String(), "\n"); n != 2 {
		t.Errorf("%d lines in the log, want one for going and one for coming: %s", n, said.String())
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	r := openTest(t, testConfig(startRedis(t).addr))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10 {
		if _, err := r.Lookup(ctx, make([]event.Identity, 1)); event.CodeOf(err) != event.Interrupted {
			t.Errorf("cancelled: %v", err)
		}
	}
	if !r.healthy() {
		t.Error("what a caller cancelled opened the breaker")
	}
	r.Close()
	if _, err := r.Lookup(t.Context(), make([]event.Identity, 1)); event.CodeOf(err) != event.DependencyDown {
		t.Errorf("closed: %v", err)
	}
}

func BenchmarkCache(b *testing.B) {
	storetest.BenchmarkCache(b, openTest(b, testConfig(startRedis(b).addr)))
}
