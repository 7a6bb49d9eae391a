package ops_test

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// run runs a script of this folder and returns what it printed.
func run(t *testing.T, environment []string, script string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command("sh", append([]string{script}, args...)...)
	cmd.Env = append(os.Environ(), environment...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// needs skips the test where a program is missing, but in CI.
func needs(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(program + " is missing")
		}
		t.Skip(program + " is missing")
	}
}

// files returns the contents of the files below dir by their path, and fails the test for one
// that others can read.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm() != 0o400 {
			t.Errorf("%s has mode %o", path, info.Mode())
		}
		text, err := os.ReadFile(path)
		found[strings.TrimPrefix(path, dir+"/")] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestSecretsAreMadeOnce looks at what the first start of compose.yaml makes.
func TestSecretsAreMadeOnce(t *testing.T) {
	t.Parallel()
	dir, other := t.TempDir(), t.TempDir()
	for _, d := range []string{dir, other, dir} { // the last time there is nothing to make
		before := map[string]string{}
		if d == dir {
			before = files(t, dir)
		}
		if out, err := run(t, nil, "secrets.sh", d); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for name, text := range before {
			if files(t, dir)[name] != text {
				t.Errorf("%s is another one after the second start", name)
			}
		}
	}
	made, elsewhere := files(t, dir), files(t, other)
	random := regexp.MustCompile(`[0-9a-f]{64}`)
	seen := map[string]string{}
	for name, text := range made {
		if name == "appliance/complete" {
			continue
		}
		secrets := random.FindAllString(text, -1)
		if len(secrets) == 0 {
			t.Errorf("%s holds no secret: %q", name, text)
		}
		for _, secret := range secrets {
			if strings.Contains(fmt.Sprint(elsewhere), secret) {
				t.Errorf("%s is the same on two machines", name)
			}
			seen[secret] += " " + name
		}
	}
	if len(seen) != 8 {
		t.Errorf("%d secrets: %v", len(seen), seen)
	}
	if made["mongodb/password"] != random.FindString(made["appliance/mongo_uri"]) || made["redis/password"] != random.FindString(made["appliance/redis_url"]) {
		t.Error("the appliance has another password than the servers")
	}
	// One that was interrupted is made again, whole.
	if err := os.Remove(filepath.Join(dir, "appliance", "complete")); err != nil {
		t.Fatal(err)
	}
	if out, err := run(t, nil, "secrets.sh", dir); err != nil {
		t.Fatalf("again: %v: %s", err, out)
	}
	if again := files(t, dir); again["mongodb/password"] == made["mongodb/password"] || again["mongodb/password"] != random.FindString(again["appliance/mongo_uri"]) {
		t.Error("a run that was interrupted is continued with other passwords than it began with")
	}
}

// TestSecretsAreMadeInContainer gives the script what its container has: a root that can't be
// written, four volumes, two capabilities. An interrupted run left files of other users.
func TestSecretsAreMadeInContainer(t *testing.T) {
	t.Parallel()
	needs(t, "unshare")
	needs(t, "mount")
	if os.Geteuid() != 0 {
		t.Skip("mounts file systems, which takes root")
	}
	script, err := filepath.Abs("secrets.sh")
	if err != nil {
		t.Fatal(err)
	}
	const container = `set -e
		mount -t tmpfs none "$0"
		for d in mongodb redis nats appliance; do mkdir "$0/$d"; mount -t tmpfs none "$0/$d"; done
		mount -o remount,ro "$0"
		as_container() { setpriv --inh-caps=-all --bounding-set=-all,+chown,+dac_override --no-new-privs sh "$@"; }
		as_container "$1" "$0"
		rm "$0/appliance/complete"
		as_container "$1" "$0"
		stat -c %u:%a "$0"/mongodb/keyfile "$0"/redis/redis.conf "$0"/nats/nats.conf "$0"/appliance/stamp_key`
	out, err := exec.Command("unshare", "--mount", "sh", "-c", container, t.TempDir(), script).CombinedOutput()
	if got := strings.Fields(string(out)); err != nil || strings.Join(got, " ") != "999:400 999:400 0:400 65532:400" {
		t.Errorf("%v: %s", err, out)
	}
}

// TestRedisOfComposeWantsPassword starts Redis as compose.yaml does.
func TestRedisOfComposeWantsPassword(t *testing.T) {
	t.Parallel()
	needs(t, "redis-server")
	dir := t.TempDir()
	if out, err := run(t, nil, "secrets.sh", dir); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	socket := filepath.Join(dir, "s")
	server := exec.Command("redis-server", filepath.Join(dir, "redis", "redis.conf"), "--port", "0", "--unixsocket", socket)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
	ask := func(commands string) string {
		conn, err := net.Dial("unix", socket)
		for deadline := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(deadline); conn, err = net.Dial("unix", socket) {
			<-time.After(10 * time.Millisecond) // it is starting
		}
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "%s\r\nQUIT\r\n", commands)
		answer := make([]byte, 4096)
		n, _ := conn.Read(answer)
		return string(answer[:n])
	}
	if got := ask("PING"); !strings.HasPrefix(got, "-NOAUTH") {
		t.Errorf("without a password it answers %q", got)
	}
	if got := ask("AUTH " + files(t, filepath.Join(dir, "redis"))["password"]); !strings.HasPrefix(got, "+OK") {
		t.Errorf("with its password it answers %q", got)
	}
}

