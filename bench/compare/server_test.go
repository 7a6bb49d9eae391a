package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fincart/courier-gateway/ingest/signature"
)

const secret = "a secret"

// startServe runs serve until the test ends and returns where it serves.
func startServe(t *testing.T, cfg serveConfig) (url string) {
	t.Helper()
	cfg.listen, cfg.secret = "127.0.0.1:0", secret
	ctx, stop := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := serve(ctx, cfg, in)
		in.CloseWithError(err)
		ended <- err
	}()
	t.Cleanup(func() {
		stop()
		http.DefaultClient.CloseIdleConnections()
		if err := <-ended; err != nil {
			t.Errorf("serve ends with %v", err)
		}
	})
	var ready struct{ URL string }
	if err := json.NewDecoder(out).Decode(&ready); err != nil {
		t.Fatal(err)
	}
	return ready.URL
}

// post signs an event by a secret, posts it and returns the answer.
func post(t *testing.T, url, by, body string) (int, map[string]any) {
	t.Helper()
	scheme, err := signature.New(signature.Config{
		Scheme: "gateway", Secrets: []signature.Secret{{ID: "one", Key: []byte(by)}}, TolerancePast: time.Minute, ToleranceFuture: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v1/events/courier/demo", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range scheme.Sign([]byte(body), time.Now()) {
		req.Header.Set(h.Name, h.Value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, answer
}

func TestAnswersAreTheAppliances(t *testing.T) {
	t.Parallel()
	url := startServe(t, serveConfig{sink: sinkNone})
	status, got := post(t, url, secret, `{"eventId":"evt_1","idempotencyKey":"demo:evt_1"}`)
	if status != 202 || got["acknowledged"] != true || got["eventId"] != "evt_1" || got["idempotencyKey"] != "demo:evt_1" || got["queued"] != true || got["duplicate"] != false {
		t.Errorf("%d %v", status, got)
	}
	if at, err := time.Parse(time.RFC3339, got["receivedAt"].(string)); err != nil || time.Since(at).Abs() > time.Minute {
		t.Errorf("received at %v, %v", got["receivedAt"], err)
	}
	if status, got := post(t, url, "another", `{}`); status != 401 || got["errorCode"] != "INVALID_SIGNATURE" {
		t.Errorf("%d %v", status, got)
	}
}

func FuzzAnswer(f *testing.F) {
	for _, body := range []string{``, `{"eventId":"evt_1","idempotencyKey":"k"}`, `"eventId":`, `"eventId":"`, `{"eventId":1}`, `"idempotencyKey":"\"`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if answer := appendAnswer(nil, body, time.Now()); json.Valid(body) && !bytes.Contains(body, []byte(`\`)) && !json.Valid(answer) {
			t.Errorf("%q is answered %s", body, answer)
		}
	})
}

// startRedis starts a redis-server with the given flush policy. Without the program
// the test is skipped, which CI must not do.
func startRedis(t *testing.T, appendfsync string) (address string, client *redis.Client, kill func()) {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("redis-server is not installed, and CI must not go without")
		}
		t.Skip("redis-server is not installed; install it to run this test")
	}
	var port bytes.Buffer
	if err := printPort(&port); err != nil {
		t.Fatal(err)
	}
	address = net.JoinHostPort("127.0.0.1", strings.TrimSpace(port.String()))
	cmd := exec.Command("redis-server", "--port", strings.TrimSpace(port.String()), "--bind", "127.0.0.1", "--save", "",
		"--appendonly", "yes", "--appendfsync", appendfsync, "--dir", t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() { cmd.Process.Kill(); cmd.Wait() })
	t.Cleanup(kill)
	client = redis.NewClient(&redis.Options{Addr: address, MaxRetries: -1})
	t.Cleanup(func() { client.Close() })
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for client.Ping(t.Context()).Err() != nil {
		select {
		case <-deadline:
			t.Fatal("redis-server does not answer")
		case <-tick.C:
		}
	}
	return address, client, kill
}

func TestWhatIsAcknowledgedIsInRedis(t *testing.T) {
	t.Parallel()
	for _, sink := range []string{sinkXADD, sinkPipelined} {
		t.Run(sink, func(t *testing.T) {
			t.Parallel()
			address, client, kill := startRedis(t, "always")
			url := startServe(t, serveConfig{sink: sink, redis: address, pool: 8})
			const events = 200
			want := make([]string, events)
			var posting sync.WaitGroup
			for i := range want {
				want[i] = fmt.Sprintf(`{"eventId":"evt_%03d"}`, i)
				posting.Go(func() {
					if status, answer := post(t, url, secret, want[i]); status != 202 {
						t.Errorf("%d %v", status, answer)
					}
				})
			}
			posting.Wait()
			if status, _ := post(t, url, "another", `{}`); status != 401 {
				t.Errorf("an unsigned event is answered %d", status)
			}
			entries, err := client.XRange(t.Context(), stream, "-", "+").Result()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range entries {
				got = append(got, e.Values["body"].(string))
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("Redis has %d events, want the %d that were acknowledged", len(got), events)
			}
			kill()
			if status, answer := post(t, url, secret, `{}`); status != 503 {
				t.Errorf("without Redis the answer is %d %v", status, answer)
			}
		})
	}
}

func TestRedisHasToFlushEachWrite(t *testing.T) {
	t.Parallel()
	address, _, _ := startRedis(t, "everysec")
	for _, sink := range []string{sinkXADD, sinkPipelined} {
		err := serve(t.Context(), serveConfig{listen: "127.0.0.1:0", secret: secret, sink: sink, redis: address, pool: 1}, io.Discard)
		if err == nil || !strings.Contains(err.Error(), "appendfsync") {
			t.Errorf("%s: %v", sink, err)
		}
	}
}

func TestUsage(t *testing.T) {
	t.Setenv(secretVariable, secret)
	for line, want := range map[string]int{
		"": exitUsage, "x": exitUsage, "serve --nope": exitUsage, "serve --sink x": exitUsage, "serve --sink redis": exitUsage,
		"serve --sink redis --redis h:1 --pool 0": exitUsage, "serve x": exitUsage, "table": exitUsage, "port x": exitUsage,
		"table /none/such": exitFailed, "serve --sink redis --redis 127.0.0.1:1": exitFailed, "port": 0,
	} {
		var out, errOut bytes.Buffer
		if code := run(t.Context(), strings.Fields(line), &out, &errOut); code != want || (code == 0) == (errOut.Len() > 0) {
			t.Errorf("%s: exit %d: %s%s", line, code, &out, &errOut)
		}
	}
	t.Setenv(secretVariable, "")
	if code := run(t.Context(), []string{"serve"}, io.Discard, io.Discard); code != exitUsage {
		t.Errorf("without a secret: exit %d", code)
	}
}
