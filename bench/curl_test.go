package bench

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/signature"
)

// oddBodies are bodies that a careless quoting breaks.
var oddBodies = []string{
	`{"plain":true}`, ``, `it's`, `'`, `''`, `'"'"'`, `"$HOME" $(id) ` + "`id`" + ` \$x \\ \n !! !$ ${x}`, `@/etc/hostname`, `-d @x`, `%s %d %b %%`, `~ * ? [a] {a,b} # ; & | > <`,
	"two\nlines\n", "tab\there", "\x1b[31m", "nul\x00byte\x00", "\xff\xfe invalid", `\0101 \x41 \c stop`, "ключ 日本 🙂", "trailing space ", "\r\n", "\u202e\u009b", "=$x", "!",
	strings.Repeat("long'", maxArgument/4),
}

// shells returns the shells that are installed, of those that the line is for.
func shells(t *testing.T) (paths []string) {
	t.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("curl is not installed, and CI must not go without")
		}
		t.Skip("curl is not installed")
	}
	for _, name := range []string{"/bin/sh", "bash", "zsh"} {
		if path, err := exec.LookPath(name); err == nil {
			paths = append(paths, path)
		}
	}
	return paths
}

func TestCurlLineInRealShells(t *testing.T) {
	t.Parallel()
	requests := make(chan *http.Request, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		requests <- r
		io.WriteString(w, "taken")
	}))
	t.Cleanup(server.Close)
	signer := newSigner(t, server.URL+"/v1/events/courier/demo", signature.Config{
		Scheme: "gateway", Secrets: []signature.Secret{{ID: "one", Key: []byte("sécret")}}, TolerancePast: time.Minute, ToleranceFuture: time.Minute,
	})
	for _, shell := range shells(t) {
		for _, body := range oddBodies {
			request, err := signer.Sign([]byte(body), time.Now())
			if err != nil {
				t.Fatal(err)
			}
			line := CurlLine(request)
			if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("%.40q: the line has a control character: %.200q", body, line)
			}
			// From standard input, as a paste comes.
			cmd := exec.CommandContext(t.Context(), shell)
			cmd.Stdin = strings.NewReader(line + "\n")
			out, err := cmd.CombinedOutput()
			if err != nil || string(out) != "taken" {
				t.Fatalf("%s: %.40q: %v: %s\n%.300s", shell, body, err, out, line)
			}
			r := <-requests
			if got, err := io.ReadAll(r.Body); err != nil || string(got) != body || r.URL.Path != "/v1/events/courier/demo" {
				t.Errorf("%s: %.40q arrives at %s as %.40q, %v", shell, body, r.URL.Path, got, err)
			}
			for _, h := range request.Headers {
				if got := r.Header.Get(h.Name); got != h.Value {
					t.Errorf("%s: header %s arrives as %q, want %q", shell, h.Name, got, h.Value)
				}
			}
		}
	}
}

// newSigner returns a signer for an endpoint by these settings.
func newSigner(t testing.TB, url string, c signature.Config) *Signer {
	t.Helper()
	scheme, err := NewScheme(c)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSigner(SignerConfig{URL: url, Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCurlLineOfAnUnusualAddress(t *testing.T) {
	t.Parallel()
	line := CurlLine(Request{URL: "http://[::1]:8080/a b/.", Headers: []signature.Header{{Name: "x", Value: "it's"}}, Body: []byte("b")})
	if want := `curl -sS --globoff --path-as-is 'http://[::1]:8080/a b/.' -H 'x: it'\''s' --data-raw 'b'`; line != want {
		t.Errorf("got  %s\nwant %s", line, want)
	}
}

func TestShellWord(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]string{"10%": "10%", "http://a:1/b": "http://a:1/b", "": "''", "a b": "'a b'", "a'b": `'a'\''b'`} {
		if got := ShellWord(word); got != want {
			t.Errorf("%q: %s, want %s", word, got, want)
		}
	}
}

func FuzzCurlLine(f *testing.F) {
	for _, body := range oddBodies[:len(oddBodies)-1] {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		const script = "curl() { while [ $# -gt 1 ]; do shift; done; if [ \"$1\" = @- ]; then cat; else printf %s \"$1\"; fi; }\n"
		out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", script+CurlLine(Request{URL: "http://x", Body: body})).Output()
		if err != nil || string(out) != string(body) {
			t.Fatalf("%q arrives as %q: %v", body, out, err)
		}
	})
}
