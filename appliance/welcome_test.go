package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ingest/event"
)

// printedLine is a line that serve prints to be pasted.
var printedLine = regexp.MustCompile(`(?m)^ *(curl|appliance) .*$`)

// TestPrintedCommandsFindTheAppliance pastes what serve prints, from another
// directory and without its environment, as a second terminal would.
func TestPrintedCommandsFindTheAppliance(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "it's mine.toml")
	if err := os.WriteFile(config, []byte("[admin]\nlisten = \"127.0.0.1:0\"\n[jetstream]\ndisk_reserve_bytes = 0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, flags := range map[string][]string{
		"admin-listen": {"--config", os.DevNull, "--admin-listen", "127.0.0.1:0"},
		"config":       {"--config", config},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			printed := serveFor(t, append(flags, "--data-dir", t.TempDir(), "--listen", "127.0.0.1:0")...)
			lines := printedLine.FindAllString(printed, -1)
			if len(lines) != 3 {
				t.Fatalf("%d lines to paste:\n%s", len(lines), printed)
			}
			if out := paste(t, lines[0]); !strings.Contains(out, `"acknowledged":true`) {
				t.Errorf("%s\nanswers %s", lines[0], out)
			}
			eventually(t, "the event to be processed", func() bool {
				return strings.Contains(paste(t, lines[1]), string(event.Processed))
			})
			if out := paste(t, lines[2]); !strings.Contains(out, "shp_") {
				t.Errorf("%s\nprints %s", lines[2], out)
			}
		})
	}
}

// serveFor runs serve until the test ends and returns what it says at its start.
func serveFor(t *testing.T, flags ...string) string {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var out, log syncBuffer
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, append([]string{"serve"}, flags...), strings.NewReader(""), &out, &log) }()
	t.Cleanup(func() {
		stop()
		if code := <-ended; code != 0 {
			t.Errorf("serve: exit %d:\n%s", code, log.String())
		}
	})
	eventually(t, "serve to print its commands", func() bool { return strings.Contains(out.String(), "shipments show") })
	return out.String()
}

// paste runs a line in a shell that knows nothing but where the appliance is. Where
// curl is not installed, which CI must not do, the test binary takes its place.
func paste(t *testing.T, line string) string {
	t.Helper()
	bin := t.TempDir()
	if err := os.Symlink(os.Args[0], filepath.Join(bin, "appliance")); err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath(curl); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("curl is not installed, and CI must not go without")
		}
		if err := os.Symlink(os.Args[0], filepath.Join(bin, curl)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "/bin/sh")
	cmd.Dir, cmd.Env = bin, []string{"PATH=" + bin + ":" + os.Getenv("PATH"), asAppliance + "=1"}
	cmd.Stdin = strings.NewReader(line + "\n")
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if _, ran := errors.AsType[*exec.ExitError](err); err != nil && !ran {
		t.Fatal(err)
	}
	return string(out) + problems.String()
}

// curl is the name under which the test binary posts as curl would.
const curl = "curl"

// postAsCurl takes the arguments that a printed line has.
func postAsCurl(args []string) (code int) {
	var address, body string
	headers := http.Header{}
	for i := 0; i < len(args); i++ {
		switch args[i] {
		case "-sS":
		case "-H":
			i++
			name, value, _ := strings.Cut(args[i], ": ")
			headers.Set(name, value)
		case "--data-raw":
			i++
			body = args[i]
		case "--data-binary":
			i++ // @-
			text, _ := io.ReadAll(os.Stdin)
			body = string(text)
		default:
			address = args[i]
		}
	}
	r, err := http.NewRequest(http.MethodPost, address, strings.NewReader(body))
	if err == nil {
		r.Header = headers
		var answer *http.Response
		if answer, err = client.Do(r); err == nil {
			defer answer.Body.Close()
			_, err = io.Copy(os.Stdout, answer.Body)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func TestInvocation(t *testing.T) {
	t.Parallel()
	bound := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9081}
	const elsewhere, inClone = "/usr/bin/appliance", "/tmp/go-build2375789395/b001/exe/appliance"
	flag, file := config.OriginFlag, "file /etc/a b.toml"
	for _, tc := range []struct {
		executable, file, listen, dir, dirBy string
		token                                config.Secret
		want                                 string
	}{
		{elsewhere, "", "default", "/d", "default", "", "appliance --data-dir /d"},
		{elsewhere, config.DefaultFile, "file appliance.toml", "/d", "default", "", "appliance --data-dir /d"},
		{elsewhere, config.DefaultFile, "default", "/d", "default", "env:T", "appliance --config " + absolute(config.DefaultFile) + " --data-dir /d"},
		{elsewhere, "/etc/a b.toml", file, "/d", file, "", "appliance --config '/etc/a b.toml'"},
		{elsewhere, "/etc/a b.toml", file, "/d", flag, "", "appliance --config '/etc/a b.toml' --data-dir /d"},
		{elsewhere, "/etc/a b.toml", flag, "/d", file, "", "appliance --config '/etc/a b.toml' --admin-listen 127.0.0.1:9081"},
		{elsewhere, "/etc/a b.toml", file, "d", file, "", "appliance --config '/etc/a b.toml' --data-dir " + absolute("d")},
		{inClone, "", "default", "data", "default", "", "go run ./appliance"},
		{inClone, "", "default", "/d", flag, "", "go run ./appliance --data-dir /d"},
		{"/tmp/go-build2375789395/b001/appliance.test", "", "default", "/d", "default", "", "appliance --data-dir /d"},
		{"/home/go-build/bin/appliance", "", "default", "/d", "default", "", "appliance --data-dir /d"},
		{"", "", "default", "/d", "default", "", "appliance --data-dir /d"},
		{`C:\Temp\go-build23\b001\exe\appliance.exe`, "", "default", "data", "default", "", "go run ./appliance"},
	} {
		l := config.Loaded{File: tc.file, Origins: map[string]string{"admin.listen": tc.listen, "data_dir": tc.dirBy}}
		l.DataDir, l.Admin.Token = tc.dir, tc.token
		if got := invocation(&l, tc.executable, bound); got != tc.want {
			t.Errorf("%+v: %s, want %s", tc, got, tc.want)
		}
	}
}
