//go:build unix

package jetstream

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

// soon is within which a start has to say why it does not succeed: two seconds, and as much
// for a machine that runs other tests.
const soon = 4 * time.Second

// serverWith starts a nats-server of a configuration, and nothing else.
func serverWith(t *testing.T, settings string) *serverProcess {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nats.conf")
	settings = strings.ReplaceAll(settings, "STORE", t.TempDir())
	if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	s := startServer(t, nil)
	s.kill()
	s.args = append(s.args[:4:4], "-c", file) // its address
	s.start()
	return s
}

// opening is a Broker that is being opened.
type opening struct {
	problems chan string
	err      chan error
	cancel   context.CancelFunc
}

func startOpening(t *testing.T, cfg Config) *opening {
	ctx, cancel := context.WithCancel(t.Context())
	o := &opening{problems: make(chan string, 100), err: make(chan error, 1), cancel: cancel}
	deps := testDeps()
	deps.Waiting = func(problem error) {
		select {
		case o.problems <- problem.Error():
		default:
		}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b, err := openOn(ctx, cfg, deps)
		if err == nil {
			defer closeBroker(t, b)
		}
		o.err <- err
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return o
}

// TestStartSaysWhatTheBrokerLacks: what the broker's operator can repair is reported soon,
// and waited for.
func TestStartSaysWhatTheBrokerLacks(t *testing.T) {
	t.Parallel()
	away := func(t *testing.T) *serverProcess { s := startServer(t, nil); s.kill(); return s }
	for name, c := range map[string]struct {
		server func(t *testing.T) *serverProcess
		user   string
		says   string
		repair []string // the arguments besides its address with which the server is good
	}{
		"away":   {away, "", "is it running", []string{"-js"}},
		"js off": {func(t *testing.T) *serverProcess { return serverWith(t, "") }, "", "JetStream is off", []string{"-js"}},
		"no storage": {func(t *testing.T) *serverProcess {
			return serverWith(t, `jetstream { store_dir: "STORE", max_file_store: 1MB, max_memory_store: 1MB }`)
		}, "", "too little storage", []string{"-js"}},
		"js off for the account": {func(t *testing.T) *serverProcess {
			return serverWith(t, `jetstream { store_dir: "STORE" }
				accounts { A { users: [{user: a, password: b}] } }`)
		}, "a:b@", "JetStream is off", nil},
		"no permission": {func(t *testing.T) *serverProcess {
			return serverWith(t, `jetstream { store_dir: "STORE" }
				authorization { users: [{user: a, password: b, permissions: { publish: ["events.*"], subscribe: ["_INBOX.>"] }}] }`)
		}, "a:b@", "permits its user too little", nil},
		"no leader": {func(t *testing.T) *serverProcess {
			ports := freePorts(t, 2)
			return startServer(t, []string{"-n", "single", "--cluster_name", "c", "--cluster", fmt.Sprint("nats://127.0.0.1:", ports[0]),
				"--routes", fmt.Sprintf("nats://127.0.0.1:%d,nats://127.0.0.1:%d", ports[0], ports[1])})
		}, "", "without a leader", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := c.server(t)
			cfg := externalConfig(t, s)
			cfg.URLs[0] = strings.Replace(cfg.URLs[0], "nats://", "nats://"+c.user, 1)
			began := time.Now()
			o := startOpening(t, cfg)
			for said := ""; !strings.Contains(said, c.says); {
				select {
				case said = <-o.problems:
					t.Logf("%v: %s", time.Since(began).Round(time.Millisecond), said)
				case err := <-o.err:
					t.Fatalf("it gave up: %v", err)
				case <-time.After(10 * time.Second):
					t.Fatal("it says nothing")
				}
			}
			if took := time.Since(began); took > soon {
				t.Errorf("it said so after %v", took)
			}
			if c.repair == nil {
				return
			}
			s.kill()
			s.args = append(s.args[:4:4], append(c.repair, "-sd", t.TempDir())...)
			s.start()
			select {
			case err := <-o.err:
				if err != nil {
					t.Errorf("after the repair: %v", err)
				}
			case <-time.After(20 * time.Second):
				t.Error("it does not start after the repair")
			}
		})
	}
}

// TestStartGivesUpAtOnce where the configuration, or what another program has on the
// broker, has to be changed.
func TestStartGivesUpAtOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args   []string
		change func(t *testing.T, cfg *Config)
		says   string
	}{
		"wrong password": {[]string{"--user", "u", "--pass", "right"}, func(_ *testing.T, cfg *Config) {
			cfg.URLs[0] = strings.Replace(cfg.URLs[0], "nats://", "nats://u:wrong@", 1)
		}, "jetstream.urls, jetstream.credentials_file"},
		"no credentials":             {nil, func(_ *testing.T, cfg *Config) { cfg.CredentialsFile = "/nonexistent" }, "no such file"},
		"three of one":               {nil, func(_ *testing.T, cfg *Config) { cfg.Replicas = 3 }, "lower jetstream.replicas"},
		"another stream":             {nil, overlap("ORDERS", "events.>"), "another stream of the broker takes our subjects"},
		"another stream of progress": {nil, overlap("STEPS", "progress.verified"), "another stream of the broker takes our subjects"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, c.args)
			cfg := externalConfig(t, s)
			c.change(t, &cfg)
			began := time.Now()
			_, err := openOn(t.Context(), cfg, testDeps())
			if took := time.Since(began); err == nil || !strings.Contains(err.Error(), c.says) || took > soon {
				t.Errorf("after %v: %v", took, err)
			}
		})
	}
}

// overlap makes a stream of another program.
func overlap(name, subject string) func(*testing.T, *Config) {
	return func(t *testing.T, cfg *Config) {
		conn, err := nats.Connect(cfg.URLs[0])
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		js, err := natsjs.New(conn)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.CreateStream(t.Context(), natsjs.StreamConfig{Name: name, Subjects: []string{subject}}); err != nil {
			t.Fatal(err)
		}
	}
}
