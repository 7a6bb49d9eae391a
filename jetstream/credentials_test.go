package jetstream

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/fincart/courier-gateway/ingest/event"
)

// signer is a key of an operator's or an account's, and what it is called.
type signer struct {
	t    *testing.T
	key  nkeys.KeyPair
	name string // its public key
}

func newSigner(t *testing.T, create func() (nkeys.KeyPair, error)) signer {
	t.Helper()
	key, err := create()
	if err != nil {
		t.Fatal(err)
	}
	name, err := key.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return signer{t, key, name}
}

func (s signer) sign(c jwt.Claims) string {
	s.t.Helper()
	token, err := c.Encode(s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	return token
}

// credentials writes the file of a new user of the account.
func (s signer) credentials(dir string) (path string) {
	s.t.Helper()
	user := newSigner(s.t, nkeys.CreateUser)
	seed, err := user.key.Seed()
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := jwt.FormatUserConfig(s.sign(jwt.NewUserClaims(user.name)), seed)
	if err != nil {
		s.t.Fatal(err)
	}
	path = filepath.Join(dir, user.name+".creds")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// TestCredentialsFile meets a server that has an operator and knows users by their
// tokens, as hosted ones do.
func TestCredentialsFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	operator := newSigner(t, nkeys.CreateOperator)
	ours, system, foreign := newSigner(t, nkeys.CreateAccount), newSigner(t, nkeys.CreateAccount), newSigner(t, nkeys.CreateAccount)
	claims := jwt.NewAccountClaims(ours.name)
	claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	config := fmt.Sprintf("operator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload: {\n%s: %s\n%s: %s\n}\n",
		operator.sign(jwt.NewOperatorClaims(operator.name)), system.name,
		ours.name, operator.sign(claims), system.name, operator.sign(jwt.NewAccountClaims(system.name)))
	path := filepath.Join(dir, "server.conf")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}

	cfg := externalConfig(t, startServer(t, []string{"-c", path}))
	for name, file := range map[string]string{
		"none": "", "missing": filepath.Join(dir, "none.creds"), "of an account that the server does not know": foreign.credentials(dir),
	} {
		cfg.CredentialsFile = file
		start := time.Now()
		if _, err := openOn(t.Context(), cfg, testDeps()); err == nil || time.Since(start) > 10*time.Second {
			t.Errorf("%s: Open: %v after %v", name, err, time.Since(start))
		}
	}
	cfg.CredentialsFile = ours.credentials(dir)
	b := open(t, cfg)
	if r := publish(t, b, envelope("k")); r.Sequence != 1 {
		t.Errorf("receipt is %+v", r)
	}
	batch, err := b.Pull(t.Context(), 1)
	if err != nil || len(batch) != 1 {
		t.Fatalf("pull: %v, %v", batch, err)
	}
	if err := b.Settle(batch[0], event.Verdict{Action: event.Dead, Code: event.Malformed}); err != nil {
		t.Fatal(err)
	}
	// The account gets its own advisories.
	advisories, err := b.PullAdvisories(t.Context(), 1)
	if err != nil || len(advisories) != 1 || advisories[0].Sequence != 1 || !advisories[0].Terminated {
		t.Errorf("advisories: %+v, %v", advisories, err)
	}
}

// TestComposeCluster starts the three servers of compose.yaml on the configuration that its
// first start makes, and meets them as its services do.
func TestComposeCluster(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if out, err := exec.Command("sh", "../ops/secrets.sh", dir).CombinedOutput(); err != nil {
		t.Fatalf("make the secrets: %v: %s", err, out)
	}
	made, err := os.ReadFile(filepath.Join(dir, "nats", "nats.conf"))
	if err != nil {
		t.Fatal(err)
	}
	routes := freePorts(t, 3)
	text := string(made)
	for _, line := range []string{"http: 127.0.0.1:8222\n", "jetstream { store_dir: /data }\n"} { // here each server has its own
		if !strings.Contains(text, line) {
			t.Fatalf("the configuration lacks %q: %s", line, text)
		}
		text = strings.Replace(text, line, "", 1)
	}
	for i, port := range routes {
		text = strings.ReplaceAll(text, fmt.Sprintf("nats-%d:6222", i+1), fmt.Sprintf("127.0.0.1:%d", port))
	}
	var servers []*serverProcess
	for i, port := range routes {
		path := filepath.Join(dir, fmt.Sprintf("%d.conf", i))
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "0.0.0.0:6222", fmt.Sprintf("127.0.0.1:%d", port))), 0o600); err != nil {
			t.Fatal(err)
		}
		servers = append(servers, startServer(t, []string{"-c", path, "-n", fmt.Sprintf("nats-%d", i+1)}))
	}
	cfg := externalConfig(t, servers...)
	stranger := filepath.Join(dir, "stranger")
	if err := os.WriteFile(stranger, []byte("appliance:guessed\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]string{"no user": "", "a wrong password": stranger} {
		cfg.CredentialsFile = file
		if _, err := openOn(t.Context(), cfg, testDeps()); err == nil {
			t.Errorf("%s: a stranger is let in", name)
		}
	}
	cfg.CredentialsFile = filepath.Join(dir, "appliance", "nats_user")
	b := open(t, cfg)
	if r := publish(t, b, envelope("k")); r.Sequence != 1 {
		t.Errorf("receipt is %+v", r)
	}
}
