package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/ingest/signature"
)

// TestEverySchemeIsSampled keeps the samples whole.
func TestEverySchemeIsSampled(t *testing.T) {
	t.Parallel()
	for _, name := range signature.Names() {
		if !slices.ContainsFunc(signedSamples(), func(s sample) bool { return s.config.Scheme == name }) {
			t.Errorf("no sample signs by %s", name)
		}
	}
}

func TestSignForEverySender(t *testing.T) {
	t.Parallel()
	for _, s := range signedSamples() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			p := newVerifier(t, s.verifying(t))
			c := &courierCLI{url: p.URL, config: &s.config}
			endpoint := p.URL + "/a%20hook/./x?y=1" // the path is signed as it is written
			args := append([]string{"sign", "--url", endpoint, inFile(t, s.body)}, s.arguments(t)...)

			stdout, stderr, code := c.run(t, append(args, "--json")...)
			var shown struct {
				URL, Query, Body string
				BodyBase64       []byte
				Headers          map[string]string
			}
			if err := json.Unmarshal([]byte(stdout), &shown); err != nil || code != 0 {
				t.Fatalf("exit %d, %v: %s%s", code, err, stdout, stderr)
			}
			body := shown.Body + string(shown.BodyBase64)
			if status := ask(t, shown.URL, body, shown.Headers); status != http.StatusAccepted {
				t.Errorf("what --json prints is answered %d: %s", status, stdout)
			}

			stdout, stderr, code = c.run(t, args...)
			if inQuery := strings.Contains(stderr, "query is part"); inQuery != (shown.Query != "") || code != 0 {
				t.Errorf("exit %d, the query is %q: %s", code, shown.Query, stderr)
			}
			if inBody := strings.Contains(stderr, "body is part"); inBody != (body != s.body) {
				t.Errorf("the body is %q: %s", body, stderr)
			}
			if stderr == "" { // the headers are all there is to it
				headers := map[string]string{}
				for line := range strings.Lines(stdout) {
					name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
					headers[name] = value
				}
				if status := ask(t, endpoint, s.body, headers); status != http.StatusAccepted {
					t.Errorf("the headers are answered %d: %s", status, stdout)
				}
			}

			stdout, _, _ = c.run(t, append(args, "--curl")...)
			for _, shell := range shells(t) {
				p.received()
				if out, err := exec.CommandContext(t.Context(), shell, "-c", stdout).CombinedOutput(); err != nil || !strings.Contains(string(out), `"acknowledged":true`) {
					t.Errorf("%s: %v: %s\n%s", shell, err, out, stdout)
				}
				if taken := p.received(); len(taken) == 1 && shown.Query == "" && body == s.body && string(taken[0].body) != s.body {
					t.Errorf("%s: %q arrives as %q", shell, s.body, taken[0].body)
				}
			}
		})
	}
}

func TestSendForEverySender(t *testing.T) {
	t.Parallel()
	for _, s := range signedSamples() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			p := newVerifier(t, s.verifying(t))
			c := &courierCLI{url: p.URL, config: &s.config}
			args := append([]string{"send"}, s.arguments(t)...)
			if stdout, stderr, code := c.run(t, append(args, inFile(t, s.body))...); code != 0 || len(p.received()) != 1 {
				t.Errorf("exit %d: %s%s", code, stdout, stderr)
			}
			if stdout, stderr, code := c.run(t, append(args, "--url", p.URL+"/a%20hook/./x?y=1", inFile(t, s.body))...); code != 0 || !strings.HasPrefix(p.received()[0].RequestURI, "/a%20hook/./x?y=1") {
				t.Errorf("exit %d: %s%s", code, stdout, stderr)
			}
			stdout, stderr, code := c.run(t, append(args, "--count", "3")...)
			if taken := len(p.received()); s.noEvents == "" && (code != 0 || taken != 3) || s.noEvents != "" && (code != 1 || taken > 0 || !strings.Contains(stderr, s.noEvents)) {
				t.Errorf("events are made up: exit %d, %d taken: %s%s", code, taken, stdout, stderr)
			}
			c.mapped = true
			if stdout, stderr, code := c.run(t, args...); code != 2 || len(p.received()) > 0 || !strings.Contains(stderr, "courier demo reads its own payload: give a FILE") {
				t.Errorf("its own payload is made up: exit %d: %s%s", code, stdout, stderr)
			}
			if stdout, stderr, code := c.run(t, append(args, inFile(t, s.body))...); code != 0 || len(p.received()) != 1 {
				t.Errorf("its own payload: exit %d: %s%s", code, stdout, stderr)
			}
		})
	}
}

