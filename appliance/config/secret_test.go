package config

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSecretsAreTrimmedAlike(t *testing.T) {
	const value = "case-secret-0123456789abcdef"
	for _, raw := range []string{value, value + "\n", value + "\r\n", value + "\n\n", "\uFEFF" + value, "\uFEFF" + value + "\r\n"} {
		t.Setenv("A_SECRET", raw)
		for _, s := range []Secret{"env:A_SECRET", secretOf(t, raw)} {
			if got, err := s.Resolve(); err != nil || string(got) != value {
				t.Errorf("%q by %s is %q, %v", raw, s, got, err)
			}
		}
	}
	for _, raw := range []string{" x", "x ", "\"x\"", "\u200bx", "x\u00a0"} { // those count: a warning names them
		if got, err := secretOf(t, raw).Resolve(); err != nil || string(got) != raw {
			t.Errorf("%q is %q, %v", raw, got, err)
		}
	}
	for _, raw := range []string{"\uFEFF", "\n", "\uFEFF\r\n"} {
		if got, err := secretOf(t, raw).Resolve(); err == nil || !strings.Contains(err.Error(), "is empty") {
			t.Errorf("%q is %q, %v", raw, got, err)
		}
	}
}

func TestFlawsOfSecretsAreNamed(t *testing.T) {
	t.Parallel()
	const value = "case-secret-0123456789abcdef"
	for raw, want := range map[string]string{
		value:                              "",
		value + "\n":                       "",
		"schlüssel-0123456789":             "",
		"\x8f\x00\x20\xff binary \x80 \"":  "",
		"\uFEFF" + value:                   "byte order mark",
		"\xff\xfec\x00a\x00s\x00e\x00":     "UTF-16",
		"\"" + value + "\"":                "in quotes",
		"'" + value + "'\n":                "in quotes",
		"\u201c" + value + "\u201d":        "in quotes",
		value + " ":                        "beginning or end",
		"\t" + value:                       "beginning or end",
		value + "\u00a0":                   "beginning or end",
		value[:9] + " " + value[9:]:        "white space inside",
		value[:9] + "\n" + value[9:]:       "white space inside",
		value + "\u200b":                   "U+200B",
		value[:9] + "\uFEFF" + value[9:]:   "U+FEFF",
		value[:9] + "\x00" + value[9:]:     "U+0000",
		value[:9] + "\u202e" + value[9:]:   "U+202E",
		"\u201c" + value + " \u201d\u200b": "U+200B",
	} {
		flaws := strings.Join(secretOf(t, raw).Flaws(), "; ")
		if (want == "") != (flaws == "") || !strings.Contains(flaws, want) {
			t.Errorf("%q: %q, want %q", raw, flaws, want)
		}
		if strings.Contains(flaws, "secret-") {
			t.Errorf("%q: the value is shown: %q", raw, flaws)
		}
	}
}

// warningsOf returns the warnings of a configuration file.
func warningsOf(t *testing.T, content string) string {
	t.Helper()
	l, err := Load(configFile(t, content), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Check()); err != nil {
		t.Fatal(err)
	}
	if warnings := l.Warnings(); len(warnings) > 0 {
		return warnings.Error()
	}
	return ""
}

