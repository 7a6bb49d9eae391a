//go:build unix

package jetstream

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// hangNoticed is within which a hang has to be noticed: two seconds, and as much for a machine
// that runs other tests. The publish time-out, which noticed it before, is five.
const hangNoticed = 4 * time.Second

// leader returns the server that leads the stream of events.
func leader(t *testing.T, b *Broker, servers []*serverProcess) *serverProcess {
	t.Helper()
	info, err := b.topo.events().Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if _, err := fmt.Sscanf(info.Cluster.Leader, "n%d", &n); err != nil {
		t.Fatalf("leader %q: %v", info.Cluster.Leader, err)
	}
	return servers[n]
}

// TestLeaderThatHangsIsNoticed stops the leader of the stream without closing its
// connections, while this process is connected to another server: what waits is refused
// within two seconds, what comes then at once, and the others go on without it.
func TestLeaderThatHangsIsNoticed(t *testing.T) {
	t.Parallel()
	servers := startCluster(t, 3)
	cfg := externalConfig(t, servers...)
	cfg.Consume = false
	first := open(t, cfg)
	hung := leader(t, first, servers)
	others := slices.DeleteFunc(slices.Clone(servers), func(s *serverProcess) bool { return s == hung })
	cfg.StateDir, cfg.URLs = t.TempDir(), []string{others[0].url()} // and what the servers say of each other
	b := open(t, cfg)
	publish(t, b, envelope("before"))
	st, err := b.State(t.Context())
	if err != nil || st.Servers == nil || st.Servers.Leader == "" || len(st.Servers.Replicas) != 2 || st.Servers.Connected["publish"] == "" || len(st.Problems) > 0 {
		t.Errorf("state with all servers: %+v, %v", st, err)
	}
	if err := hung.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for i := 0; err == nil; i++ { // one of them waits for its answer
		_, err = b.Publish(t.Context(), envelope(fmt.Sprint("waiting", i)))
	}
	if took := time.Since(began); event.CodeOf(err) != event.IntakeUnavailable || took > hangNoticed {
		t.Errorf("what waits gets %v after %v", err, took)
	}
	began = time.Now()
	if _, err := b.Publish(t.Context(), envelope("next")); b.Healthy() || event.CodeOf(err) != event.IntakeUnavailable || time.Since(began) > time.Second {
		t.Errorf("what comes then gets %v after %v", err, time.Since(began))
	}
	eventually(t, "another leader", func() bool { _, err := b.Publish(t.Context(), envelope("after")); return err == nil })
	t.Logf("events are accepted again %v after the leader stopped", time.Since(began).Round(time.Millisecond))
	eventually(t, "the missing server to be named", func() bool {
		st, err := b.State(t.Context())
		return err == nil && strings.Contains(strings.Join(st.Problems, "\n"), "2 of 3 servers hold the queue")
	})
	if err := hung.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all servers to be there again", func() bool {
		st, err := b.State(t.Context())
		return err == nil && !strings.Contains(strings.Join(st.Problems, "\n"), "hold the queue")
	})
}

// TestIdleHangIsNoticed: without a single publish.
func TestIdleHangIsNoticed(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	b := open(t, externalConfig(t, s))
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	problem := ""
	eventually(t, "the hang is noticed", func() bool { problem = b.admission.problem(); return problem != "" })
	if !strings.Contains(problem, "has not answered for 1s") { // and not only that pings went unanswered, which takes longer
		t.Errorf("it was noticed by %q", problem)
	}
	if took := time.Since(began); took > hangNoticed {
		t.Errorf("the hang was noticed after %v", took)
	}
	if err := s.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "health without a publish", b.Healthy)
	publish(t, b, envelope("after"))
}

// TestIntakeSeesTheBacklog: a process that only publishes reports what the others leave,
// and that there are none.
func TestIntakeSeesTheBacklog(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	cfg := externalConfig(t, s)
	ingest := cfg
	ingest.Consume, ingest.StateDir = false, t.TempDir()
	in := open(t, ingest)
	publishN(t, in, 20)
	state := func(what string, ok func(event.QueueState) bool) {
		t.Helper()
		var st event.QueueState
		defer func() {
			if t.Failed() {
				t.Logf("%+v", st)
			}
		}()
		eventually(t, what, func() bool {
			var err error
			st, err = in.State(t.Context())
			return err == nil && ok(st)
		})
	}
	state("20 to wait, unconsumed", func(st event.QueueState) bool {
		return st.Pending == 20 && !st.UnconsumedSince.IsZero() && strings.Contains(strings.Join(st.Problems, "\n"), "no service processes events since")
	})
	out := open(t, cfg)
	ds := pullN(t, out, 20)
	settle(t, out, event.Verdict{Action: event.Ack}, ds[:15]...)
	state("15 settled, 5 in flight", func(st event.QueueState) bool {
		return st.AckFloor == 15 && st.InFlight == 5 && st.UnconsumedSince.IsZero() && len(st.Problems) == 0
	})
}
