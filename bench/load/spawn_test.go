package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/fincart/courier-gateway/bench"
)

// asChild, in the environment, makes the test binary play an appliance that a
// load test has started.
const asChild = "BENCH_TEST_CHILD"

func TestMain(m *testing.M) {
	if role := os.Getenv(asChild); role != "" {
		os.Exit(playChild(role))
	}
	os.Exit(m.Run())
}

func playChild(role string) int {
	fmt.Fprintln(os.Stderr, "args:", os.Args[1:])
	fmt.Fprintln(os.Stderr, "secret:", os.Getenv(SecretVariable), "settings:", os.Getenv("APPLIANCE_DATA_DIR"))
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	switch role {
	case "dies":
		fmt.Fprintln(os.Stderr, "no disk")
		return 7
	case "babbles":
		fmt.Println("hello")
	case "serves":
		fmt.Printf("{\"url\":\"http://127.0.0.1:1\",\"admin\":\"http://127.0.0.1:2\",\"pid\":%d}\nmore\n", os.Getpid())
	case "answers":
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }))
		fmt.Println(server.URL)
	case "leaves":
		fmt.Println("{}")
		return 0
	}
	<-signals
	if role == "serves" {
		io.WriteString(os.Stderr, "stopped well\n")
	}
	return 0
}

// startChild starts the test binary in a role. The tests that do so can't run
// beside each other, because the role is in the environment.
func startChild(ctx context.Context, t *testing.T, role string) (*spawned, error) {
	t.Helper()
	t.Setenv(asChild, role)
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("APPLIANCE_DATA_DIR", "/production")
	return spawn(ctx, spawnConfig{
		executable: os.Args[0], courier: "demo", secret: "s3cret", sync: "always", config: "/c.toml", faults: bench.Faults{Seed: 7, Transient: 0.05},
	})
}

func left(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(os.TempDir(), "appliance-bench-*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestSpawnedApplianceLivesAndEnds(t *testing.T) {
	for _, keep := range []bool{false, true} {
		o, err := startChild(t.Context(), t, "serves")
		if err != nil {
			t.Fatal(err)
		}
		if o.ready.URL != "http://127.0.0.1:1" || o.ready.Admin != "http://127.0.0.1:2" || o.ready.PID != o.cmd.Process.Pid {
			t.Errorf("%+v", o.ready)
		}
		if err := o.stop(keep); err != nil {
			t.Error(err)
		}
		if dirs := left(t); keep != (len(dirs) == 1) {
			t.Errorf("keep is %v, left are %v", keep, dirs)
		}
		if !keep {
			continue
		}
		log := o.tail()
		for _, want := range []string{
			"args: [bench serve --data-dir " + filepath.Join(o.dir, "data") + " --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --courier demo --seed 7 " +
				"--transient 5% --permanent 0% --until-stdin-ends --sync always --config /c.toml]",
			"secret: s3cret settings: \n", "stopped well",
		} {
			if !strings.Contains(log, want) {
				t.Errorf("%q is not in the log: %s", want, log)
			}
		}
	}
}

func TestSpawnedApplianceThatDoesNotStart(t *testing.T) {
	for role, want := range map[string]string{"dies": "no disk", "babbles": `"hello`} {
		if _, err := startChild(t.Context(), t, role); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", role, err)
		}
		if dirs := left(t); len(dirs) > 0 {
			t.Errorf("%s: left are %v", role, dirs)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if _, err := startChild(ctx, t, "hangs"); err == nil || !strings.Contains(err.Error(), "enough") {
		t.Errorf("hangs: %v", err)
	}
	if _, err := spawn(t.Context(), spawnConfig{executable: "/none/such"}); err == nil {
		t.Error("a program that is not there was started")
	}
}

func TestSpawnedApplianceThatLeaves(t *testing.T) {
	o, err := startChild(t.Context(), t, "leaves")
	if err != nil {
		t.Fatal(err)
	}
	<-o.ended
	if err := o.gone(); err == nil {
		t.Error("it is gone, and that is fine")
	}
	if err := o.stop(false); err != nil {
		t.Error(err)
	}
}

func TestWithoutSettings(t *testing.T) {
	t.Parallel()
	got := withoutSettings([]string{"PATH=/bin", "APPLIANCE_CONFIG=x", "APPLIANCE_PERSISTENCE__URI=y", "RUN_AS_APPLIANCE=1"})
	if want := []string{"PATH=/bin", "RUN_AS_APPLIANCE=1"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