func TestWeakSecretsAreWarnedOf(t *testing.T) {
	good, other := secretOf(t, "case-secret-0123456789abcdef"), secretOf(t, "other-secret-0123456789abcdef")
	courier := func(name string, s Secret) string { return fmt.Sprintf("[couriers.%s]\nsecrets = [%q]\n", name, s) }
	shown := func(name, scheme, text string) string {
		return fmt.Sprintf("[couriers.%s]\nscheme = %q\nsecrets = [%q]\n", name, scheme, secretOf(t, text))
	}
	whsec := base64.StdEncoding.EncodeToString([]byte("0123456789abcdef01234567"))
	public := "whpk_" + base64.StdEncoding.EncodeToString([]byte("a public key, which has 32 bytes"))
	readable, ofGroup := secretOf(t, "read-by-all-0123456789"), secretOf(t, "read-by-some-0123456789")
	for s, mode := range map[Secret]os.FileMode{readable: 0o644, ofGroup: 0o640} {
		if err := os.Chmod(s.File(), mode); err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(ofGroup.File(), 1234, 1234); err != nil {
			t.Fatal(err)
		}
	}
	for content, want := range map[string]string{
		courier("a", good) + courier("b", other):                                                                "",
		courier("a", secretOf(t, "fifteen-bytes--")):                                                            "couriers.a.secrets[0]",
		"[admin]\ntoken = \"" + string(secretOf(t, "short")) + "\"\n":                                           "admin.token",
		courier("a", good) + courier("b", good):                                                                 "the same secret as couriers.a.secrets[0]",
		"[admin]\ntoken = \"" + string(good) + "\"\n" + courier("a", good):                                      "the same secret as admin.token",
		shown("a", "basic", "a-long-user-name-0123456789:p"):                                                    "only 1 bytes",
		shown("a", "standard-webhooks", "whsec_MTIzNDU2Nzg5"):                                                   "only 9 bytes",
		shown("a", "standard-webhooks", whsec) + shown("b", "standard-webhooks", "whsec_"+whsec):                "the same secret as couriers.a.secrets[0]",
		shown("a", "standard-webhooks", "whsec_"+whsec) + courier("b", secretOf(t, "0123456789abcdef01234567")): "the same secret as couriers.a.secrets[0]",
		shown("a", "basic", "alice:a-password-of-both") + shown("b", "basic", "bob:a-password-of-both"):         "the same secret as couriers.a.secrets[0]",
		shown("a", "standard-webhooks", public) + shown("b", "standard-webhooks", public):                       "",
		courier("a", readable): "every user of this machine",
		courier("a", ofGroup):  "its group (mode 0640)",
		courier("a", secretOf(t, "\uFEFFcase-secret-0123456789abcdef")): "byte order mark",
	} {
		got := warningsOf(t, "data_dir = \""+t.TempDir()+"\"\n"+content)
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s\nwarnings %q, want %q", content, got, want)
		}
		if strings.Contains(got, "case-secret") || strings.Contains(got, "fifteen-bytes") || strings.Contains(got, "read-by") {
			t.Errorf("a value is shown: %s", got)
		}
	}
}

