//go:build unix

package jetstream

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fincart/courier-gateway/ingest/event"
)

// natsServer builds the nats-server of our go.mod once for all tests.
var natsServer = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(binDir, "nats-server")
	out, err := exec.Command("go", "build", "-o", bin, "github.com/nats-io/nats-server/v2").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build nats-server: %w: %s", err, out)
	}
	return bin, nil
})

var binDir string

// TestMain runs more tests at once than there are processors: most of them wait
// for a clock of the broker's.
func TestMain(m *testing.M) {
	flag.Parse()
	if runtime.GOMAXPROCS(0) < 6 {
		if err := flag.Set("test.parallel", "6"); err != nil {
			panic(err)
		}
	}
	dir, err := os.MkdirTemp("", "nats-server")
	if err != nil {
		panic(err)
	}
	binDir = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// serverProcess is a nats-server in a process of its own.
type serverProcess struct {
	t    *testing.T
	port int
	args []string
	cmd  *exec.Cmd
}

func (s *serverProcess) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", s.port) }

// startServer starts a nats-server with JetStream on a port and directory of its
// own, and more arguments.
func startServer(t *testing.T, more []string) *serverProcess {
	t.Helper()
	port := freePorts(t, 1)[0]
	s := &serverProcess{t: t, port: port, args: append([]string{
		"-a", "127.0.0.1", "-p", fmt.Sprint(port), "-js", "-sd", t.TempDir(),
	}, more...)}
	s.start()
	t.Cleanup(s.kill)
	return s
}

// start starts the process and waits until it listens.
func (s *serverProcess) start() {
	s.t.Helper()
	bin, err := natsServer()
	if err != nil {
		s.t.Fatal(err)
	}
	s.cmd = exec.Command(bin, s.args...)
	if os.Getenv("TEST_LOG") != "" {
		s.cmd.Stderr = os.Stderr
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, "nats-server listens", func() bool {
		c, err := net.DialTimeout("tcp", strings.TrimPrefix(s.url(), "nats://"), time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// kill ends the process as a power cut would end it for its clients.
func (s *serverProcess) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// startCluster starts n servers that form one JetStream cluster.
func startCluster(t *testing.T, n int) []*serverProcess {
	t.Helper()
	routes := freePorts(t, n)
	urls := make([]string, n)
	for i, port := range routes {
		urls[i] = fmt.Sprintf("nats://127.0.0.1:%d", port)
	}
	servers := make([]*serverProcess, n)
	for i := range servers {
		servers[i] = startServer(t, []string{
			"-n", fmt.Sprintf("n%d", i), "--cluster_name", "c", "--cluster", urls[i], "--routes", strings.Join(urls, ","),
		})
	}
	return servers
}

// externalConfig is for a broker made of servers.
func externalConfig(t *testing.T, servers ...*serverProcess) Config {
	cfg := testConfig(t)
	cfg.Mode, cfg.StoreDir, cfg.Replicas = ModeExternal, "", len(servers)
	for _, s := range servers {
		cfg.URLs = append(cfg.URLs, s.url())
	}
	return cfg
}

func TestServerKilledUnderLoad(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	cfg := externalConfig(t, s)
	cfg.PublishTimeout = 2 * time.Second
	b := open(t, cfg)
	l := startLoad(t, b, 20)
	l.more(t, 500)
	s.kill()
	eventually(t, "the loss is noticed", func() bool { return !b.Healthy() })
	start := time.Now()
	if _, err := b.Publish(t.Context(), envelope("while down")); event.CodeOf(err) != event.IntakeUnavailable || time.Since(start) > cfg.PublishTimeout/2 {
		t.Errorf("while the broker is down: %v after %v", err, time.Since(start))
	}
	if st, err := b.State(t.Context()); st.Healthy || st.Problem == "" || st.Mode != "connected" {
		t.Errorf("state while the broker is down: %+v, %v", st, err)
	}
	s.start()
	l.more(t, 500)
	l.end()
	l.checkAllStored(t, b)
}

// TestServerThatHangs stops a server without closing its connections.
func TestServerThatHangs(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	cfg := externalConfig(t, s)
	cfg.PublishTimeout = 500 * time.Millisecond
	b := open(t, cfg)
	l := startLoad(t, b, 5)
	l.more(t, 50)
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	stopped := time.Now()
	eventually(t, "the silence is noticed", func() bool { return !b.Healthy() })
	if took := time.Since(stopped); took > 3*time.Second {
		t.Errorf("the silence was noticed after %v", took)
	}
	quick := 0
	for range 20 {
		start := time.Now()
		_, err := b.Publish(t.Context(), envelope("while hanging"))
		if event.CodeOf(err) != event.IntakeUnavailable {
			t.Errorf("while the broker hangs: %v", err)
		}
		if time.Since(start) < cfg.PublishTimeout/2 {
			quick++
		}
	}
	if quick < 15 {
		t.Errorf("%d of 20 publishes were refused at once, want nearly all", quick)
	}
	if err := s.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	l.more(t, 50)
	l.end()
	eventually(t, "health", b.Healthy)
	l.checkAllStored(t, b)
}

// TestServerThatRefusesUsForAWhile comes back after a restart without our password,
// and later with it.
func TestServerThatRefusesUsForAWhile(t *testing.T) {
	t.Parallel()
	s := startServer(t, []string{"--user", "u", "--pass", "right"})
	cfg := externalConfig(t, s)
	cfg.URLs[0] = strings.Replace(cfg.URLs[0], "nats://", "nats://u:right@", 1)
	b := open(t, cfg)
	publish(t, b, envelope("before"))
	settle(t, b, event.Verdict{Action: event.Ack}, pullN(t, b, 1)...)
	s.kill()
	password := slices.Index(s.args, "right")
	s.args[password] = "wrong"
	s.start()
	for _, c := range []*nats.Conn{b.conns.publish, b.conns.admin, b.conns.consume} {
		eventually(t, "being refused three times", func() bool {
			return c.IsClosed() || c.Stats().Reconnects >= 3 && errors.Is(c.LastError(), nats.ErrAuthorization)
		})
	}
	if st, err := b.State(t.Context()); st.Healthy || err == nil {
		t.Errorf("state while the broker refuses us: %+v, %v", st, err)
	}
	s.kill()
	s.args[password] = "right"
	s.start()
	eventually(t, "health", func() bool {
		st, err := b.State(t.Context())
		return err == nil && st.Healthy
	})
	publish(t, b, envelope("after"))
	for key := ""; key != "after"; key = pullN(t, b, 1)[0].Key { // the broker may have died with the acknowledgement of the first
	}
}

// TestClosedConnectionIsReported: whatever made the client close it, and also where
// nothing else would notice.
func TestClosedConnectionIsReported(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	b := open(t, cfg)
	b.conns.consume.Close()
	eventually(t, "the state to say so", func() bool {
		_, err := b.State(t.Context())
		return event.CodeOf(err) == event.DependencyDown && strings.Contains(err.Error(), "consume is closed for good")
	})
}

func TestRepeatedWarningIsLoggedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l logLimiter
		for i, c := range []struct {
			after time.Duration
			text  string
			want  bool
		}{
			{0, "refused", true}, {0, "refused", false}, {0, "expired", true}, {repeatAfter / 2, "expired", false},
			{repeatAfter / 2, "expired", true},
		} {
			time.Sleep(c.after)
			if got := l.allow(c.text); got != c.want {
				t.Errorf("%d: %q after %v is logged: %v", i, c.text, c.after, got)
			}
		}
	})
}

// TestConnectionLostInMidPublish kills the server while a publish waits for its
// answer, and checks what follows its return.
func TestConnectionLostInMidPublish(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	cfg := externalConfig(t, s)
	cfg.PublishTimeout = time.Minute
	b := open(t, cfg)
	publish(t, b, envelope("before"))
	settle(t, b, event.Verdict{Action: event.Ack}, pullN(t, b, 1)...) // leaves a pull open
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	answer := make(chan error, 1)
	go func() {
		var err error
		for i := 0; err == nil; i++ { // the server stops a little after the signal
			_, err = b.Publish(t.Context(), envelope(fmt.Sprintf("unanswered-%d", i)))
		}
		answer <- err
	}()
	var waiting *slot
	eventually(t, "a publish waits and goes on waiting", func() bool {
		before := waiting
		waiting = nil
		for i := range b.publisher.slots.all {
			if s := b.publisher.slots.all[i].Load(); s.waiting.Load() {
				waiting = s
			}
		}
		return waiting != nil && waiting == before && sleep(t.Context(), 50*time.Millisecond) == nil && waiting.waiting.Load()
	})
	s.kill()
	select {
	case err := <-answer:
		if event.CodeOf(err) != event.IntakeUnavailable || !strings.Contains(err.Error(), "broke") {
			t.Errorf("%v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the publish waits for an answer that can't come")
	}
	s.start()
	eventually(t, "health", b.Healthy)
	start := time.Now()
	publish(t, b, envelope("after"))
	for key := ""; key != "after"; key = pullN(t, b, 1)[0].Key {
	}
	const silence = 5 * time.Second // after which a pull without an answer is given up
	if took := time.Since(start); took > silence/2 {
		t.Errorf("pulled after %v: the pull was not opened again", took)
	}
}

func TestClusterLosesANodeUnderLoad(t *testing.T) {
	t.Parallel()
	servers := startCluster(t, 3)
	cfg := externalConfig(t, servers...)
	cfg.PublishTimeout = 2 * time.Second
	b := open(t, cfg)
	l := startLoad(t, b, 20)
	l.more(t, 300)
	info, err := b.topo.now().events.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var leader int
	if _, err := fmt.Sscanf(info.Cluster.Leader, "n%d", &leader); err != nil {
		t.Fatalf("leader %q: %v", info.Cluster.Leader, err)
	}
	servers[leader].kill()
	l.more(t, 300)
	servers[leader].start()
	l.more(t, 300)
	l.end()
	l.checkAllStored(t, b)
}

func TestRolesShareABroker(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	ingest := externalConfig(t, s)
	ingest.Consume = false
	process := externalConfig(t, s)
	in, out1, out2 := open(t, ingest), open(t, process), open(t, process)
	publishN(t, in, 50)
	eventually(t, "state of the publishing role", func() bool {
		st, err := in.State(t.Context())
		return err == nil && st.LastSeq == 50
	})
	ctx := within(t, 10*time.Second)
	var mu sync.Mutex
	seen := map[uint64]int{}
	var wg sync.WaitGroup
	for _, b := range []*Broker{out1, out2} {
		wg.Go(func() {
			for {
				ds, err := b.Pull(ctx, 3)
				if errors.Is(err, event.ErrStopped) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				settle(t, b, event.Verdict{Action: event.Ack}, ds...)
				mu.Lock()
				for _, d := range ds {
					seen[d.Sequence]++
				}
				mu.Unlock()
			}
		})
	}
	floorReaches(t, out1, 50)
	for _, b := range []*Broker{out1, out2} {
		if err := b.StopPulling(ctx); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	for seq := uint64(1); seq <= 50; seq++ {
		if seen[seq] != 1 {
			t.Errorf("event %d was delivered %d times", seq, seen[seq])
		}
	}
	// Either of them sees what the other has verified.
	eventually(t, "settled events", func() bool {
		ds, err := out1.PullSettled(t.Context(), 100)
		return err == nil && len(ds) == 50
	})
	if err := out1.Verified(t.Context(), 50); err != nil {
		t.Fatal(err)
	}
	if got, err := out2.progress.verifiedUpTo(t.Context()); err != nil || got != 50 {
		t.Errorf("the other process sees %d verified, %v", got, err)
	}
}

// freePorts returns ports that were free a moment ago.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports
}
