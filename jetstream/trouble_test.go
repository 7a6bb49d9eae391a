//go:build linux

package jetstream

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

func TestFailedFlushRefusesTheGroupAndRepairs(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	deps := testDeps()
	deps.flush = func() error {
		if broken.Load() {
			return errors.New("input/output error")
		}
		return nil
	}
	cfg := testConfig(t)
	b := openWith(t, cfg, deps)
	publish(t, b, envelope("before"))
	inodes := blockInodes(t, cfg.StoreDir)

	broken.Store(true)
	_, err := b.Publish(t.Context(), envelope("refused"))
	if event.CodeOf(err) != event.IntakeUnavailable || !strings.Contains(err.Error(), "input/output error") {
		t.Errorf("during a failed flush: %v", err)
	}
	start := time.Now()
	_, err = b.Publish(t.Context(), envelope("at once"))
	if event.CodeOf(err) != event.IntakeUnavailable || time.Since(start) > cfg.PublishTimeout/2 {
		t.Errorf("after a failed flush: %v after %v", err, time.Since(start))
	}
	if s, _ := b.State(t.Context()); s.Healthy || s.Problem == "" || b.Healthy() {
		t.Errorf("state after a failed flush: %+v", s)
	}
	if n := count(t, deps, "flush_errors_total"); n < 1 {
		t.Error("the failure was not reported")
	}

	broken.Store(false)
	eventually(t, "recovery", b.Healthy)
	// The refused event is stored all the same, on blocks that were rewritten.
	if r := publish(t, b, envelope("refused")); r.Sequence != 2 || !r.Duplicate {
		t.Errorf("the refused event sent again: %+v", r)
	}
	rewritten(t, cfg.StoreDir, inodes)
	if n := count(t, deps, "restarts_total"); n != 1 {
		t.Errorf("%v restarts, want 1", n)
	}
	if got := len(pullN(t, b, 2)); got != 2 {
		t.Errorf("pulled %d after the restart", got)
	}
}

// TestStateSaysTheCause while the embedded broker can't be restarted, and not only that
// no process can reach it.
func TestStateSaysTheCause(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	deps := testDeps()
	deps.flush = func() error {
		if broken.Load() {
			return &os.PathError{Op: "sync", Path: "store", Err: syscall.EROFS}
		}
		return nil
	}
	b := openWith(t, testConfig(t), deps)
	publish(t, b, envelope("before"))
	broken.Store(true)
	if _, err := b.Publish(t.Context(), envelope("refused")); err == nil {
		t.Fatal("published without a flush")
	}
	var err error
	eventually(t, "the broker can't be asked", func() bool {
		_, err = b.State(t.Context())
		return err != nil
	})
	if event.CodeOf(err) != event.DependencyDown || !strings.Contains(err.Error(), "read-only file system") || strings.Contains(err.Error(), "outbound buffer") {
		t.Errorf("the state's error is: %v", err)
	}
	broken.Store(false)
	eventually(t, "recovery", func() bool {
		s, err := b.State(t.Context())
		return err == nil && s.Healthy
	})
}

func TestDiskReserve(t *testing.T) {
	t.Parallel()
	dir := mountTmpfs(t, "16m")
	cfg := testConfig(t)
	cfg.StoreDir, cfg.DiskReserveBytes = filepath.Join(dir, "store"), 6<<20
	b := open(t, cfg)
	publish(t, b, envelope("before"))
	ballast := filepath.Join(dir, "ballast")
	writeFile(t, ballast, 12<<20)
	eventually(t, "intake shuts", func() bool { return !b.Healthy() })
	if _, err := b.Publish(t.Context(), envelope("refused")); event.CodeOf(err) != event.IntakeUnavailable || !strings.Contains(err.Error(), "free") {
		t.Errorf("below the reserve: %v", err)
	}
	settle(t, b, event.Verdict{Action: event.Ack}, pullN(t, b, 1)...) // processing goes on
	floorReaches(t, b, 1)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	eventually(t, "intake opens", b.Healthy)
	publish(t, b, envelope("after"))
}

// TestFullDiskIsRecoveredFrom fills the disk for real: the broker's write fails,
// after which it never answers again until it is restarted.
func TestFullDiskIsRecoveredFrom(t *testing.T) {
	t.Parallel()
	dir := mountTmpfs(t, "24m")
	cfg := testConfig(t)
	cfg.StoreDir, cfg.PublishTimeout = filepath.Join(dir, "store"), 2*time.Second
	cfg.MaxBytes = 1 << 30
	deps := testDeps()
	b := openWith(t, cfg, deps)
	ballast := filepath.Join(dir, "ballast")
	writeFile(t, ballast, 12<<20)

	stored := map[string]uint64{}
	var err error
	for i := 0; err == nil; i++ {
		e := envelope(strconv.Itoa(i))
		e.Body = make([]byte, 64<<10)
		var r event.Receipt
		if r, err = b.Publish(t.Context(), e); err == nil {
			stored[e.Key] = r.Sequence
		}
	}
	if event.CodeOf(err) != event.IntakeUnavailable {
		t.Fatalf("a full disk answers %v", err)
	}
	eventually(t, "intake is shut", func() bool { return !b.Healthy() })
	start := time.Now()
	if _, err := b.Publish(t.Context(), envelope("refused")); event.CodeOf(err) != event.IntakeUnavailable || time.Since(start) > time.Second {
		t.Errorf("while the disk is full: %v after %v", err, time.Since(start))
	}
	for range 3 { // processing goes on meanwhile
		settle(t, b, event.Verdict{Action: event.Ack}, pullN(t, b, 1)...)
	}

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	eventually(t, "recovery without a restart by hand", b.Healthy)
	publish(t, b, envelope("after"))
	for key, seq := range stored {
		if d, err := b.Load(t.Context(), seq); err != nil || d.Key != key {
			t.Fatalf("%s was acknowledged, sequence %d holds %q, %v", key, seq, d.Key, err)
		}
	}
	if n := count(t, deps, "restarts_total"); n < 1 {
		t.Error("the server was not restarted")
	}
}

func writeFile(t *testing.T, path string, size int) {
	t.Helper()
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
}
