package config

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/ops/admin"
)

// started leaves in dir what an appliance that listens there leaves, and returns its token.
func started(t *testing.T, dir string, port int) string {
	t.Helper()
	cfg := Defaults()
	cfg.DataDir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	tokens, err := cfg.OpenAccess(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}, false, func(msg string, args ...any) { t.Log(msg, args) })
	if err != nil || len(tokens) != 1 || tokens[0].Role != admin.Admin {
		t.Fatalf("%v, %v", tokens, err)
	}
	return string(tokens[0].Secret)
}

// working changes into a new working directory, and writes an appliance.toml there
// unless content is "".
func working(t *testing.T, content string) {
	t.Helper()
	t.Chdir(t.TempDir())
	if content != "" {
		if err := os.WriteFile(DefaultFile, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCommandsFindTheTokenByTheDataDirectory(t *testing.T) {
	working(t, "")
	dir := t.TempDir()
	token := started(t, dir, 9100)
	named := configFile(t, "data_dir = \""+dir+"\"\n[admin]\nlisten = \"localhost:9100\"\n")
	free := configFile(t, "data_dir = \""+dir+"\"\n[admin]\nlisten = \"127.0.0.1:0\"\n")
	overridden := configFile(t, "[admin]\nlisten = \"127.0.0.1:9100\"\n")
	for what, asked := range map[string]Asked{
		"the directory":            {DataDir: dir},
		"the directory and a port": {DataDir: dir, Listen: "127.0.0.1:9100"},
		"a file":                   {File: named},
		"a file with port 0":       {File: free},
		"a file and the directory": {File: overridden, DataDir: dir},
	} {
		c := ReadClient(asked)
		if got := c.Bearer(); c.Address != "127.0.0.1:9100" || got != token || len(c.Warnings) > 0 {
			t.Errorf("%s: %+v with %q", what, c, got)
		}
	}
	made := started(t, "data", 9200) // as serve does without any configuration
	if c := ReadClient(Asked{}); c.Address != "127.0.0.1:9200" || c.Bearer() != made {
		t.Errorf("in the working directory: %+v", c)
	}
	if c := ReadClient(Asked{Listen: "gateway.example:8081"}); c.Bearer() != "" {
		t.Errorf("the token of ./data is sent to %s", c.Address)
	}
	if c := ReadClient(Asked{DataDir: dir, Listen: "gateway.example:8081"}); c.Bearer() != token {
		t.Error("an address and a directory that were both asked for do not go together")
	}
}

// TestCommandsUseTheConfiguredCertificate: no token goes in plain HTTP to an appliance that is
// configured to speak HTTPS and has left nothing for commands where they look.
func TestCommandsUseTheConfiguredCertificate(t *testing.T) {
	working(t, "")
	dir := t.TempDir()
	token := secretOf(t, "a secret of somebody")
	secured := configFile(t, "data_dir = \""+dir+"\"\n[admin]\nlisten = \"127.0.0.1:9100\"\ntls_cert_file = \"/cert.pem\"\ntoken = \""+string(token)+"\"\n")
	want := func(what string, asked Asked, address, cert string) {
		t.Helper()
		if c := ReadClient(asked); c.Address != address || c.CertFile != cert || len(c.Warnings) > 0 {
			t.Errorf("%s: %+v, want %s with %q", what, c, address, cert)
		}
	}
	want("a file", Asked{File: secured}, "https://127.0.0.1:9100", "/cert.pem")
	want("a file and an address", Asked{File: secured, Listen: "gateway.example:8081"}, "https://gateway.example:8081", "/cert.pem")
	want("a URL of its own", Asked{File: secured, Listen: "https://localhost:9100"}, "https://localhost:9100", "/cert.pem")
	want("another URL", Asked{File: secured, Listen: "https://gateway.example"}, "https://gateway.example", "")
	want("a plain URL", Asked{File: secured, Listen: "http://127.0.0.1:9200"}, "http://127.0.0.1:9200", "")
	leave(t, dir, "127.0.0.1:9100")
	want("an appliance that was started without", Asked{File: secured}, "127.0.0.1:9100", "")

	working(t, "[admin]\ntls_cert_file = \"found.pem\"\n")
	want("a found file", Asked{}, "https://127.0.0.1:8081", "found.pem")
	want("a found file and another address", Asked{Listen: "gateway.example:8081"}, "gateway.example:8081", "")
	want("a found file and a URL", Asked{Listen: "https://127.0.0.1:8081"}, "https://127.0.0.1:8081", "")
	t.Setenv("APPLIANCE_ADMIN__LISTEN", "127.0.0.1:9300")
	t.Setenv("APPLIANCE_ADMIN__TLS_CERT_FILE", "env.pem")
	want("the environment", Asked{}, "https://127.0.0.1:9300", "env.pem")
	t.Setenv("APPLIANCE_ADMIN__TLS_CERT_FILE", "")
	want("the environment that has none", Asked{}, "127.0.0.1:9300", "")
}

// TestPlantedFilesGetNoToken puts into the working directory what others could have put
// there, such as the maker of a repository that was cloned.
func TestPlantedFilesGetNoToken(t *testing.T) {
	genuine, secret := t.TempDir(), filepath.Join(t.TempDir(), "secret")
	token := started(t, genuine, 9100)
	if err := os.WriteFile(secret, []byte("a secret of somebody"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, content := range map[string]string{
		"a file's token and address": "[admin]\nlisten = \"127.0.0.1:9999\"\ntoken = \"file:" + secret + "\"\n",
		"another's directory":        "data_dir = \"" + genuine + "\"\n[admin]\nlisten = \"127.0.0.1:9999\"\n",
		"a variable":                 "[admin]\nlisten = \"127.0.0.1:9999\"\ntoken = \"env:SOME_TOKEN\"\n",
		"broken":                     "x = = 1\n[admin]\nlisten = \"127.0.0.1:9999\"\ntoken = \"file:" + secret + "\"\n",
	} {
		working(t, content)
		t.Setenv("SOME_TOKEN", "a secret of the environment")
		c := ReadClient(Asked{})
		switch sent := c.Bearer(); {
		case sent == token && c.Address == "127.0.0.1:9100": // where it belongs
		case sent != "":
			t.Errorf("%s: %q is sent to %s", what, sent, c.Address)
		case c.Address == "127.0.0.1:9999" && !strings.Contains(strings.Join(c.Warnings, "\n"), "--config"):
			t.Errorf("%s: no warning says what to do: %q", what, c.Warnings)
		}
		if c := ReadClient(Asked{File: DefaultFile}); c.Address != "127.0.0.1:9999" || c.Bearer() == "" {
			t.Errorf("%s: asked for, nothing is sent to %s: %q", what, c.Address, c.Warnings)
		}
	}
	working(t, "[admin]\ntoken = \"file:"+secret+"\"\n")
	started(t, "data", 9999)
	if c := ReadClient(Asked{}); c.Bearer() != "" {
		t.Errorf("the file's token is sent to %s, which ./data/%s names", c.Address, AccessFile)
	}
	t.Setenv("APPLIANCE_ADMIN__TOKEN", "file:"+secret)
	working(t, "[admin]\nlisten = \"127.0.0.1:9999\"\n")
	if c := ReadClient(Asked{}); c.Bearer() != "" {
		t.Errorf("the environment's token is sent to %s, which a found file names", c.Address)
	}
	if c := ReadClient(Asked{Listen: "127.0.0.1:9999"}); c.Bearer() != "a secret of somebody" {
		t.Errorf("nothing is sent to an address that was asked for: %q", c.Warnings)
	}
}

// TestOtherAddressesOfLoopbackGetNoToken: every user may listen on 127.0.0.2 and on ::1,
// which are not what was asked for, nor the default.
func TestOtherAddressesOfLoopbackGetNoToken(t *testing.T) {
	t.Setenv("APPLIANCE_ADMIN__TOKEN", string(secretOf(t, "a secret of the environment")))
	for _, planted := range []string{"127.0.0.2:8081", "[::1]:8081"} {
		working(t, "[admin]\nlisten = \""+planted+"\"\n")
		if c := ReadClient(Asked{}); c.Bearer() != "" {
			t.Errorf("%q is sent to %s, which only a found file names", c.Bearer(), c.Address)
		}
		working(t, "")
		leave(t, "data", planted)
		if c := ReadClient(Asked{Listen: "127.0.0.1:8081"}); c.Address != "127.0.0.1:8081" {
			t.Errorf("%s is asked in place of the address that was asked for", c.Address)
		}
		if c := ReadClient(Asked{}); c.Bearer() != "" {
			t.Errorf("%q is sent to %s, which only ./data/%s names", c.Bearer(), c.Address, AccessFile)
		}
	}
	for _, other := range []string{"localhost:8081", "[::]:8081"} {
		working(t, "[admin]\nlisten = \""+other+"\"\n")
		if c := ReadClient(Asked{}); c.Address != "127.0.0.1:8081" || c.Bearer() == "" {
			t.Errorf("the default address as %s is %s, and %q is sent there", other, c.Address, c.Bearer())
		}
	}
	working(t, "")
	leave(t, "data", "https://LOCALHOST:8081")
	for _, asked := range []Asked{{}, {Listen: ":8081"}} {
		if c := ReadClient(asked); c.Address != "https://127.0.0.1:8081" {
			t.Errorf("%+v is %s", asked, c.Address)
		}
	}
}

// TestFoundSecretsAreSentNowhere: not even to the default address, where any user can
// listen while the appliance does not run.
func TestFoundSecretsAreSentNowhere(t *testing.T) {
	content := "[admin]\ntoken = \"" + string(secretOf(t, "a secret of somebody")) + "\"\n"
	working(t, content)
	for what, asked := range map[string]Asked{"nothing": {}, "an address": {Listen: "127.0.0.1:8081"}, "a directory": {DataDir: t.TempDir()}} {
		c := ReadClient(asked)
		if sent := c.Bearer(); sent != "" || !strings.Contains(strings.Join(c.Warnings, "\n"), "--config "+DefaultFile) {
			t.Errorf("%s asked for: %q is sent to %s: %q", what, sent, c.Address, c.Warnings)
		}
	}
	leave(t, "data", "127.0.0.1:9999")
	named := configFile(t, content) // whose data_dir is ./data
	if c := ReadClient(Asked{File: named}); c.Bearer() != "" {
		t.Errorf("the token of %s is sent to %s, which ./data/%s names", named, c.Address, AccessFile)
	}
	if c := ReadClient(Asked{File: named, DataDir: "data"}); c.Bearer() == "" || c.Address != "127.0.0.1:9999" {
		t.Errorf("a directory that was asked for does not count: %+v", c)
	}
}

// TestFilesOfOthersDoNotCount: an address that another user has left, or could have, is not
// asked, unless its directory was asked for.
func TestFilesOfOthersDoNotCount(t *testing.T) {
	for what, plant := range map[string]func() error{
		"a file that all can write":      func() error { return os.Chmod("data/"+AccessFile, 0o666) },
		"a directory that all can write": func() error { return os.Chmod("data", 0o777) },
		"a link":                         func() error { return os.Symlink("other.json", "data/"+AccessFile) },
	} {
		working(t, "")
		leave(t, "data", "127.0.0.1:9999")
		if what == "a link" {
			if err := os.Rename("data/"+AccessFile, "data/other.json"); err != nil {
				t.Fatal(err)
			}
		}
		if err := plant(); err != nil {
			t.Fatal(err)
		}
		for _, asked := range []Asked{{}, {File: configFile(t, "data_dir = \"data\"\n")}} {
			c := ReadClient(asked)
			if c.Address != Defaults().Admin.Listen || !strings.Contains(strings.Join(c.Warnings, "\n"), "--data-dir") {
				t.Errorf("%s: %s is asked: %q", what, c.Address, c.Warnings)
			}
		}
		if c := ReadClient(Asked{DataDir: "data"}); c.Address != "127.0.0.1:9999" {
			t.Errorf("%s that was asked for: %s is asked: %q", what, c.Address, c.Warnings)
		}
	}
}

// leave writes into dir what an appliance at an address leaves, without a token.
func leave(t *testing.T, dir, address string) {
	t.Helper()
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, AccessFile), []byte(`{"address":"`+address+`"}`), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestMadeTokenIsOfOneStart: between two starts another user may listen on the address, and
// be sent the token by a command.
func TestMadeTokenIsOfOneStart(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, AccessFile)
	token := started(t, dir, 9100)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	caught, token := token, started(t, dir, 9200)
	if token == caught {
		t.Error("the token of the last start is good for this one")
	}
	cfg := Defaults()
	cfg.DataDir = dir
	reload := func() string {
		tokens, err := cfg.OpenAccess(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9200}, true, func(msg string, args ...any) { t.Log(msg, args) })
		if err != nil || len(tokens) != 1 {
			t.Fatalf("%v, %v", tokens, err)
		}
		return string(tokens[0].Secret)
	}
	if again := reload(); again != token {
		t.Error("a reload makes another token")
	}
	if access, err := ReadAccess(dir); err != nil || access.Address != "127.0.0.1:9200" {
		t.Errorf("%+v, %v", access, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if again := reload(); again == token || len(again) < 64 {
		t.Errorf("after it was removed the token is %q, before it was %q", again, token)
	}
	cfg.Admin.Token = secretOf(t, "a token of the configuration")
	cfg.Admin.Tokens = map[string]AdminToken{"dashboard": {Role: "read", Token: secretOf(t, "another token")}}
	tokens, err := cfg.OpenAccess(&net.TCPAddr{IP: net.IPv6zero, Port: 9300}, false, func(msg string, args ...any) { t.Log(msg, args) })
	if err != nil || len(tokens) != 2 || tokens[1].Role != admin.Read || tokens[1].Name != "dashboard" {
		t.Errorf("%+v, %v", tokens, err)
	}
	if access, err := ReadAccess(dir); err != nil || access != (Access{Address: "127.0.0.1:9300"}) {
		t.Errorf("%+v, %v", access, err)
	}
	cfg.Admin.Tokens["twin"] = AdminToken{Role: "admin", Token: cfg.Admin.Tokens["dashboard"].Token}
	if _, err := cfg.OpenAccess(&net.TCPAddr{IP: net.IPv6zero, Port: 9300}, false, func(msg string, args ...any) { t.Log(msg, args) }); err == nil || strings.Contains(err.Error(), "another token of") {
		t.Errorf("two names of one token: %v", err)
	}
}

// secretOf keeps a secret in a file and returns the reference to it.
func secretOf(t *testing.T, value string) Secret {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(value), 0o600); err != nil {
		t.Fatal(err)
	}
	return Secret("file:" + path)
}