// TestComposeHasNoSecret: nothing in the file is a secret, or has a default for one.
func TestComposeHasNoSecret(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(string(text), "\n") {
		if strings.Contains(line, "${") || regexp.MustCompile(`(?i)(password|secret|key|_uri|_url|token)[A-Z_]*: `).MatchString(line) &&
			!regexp.MustCompile(`: (file:|"?/)|: nats://nats-1|: \{condition|_FILE: /`).MatchString(line) {
			t.Errorf("line %d may hold a secret, or a default for one: %s", i+1, line)
		}
	}
}

// TestPinImages has a registry's answers come from a script in docker's place.
func TestPinImages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old, latest := strings.Repeat("0a", 32), strings.Repeat("1b", 32)
	docker := fmt.Sprintf(`#!/bin/sh
[ "$1 $2 $3" = "buildx imagetools inspect" ] || exit 1
case "$6" in
    mongo:8 | redis:8-alpine | golang:1.26-bookworm) printf 'sha256:%s\n' ;;
    *) echo "no such image: $6" >&2; exit 1 ;;
esac
`, latest)
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(docker), 0o755); err != nil {
		t.Fatal(err)
	}
	path := []string{"PATH=" + dir + ":" + os.Getenv("PATH")}
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	compose := "services:\n  a:\n    image: mongo:8\n  b:\n    image: \"redis:8-alpine@sha256:" + old + "\" # a cache\n  c: &c\n    image: courier-gateway:dev\n  # image: mongo:8 is large\n"
	file, build := write("compose.yaml", compose), write("Dockerfile", "FROM golang:1.26-bookworm AS build\nFROM scratch\n")
	if out, err := run(t, path, "pin-images.sh", "--check", file, build); err == nil || !strings.Contains(out, "mongo:8 is not pinned") || !strings.Contains(out, "golang:1.26-bookworm is not pinned") || strings.Contains(out, "redis") {
		t.Errorf("before: %v: %s", err, out)
	}
	for range 2 { // the second time changes nothing
		if out, err := run(t, path, "pin-images.sh", file, build); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for name, want := range map[string]string{
			file:  strings.Replace(strings.Replace(compose, "image: mongo:8\n", "image: mongo:8@sha256:"+latest+"\n", 1), old, latest, 1),
			build: "FROM golang:1.26-bookworm@sha256:" + latest + " AS build\nFROM scratch\n",
		} {
			if got, _ := os.ReadFile(name); string(got) != want {
				t.Errorf("pinned as %s, want %s", got, want)
			}
		}
	}
	if out, err := run(t, path, "pin-images.sh", "--check", file, build); err != nil {
		t.Errorf("after: %v: %s", err, out)
	}
	unknown := write("other.yaml", "image: nosuch:1\nimage: mongo:8\n")
	if out, err := run(t, path, "pin-images.sh", unknown); err == nil {
		t.Errorf("an image that the registry does not know is pinned: %s", out)
	}
	// The project's own files name images that the script finds.
	for name, want := range map[string]string{"../compose.yaml": "mongo: redis: nats:", "../Dockerfile": "golang:"} {
		out, _ := run(t, path, "pin-images.sh", "--check", name)
		text, _ := os.ReadFile(name)
		for _, image := range strings.Fields(want) {
			if !strings.Contains(out+string(text), image) || strings.Contains(string(text), image) && !strings.Contains(string(text), "@sha256:") && !strings.Contains(out, image) {
				t.Errorf("%s: %s is not looked at: %s", name, image, out)
			}
		}
	}
}

// TestServiceUnit has systemd read the unit: it takes every line, and lists nothing among what
// a service could do without, but for the network, the socket of the watchdog, the root
// directory (which holds its certificates) and what ProtectClock adds by itself.
func TestServiceUnit(t *testing.T) {
	t.Parallel()
	needs(t, "systemd-analyze")
	text, err := os.ReadFile("courier-gateway.service")
	if err != nil {
		t.Fatal(err)
	}
	unit := filepath.Join(t.TempDir(), "courier-gateway.service")
	installed := strings.ReplaceAll(string(text), "/usr/local/bin/appliance", "/bin/true")
	if err := os.WriteFile(unit, []byte(installed), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("systemd-analyze", "verify", unit).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("verify: %v: %s", err, out)
	}
	out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", unit).CombinedOutput()
	if err != nil {
		t.Fatalf("security: %v: %s", err, out)
	}
	allowed := regexp.MustCompile(`^✗ (RootDirectory|RestrictAddressFamilies=~AF_(UNIX|\(INET)|PrivateNetwork|DeviceAllow=.*char-rtc:r|IPAddressDeny)`)
	checked := 0
	for _, line := range strings.Split(string(out), "\n") {
		if strings.HasPrefix(line, "✓") {
			checked++
		}
		if strings.HasPrefix(line, "✗") && !allowed.MatchString(line) {
			t.Errorf("it may do without: %s", line)
		}
	}
	if checked < 50 {
		t.Errorf("only %d lines are good: %s", checked, out)
	}
	for _, setting := range []string{"LoadCredential=", "MemoryMax=1G", "Environment=GOMEMLIMIT=800MiB", "TasksMax="} { // which it does not rate
		if !strings.Contains(string(text), "\n"+setting) {
			t.Errorf("%s is missing", setting)
		}
	}
	filter, err := exec.Command("systemd-analyze", "syscall-filter", "@sync").CombinedOutput()
	if err != nil || !strings.Contains(string(filter), "syncfs") { // in @system-service; a flush of the queue is one
		t.Errorf("the filter of system calls: %v: %s", err, filter)
	}
}
