package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/appliance/app"
	"github.com/fincart/courier-gateway/appliance/config"
)

// TestPortInUseIsFoundFirst: nothing is made before it is known that the addresses are free.
func TestPortInUseIsFoundFirst(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for key, set := range map[string]func(*config.Config){
		"ingest.listen": func(c *config.Config) { c.Ingest.Listen = taken.Addr().String() },
		"admin.listen":  func(c *config.Config) { c.Admin.Listen = taken.Addr().String() },
	} {
		cfg := quick(t)
		cfg.DataDir = filepath.Join(cfg.DataDir, "data")
		set(&cfg)
		_, err := app.Start(t.Context(), cfg, app.Deps{Log: slog.New(slog.DiscardHandler)})
		if err == nil || !strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), "another process listens there") {
			t.Errorf("%s: %v", key, err)
		}
		if _, err := os.Stat(cfg.DataDir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the data directory was made: %v", key, err)
		}
	}
}

// TestStartWaitsForTheBroker: meanwhile the operators' listener says what for.
func TestStartWaitsForTheBroker(t *testing.T) {
	nats := startNATS(t)
	nats.kill()
	cfg := quick(t)
	cfg.JetStream.Mode, cfg.JetStream.URLs = config.ModeExternal, []string{"nats://" + nats.addr}
	cfg.JetStream.StampKeys = []config.Secret{secretFile(t, "a stamp key of enough bytes")}
	port := freePort(t)
	cfg.Admin.Listen = (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}).String()
	started := make(chan error, 1)
	began := time.Now()
	var a *app.App
	go func() {
		var err error
		a, err = app.Start(t.Context(), cfg, app.Deps{Log: slog.New(slog.DiscardHandler)})
		started <- err
	}()
	ask := func(path string) (int, string) {
		answer, err := client.Get("http://" + cfg.Admin.Listen + path)
		if err != nil {
			return 0, err.Error()
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(body)
	}
	for _, path := range []string{"/readyz", "/health", "/api/v1/status"} {
		eventually(t, path+" to say what is waited for", func() bool {
			status, body := ask(path)
			return status == http.StatusServiceUnavailable && strings.Contains(body, "is it running, and is jetstream.urls right?")
		})
	}
	if took := time.Since(began); took > 4*time.Second { // two, and as much for a busy machine
		t.Errorf("it was said after %v", took)
	}
	if status, body := ask("/livez"); status != http.StatusOK {
		t.Errorf("/livez is %d %s", status, body)
	}
	nats.start()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), cfg.ShutdownTimeout)
		defer cancel()
		if err := a.Stop(ctx); err != nil {
			t.Error(err)
		}
	}()
	if status, body := ask("/readyz"); status != http.StatusOK {
		t.Errorf("/readyz of one that has started is %d %s", status, body)
	}
}