func TestLoadForEverySender(t *testing.T) {
	t.Parallel()
	for _, s := range signedSamples() {
		if slices.Contains(s.flags, "--header") {
			continue // which a load has none of
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			d := newVerifier(t, s.verifying(t))
			d.canonical = true
			c := &courierCLI{url: d.URL, config: &s.config}
			for _, client := range []string{"lean", "vegeta"} {
				args := append([]string{"bench", "--target", d.URL, "--client", client, "--check", "none", "--events", "100", "--connections", "4",
					"--invalid", "30%", "--p95", "0", "--within", "30s"}, s.arguments(t)...)
				stdout, stderr, code := c.run(t, args...)
				if s.noEvents != "" {
					if code != 1 || !strings.Contains(stderr, s.noEvents) || len(d.received()) > 0 {
						t.Errorf("%s: exit %d: %s", client, code, stderr)
					}
					continue
				}
				if code != 0 || strings.Contains(stdout, "wrong") {
					t.Errorf("%s: exit %d: %s%s", client, code, stdout, stderr)
				}
			}
			d.received()
			c.mapped = true
			for _, command := range []string{"bench --target " + d.URL + " --check none", "bench targets"} {
				if _, stderr, code := c.run(t, strings.Fields(command)...); code != 2 || !strings.Contains(stderr, "reads its own payload") || len(d.received()) > 0 {
					t.Errorf("%s: exit %d: %s", command, code, stderr)
				}
			}
		})
	}
}

func TestTargetsForEverySender(t *testing.T) {
	t.Parallel()
	for _, s := range signedSamples() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			p := newVerifier(t, s.verifying(t))
			stdout, stderr, code := (&courierCLI{url: p.URL, config: &s.config}).run(t, append([]string{"bench", "targets", "--count", "3"}, s.arguments(t)...)...)
			if s.noEvents != "" {
				if code != 1 || stdout != "" || !strings.Contains(stderr, s.noEvents) {
					t.Errorf("exit %d: %s%s", code, stdout, stderr)
				}
				return
			}
			for line := range strings.Lines(stdout) {
				var target struct {
					Method, URL string
					Body        []byte
					Header      http.Header
				}
				if err := json.Unmarshal([]byte(line), &target); err != nil {
					t.Fatal(err)
				}
				req, err := http.NewRequestWithContext(t.Context(), target.Method, target.URL, bytes.NewReader(target.Body))
				if err != nil {
					t.Fatal(err)
				}
				req.Header = target.Header
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
			}
			if taken := len(p.received()); taken != 3 || code != 0 {
				t.Errorf("exit %d, %d of 3 targets are taken: %s", code, taken, stderr)
			}
		})
	}
}

// TestAlgorithmsAreThoseOfTheScheme signs by every algorithm that a scheme knows,
// whether or not it is among the courier's.
func TestAlgorithmsAreThoseOfTheScheme(t *testing.T) {
	t.Parallel()
	for _, s := range signedSamples() {
		known := signature.AlgorithmsOf(s.config.Scheme)
		c := &courierCLI{url: "http://127.0.0.1:1", config: &s.config}
		args := append([]string{"sign", "--json", inFile(t, s.body)}, s.arguments(t)...)
		if listed, _, _ := c.run(t, "__complete", "sign", "--algorithm", ""); strings.Count(listed, "\n") != len(known)+1 {
			t.Errorf("%s: completion lists %q, known are %v", s.name, listed, known)
		}
		if _, stderr, code := c.run(t, append(args, "--algorithm", "md5")...); code != 2 || !strings.Contains(stderr, s.config.Scheme) {
			t.Errorf("%s: md5: exit %d: %s", s.name, code, stderr)
		}
		for _, a := range known {
			stdout, stderr, code := c.run(t, append(args, "--algorithm", string(a))...)
			switch {
			case a == signature.SHA1 && !s.config.AllowSHA1:
				if code != 1 || !strings.Contains(stderr, "allow_sha1") {
					t.Errorf("%s: sha1: exit %d: %s", s.name, code, stderr)
				}
			case s.config.Scheme == "jwt" && (a == signature.RS256) != (s.private != nil): // its keys are others
				if code != 1 {
					t.Errorf("%s: %s: exit %d: %s", s.name, a, code, stdout)
				}
			case code != 0:
				t.Errorf("%s: %s: exit %d: %s", s.name, a, code, stderr)
			default:
				acceptedBy(t, &s, a, stdout)
			}
		}
	}
}