// TestKeysOfOthersAreRefused: whoever can write a stamp key could make events, and whoever
// can write an admin token could let themselves in. Links are how secrets are mounted, so
// that what they lead to counts. A courier's secret is the courier's as well, and a mode
// that is too open there costs a warning.
func TestKeysOfOthersAreRefused(t *testing.T) {
	target := secretOf(t, "a-key-0123456789abcdef0123456789abcdef").File()
	link := Secret("file:" + filepath.Join(t.TempDir(), "link"))
	if err := os.Symlink(target, link.File()); err != nil {
		t.Fatal(err)
	}
	cfg := Defaults()
	cfg.DataDir = t.TempDir()
	cfg.JetStream.StampKeys, cfg.Admin.Token = []Secret{link}, link
	start := func() error {
		_, stampErr := cfg.Stamper()
		_, adminErr := cfg.OpenAccess(&net.TCPAddr{IP: net.IPv6loopback, Port: 1}, true, func(msg string, args ...any) { t.Log(msg, args) })
		if (stampErr == nil) != (adminErr == nil) {
			t.Errorf("the stamp key: %v, the admin token: %v", stampErr, adminErr)
		}
		return errors.Join(stampErr, adminErr)
	}
	if err := start(); err != nil {
		t.Errorf("a link to a file of this user: %v", err)
	}
	spoiled := map[string]func() error{"can be written by other users (mode 0602)": func() error { return os.Chmod(target, 0o602) }}
	if os.Geteuid() == 0 {
		spoiled["another user (uid 1234)"] = func() error { return errors.Join(os.Chmod(target, 0o600), os.Chown(target, 1234, -1)) }
	}
	for want, spoil := range spoiled {
		if err := errors.Join(os.Chown(target, os.Geteuid(), -1), spoil()); err != nil {
			t.Fatal(err)
		}
		if err := start(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a start with what %s: %v", want, err)
		}
		for key, content := range map[string]string{
			"jetstream.stamp_keys[0]":      "[jetstream]\nstamp_keys = [%q]\n",
			"admin.token":                  "[admin]\ntoken = %q\n",
			"admin.tokens.dashboard.token": "[admin.tokens.dashboard]\nrole = \"read\"\ntoken = %q\n",
		} {
			l, err := Load(configFile(t, fmt.Sprintf("data_dir = %q\n"+content, cfg.DataDir, link)), nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Check(); err == nil || !strings.Contains(err.Error(), key+": ") || !strings.Contains(err.Error(), want) {
				t.Errorf("config check of %s that %s: %v", key, want, err)
			}
		}
		courier := fmt.Sprintf("data_dir = %q\n[couriers.a]\nsecrets = [%q]\n", cfg.DataDir, link)
		if got := warningsOf(t, courier); !strings.Contains(got, "couriers.a.secrets[0]: ") || !strings.Contains(got, want) {
			t.Errorf("a courier's secret that %s: %q", want, got)
		}
	}
}

// TestPlantedFilesAreRefused: whoever can write to the data directory or its keys could
// make events, or let themselves in.
func TestPlantedFilesAreRefused(t *testing.T) {
	dir := t.TempDir()
	cfg := Defaults()
	cfg.DataDir = dir
	for _, err := range []error{cfg.MakeDataDir(), cfg.MakeDemoSecret()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := cfg.Stamper(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{StampKeyFile, DemoSecretFile} {
		path := filepath.Join(dir, name)
		if err := os.Chmod(path, 0o660); err != nil {
			t.Fatal(err)
		}
		_, stampErr := cfg.Stamper()
		if err := errors.Join(stampErr, cfg.MakeDemoSecret()); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s that others can write: %v", name, err)
		}
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o770); err != nil {
		t.Fatal(err)
	}
	l := Loaded{Config: cfg}
	for _, err := range []error{cfg.MakeDataDir(), l.Check()} {
		if err == nil || !strings.Contains(err.Error(), "data_dir") || !strings.Contains(err.Error(), "chmod go-w "+dir) {
			t.Errorf("a directory that others can write: %v", err)
		}
	}
}

func TestOwnSecrets(t *testing.T) {
	cfg := Defaults()
	cfg.DataDir = t.TempDir()
	if own := OwnSecrets(cfg); len(own) > 0 {
		t.Errorf("before a start there are %q", own)
	}
	cfg.JetStream.StampKeys = []Secret{secretOf(t, "first-stamp-key"), secretOf(t, "second-stamp-key")}
	cfg.Persistence.MongoURI = secretOf(t, "mongodb://gateway:p%40ss%2Fword-1@a:27017,b:27017/courier?replicaSet=rs0")
	cfg.Persistence.RedisURL = secretOf(t, "rediss://:pass@word-2@redis:6379/0")
	want := "first-stamp-key second-stamp-key p@ss/word-1 pass@word-2"
	if got := string(bytes.Join(OwnSecrets(cfg), []byte(" "))); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	cfg.JetStream.StampKeys, cfg.Persistence.MongoURI = []Secret{"env:NO_SUCH_VARIABLE"}, secretOf(t, "mongodb://a:27017/?x=@")
	cfg.Persistence.RedisURL = secretOf(t, "redis://:short@redis:6379/0")
	if own := OwnSecrets(cfg); len(own) > 0 {
		t.Errorf("addresses without a password that would be found have %q", own)
	}
}
