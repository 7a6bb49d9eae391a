package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/appliance/config/sendertest"
)

// TestServiceManagerIsNotified listens as systemd does: for readiness, for signs of
// life as often as the watchdog wants them, and for the stop.
func TestServiceManagerIsNotified(t *testing.T) {
	address := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"}
	manager, err := net.ListenUnixgram("unixgram", address)
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	c := spawn(t, t.TempDir(), "NOTIFY_SOCKET="+address.Name, "WATCHDOG_USEC=300000")
	hears := func(want string) {
		t.Helper()
		buf := make([]byte, 256)
		for {
			if err := manager.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			n, err := manager.Read(buf)
			if err != nil {
				t.Fatalf("waiting for %s: %v", want, err)
			}
			if string(buf[:n]) == want {
				return
			}
		}
	}
	hears("READY=1")
	for range 3 {
		hears("WATCHDOG=1")
	}
	if err := c.signalled(syscall.SIGTERM); err != nil {
		t.Errorf("the process ended with %v", err)
	}
	hears("STOPPING=1")
}

// TestImageRuns builds what the container image holds and runs it as the image
// does: in a root of its own and, where the test may, as another user.
func TestImageRuns(t *testing.T) {
	if !*drills {
		t.Skip("builds a release binary, which takes minutes; run with -args -drills")
	}
	root := t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("sh", "../ops/image.sh", root, "v1.2.3-test")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the image: %v\n%s", err, out)
	}
	version := exec.Command(filepath.Join(root, "appliance"), "version")
	if os.Geteuid() == 0 {
		if err := os.Chown(filepath.Join(root, "data"), 65532, 65532); err != nil {
			t.Fatal(err)
		}
		version = exec.Command("/appliance", "version")
		version.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
		version.Dir = "/"
	}
	out, err := version.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "v1.2.3-test" {
		t.Fatalf("the image's binary says %q, %v", out, err)
	}
	if os.Geteuid() != 0 {
		return
	}
	// The presets need time zones, which the image has no files for.
	settings, variables := "", []string{}
	for name, p := range sendertest.Presets(t) {
		settings += fmt.Sprintf("[couriers.%s]\npreset = %q\nmode = \"observe\"\n", name, name)
		if p.Courier.JWKS == "" {
			variable := "SECRET_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
			settings += fmt.Sprintf("secrets = [\"env:%s\"]\n", variable)
			variables = append(variables, variable+"="+string(sendertest.Complete(t, p.Courier.SignatureSettings(), 0).Secrets[0].Key))
		}
	}
	if err := os.WriteFile(filepath.Join(root, "presets.toml"), []byte(settings), 0o644); err != nil {
		t.Fatal(err)
	}
	check := exec.Command("/appliance", "config", "check", "--config", "/presets.toml")
	check.SysProcAttr = version.SysProcAttr
	check.Dir, check.Env = "/", variables
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("the image can't use every preset: %v\n%s", err, out)
	}
	serve := exec.Command("/appliance", "serve", "--data-dir", "/data", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	serve.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
	serve.Dir = "/"
	serve.Env = []string{"APPLIANCE_JETSTREAM__DISK_RESERVE_BYTES=0"}
	log := &syncBuffer{}
	serve.Stdout, serve.Stderr = log, log
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = serve.Process.Kill() }()
	eventually(t, "the image's appliance to serve", func() bool { return strings.Contains(log.String(), "is running") })
	if err := serve.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := serve.Wait(); err != nil {
		t.Errorf("the image's appliance ended with %v\n%s", err, log)
	}
}