// acceptedBy fails unless a receiver that knows that algorithm alone takes what
// sign --json has printed.
func acceptedBy(t *testing.T, s *sample, a signature.Algorithm, printed string) {
	t.Helper()
	receiver := s.verifying(t)
	receiver.Algorithms, receiver.AllowSHA1 = []signature.Algorithm{a}, a == signature.SHA1
	var r struct {
		URL, Body  string
		BodyBase64 []byte
		Headers    map[string]string
	}
	if err := json.Unmarshal([]byte(printed), &r); err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range r.Headers {
		req.Header.Set(name, value)
	}
	req.RequestURI = req.URL.RequestURI()
	if fault := newVerifier(t, receiver).fault(req, []byte(r.Body+string(r.BodyBase64))); fault != "" {
		t.Errorf("%s: %s: %s: %s", s.name, a, fault, printed)
	}
}

func TestSigningNeedsThePrivateKey(t *testing.T) {
	t.Parallel()
	for _, s := range signedSamples() {
		if s.private == nil || s.config.Scheme == "standard-webhooks" {
			continue
		}
		p := newVerifier(t, s.verifying(t))
		c := &courierCLI{url: p.URL, config: &s.config}
		for _, args := range [][]string{{"sign", inFile(t, s.body)}, {"send", inFile(t, s.body)}, {"send"}, {"bench", "--target", p.URL, "--check", "none"}, {"bench", "targets"}} {
			if stdout, stderr, code := c.run(t, append(args, s.flags...)...); code != 1 || stdout != "" || !strings.Contains(stderr, "--private-key") {
				t.Errorf("%s: %v: exit %d: %s%s", s.name, args, code, stdout, stderr)
			}
		}
	}
	for _, line := range []string{"--private-key /none/such", "--private-key " + inFile(t, "no key")} {
		if _, stderr, code := (&courierCLI{url: "http://x"}).run(t, append([]string{"sign"}, strings.Fields(line)...)...); code != 1 || !strings.Contains(stderr, "key") {
			t.Errorf("%s: exit %d: %s", line, code, stderr)
		}
	}
}

func TestHeadersThatCannotBeGiven(t *testing.T) {
	t.Parallel()
	for _, given := range []string{"x", "x=", "=x", "x y=z", "x:=1", "Content-Length=1", "Transfer-Encoding=chunked", "x=a\nb", "ключ=1"} {
		if stdout, stderr, code := (&courierCLI{url: "http://x"}).run(t, "sign", "--header", given); code != 2 || stdout != "" {
			t.Errorf("%q: exit %d: %s%s", given, code, stdout, stderr)
		}
	}
	if _, stderr, code := (&courierCLI{url: "http://x"}).run(t, "sign", "--header", "X-a=1", "--header", "x-A=2"); code != 2 || !strings.Contains(stderr, "twice") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if _, stderr, code := (&courierCLI{url: "http://x"}).run(t, "sign", "--header", "X-Signature=1"); code != 1 || !strings.Contains(stderr, "part of the signature") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

// TestErrorsHideTheAddress: a token in the query is a secret, which no log or
// terminal should show because nothing answers.
func TestErrorsHideTheAddress(t *testing.T) {
	t.Parallel()
	s := signedSamples()[slices.IndexFunc(signedSamples(), func(s sample) bool { return s.name == "query_token" })]
	p := newVerifier(t, s.verifying(t))
	p.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err = errors.Join(err, conn.Close()); err != nil {
			t.Error(err)
		}
	})
	_, gone, code := (&courierCLI{url: p.URL, config: &s.config}).run(t, "send")
	if code != 1 || !strings.Contains(gone, "EOF") || strings.Contains(gone, "secret") {
		t.Errorf("exit %d: %s", code, gone)
	}
	p.Close()
	_, gone, code = (&courierCLI{url: p.URL, config: &s.config}).run(t, "send")
	if code != 1 || !strings.Contains(gone, "nothing answers at "+p.URL) || strings.Contains(gone, "secret") {
		t.Errorf("exit %d: %s", code, gone)
	}
}
