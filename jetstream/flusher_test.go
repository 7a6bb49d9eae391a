//go:build linux

package jetstream

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/fincart/courier-gateway/ingest/event"
)

var errIO = errors.New("input/output error")

// fakeDisk is used instead of the flush of a disk.
type fakeDisk struct {
	mu      sync.Mutex
	turn    sync.Cond
	flushes int              // begun
	held    bool             // flushes wait
	fails   func(n int) bool // whether the nth flush fails; nil for never
}

func newFakeDisk() *fakeDisk {
	d := &fakeDisk{}
	d.turn.L = &d.mu
	return d
}

func (d *fakeDisk) flush() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.flushes++
	n := d.flushes
	for d.held {
		d.turn.Wait()
	}
	if d.fails != nil && d.fails(n) {
		return errIO
	}
	return nil
}

// set begins to count again, on a disk that is held or not, and fails or not.
func (d *fakeDisk) set(held bool, fails func(n int) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.flushes, d.held, d.fails = 0, held, fails
}

// release lets the flushes that wait go on.
func (d *fakeDisk) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held = false
	d.turn.Broadcast()
}

func (d *fakeDisk) begun() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.flushes
}

func always(int) bool { return true }

// TestFailedFlushRefusesTheWholeGroup lets a group gather behind a flush, and its
// own flush fail.
func TestFailedFlushRefusesTheWholeGroup(t *testing.T) {
	t.Parallel()
	disk, deps := newFakeDisk(), testDeps()
	deps.flush = disk.flush
	b := openWith(t, testConfig(t), deps)
	disk.set(true, func(n int) bool { return n > 1 })
	var wg sync.WaitGroup
	var stored, refused atomic.Int32
	call := func(key string) {
		wg.Go(func() {
			switch _, err := b.Publish(t.Context(), envelope(key)); {
			case err == nil:
				stored.Add(1)
			case event.CodeOf(err) == event.IntakeUnavailable && strings.Contains(err.Error(), errIO.Error()):
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	call("first")
	eventually(t, "the first one's flush to begin", func() bool { return disk.begun() == 1 })
	const callers = 50
	for i := range callers {
		call(strconv.Itoa(i))
	}
	eventually(t, "a group to gather", func() bool {
		return b.publisher.group.Waiting() == callers
	})
	disk.release()
	wg.Wait()
	if stored.Load() != 1 || refused.Load() != callers {
		t.Errorf("%d stored, %d refused, want 1 and all %d of the group whose flush failed", stored.Load(), refused.Load(), callers)
	}
	disk.set(false, nil)
	eventually(t, "recovery", b.Healthy)
}

// TestFailedFlushIsRememberedByTheStore ends the process between a failed flush
// and the repair. What could not be written is read from memory all the same.
func TestFailedFlushIsRememberedByTheStore(t *testing.T) {
	t.Parallel()
	disk, cfg := newFakeDisk(), testConfig(t)
	start := func() (*Broker, error) {
		deps := testDeps()
		deps.flush = disk.flush
		return openOn(t.Context(), cfg, deps)
	}
	restart := func(b *Broker) *Broker {
		closeBroker(t, b)
		b, err := start()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b, err := start()
	if err != nil {
		t.Fatal(err)
	}
	publish(t, b, envelope("before"))
	written := blockInodes(t, cfg.StoreDir)
	disk.set(false, always)
	if _, err := b.Publish(t.Context(), envelope("refused")); err == nil {
		t.Fatal("accepted although its flush failed")
	}
	if err := stop(t.Context(), b); err == nil || !strings.Contains(err.Error(), errIO.Error()) {
		t.Errorf("closing a store that is not durable: %v", err)
	}
	if _, err := start(); err == nil || !strings.Contains(err.Error(), cfg.StoreDir) {
		t.Errorf("starting on a disk that still fails: %v", err)
	}

	disk.set(false, nil)
	if b, err = start(); err != nil {
		t.Fatal(err)
	}
	rewritten(t, cfg.StoreDir, written)
	if r := publish(t, b, envelope("refused")); !r.Duplicate {
		t.Errorf("the refused event sent again: %+v", r)
	}
	repaired := blockInodes(t, cfg.StoreDir)
	b = restart(b)
	defer closeBroker(t, b)
	if !maps.Equal(blockInodes(t, cfg.StoreDir), repaired) {
		t.Error("rewritten although all was well")
	}
}

// TestFailedFlushDuringARestart lets a flush fail that a restart makes for another
// reason than a failed flush.
func TestFailedFlushDuringARestart(t *testing.T) {
	t.Parallel()
	for name, failing := range map[string]int{"the stopped store's": 1, "the started store's": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk, deps, cfg := newFakeDisk(), testDeps(), testConfig(t)
			deps.flush = disk.flush
			b := openWith(t, cfg, deps)
			publish(t, b, envelope("before"))
			written := blockInodes(t, cfg.StoreDir)
			disk.set(false, func(n int) bool { return n == failing })
			if err := b.supervisor.restart(t.Context()); !errors.Is(err, errIO) {
				t.Errorf("the restart says %v", err)
			}
			eventually(t, "recovery", func() bool { return count(t, deps, "restarts_total") == 1 && b.Healthy() })
			rewritten(t, cfg.StoreDir, written)
		})
	}
}

// rewritten fails the test for each block that is still the file it was.
func rewritten(t *testing.T, storeDir string, before map[string]inode) {
	t.Helper()
	for path, inode := range blockInodes(t, storeDir) {
		if inode == before[path] {
			t.Errorf("%s was not rewritten", path)
		}
	}
}

func TestWithoutGroupFlushEachMessageIsFlushed(t *testing.T) {
	t.Parallel()
	deps := testDeps()
	deps.flush = func() error { return syscall.ENOSYS }
	b := openWith(t, testConfig(t), deps)
	publish(t, b, envelope("k"))
	if s, err := b.State(t.Context()); err != nil || !strings.HasPrefix(s.Sync, "always (") || b.publisher.group != nil || b.cfg.Sync != SyncAlways {
		t.Errorf("sync is %q, %v", s.Sync, err)
	}
}

func TestStoreInMemoryIsReported(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.StoreDir = filepath.Join(mountTmpfs(t, "24m"), "store")
	if s, err := open(t, cfg).State(t.Context()); err != nil || s.Sync != "group (in memory)" {
		t.Errorf("sync is %q, %v", s.Sync, err)
	}
}

// TestUnflushedEndIsNoLoss loses what the broker had acknowledged and no flush had
// made durable: its sender was not told that it is stored.
func TestUnflushedEndIsNoLoss(t *testing.T) {
	t.Parallel()
	disk, deps, cfg := newFakeDisk(), testDeps(), testConfig(t)
	deps.flush = disk.flush
	b := openWith(t, cfg, deps)
	publishN(t, b, 10)
	before := t.TempDir()
	if err := os.CopyFS(before, os.DirFS(cfg.StoreDir)); err != nil {
		t.Fatal(err)
	}
	disk.set(true, nil)
	ctx, giveUp := context.WithCancel(t.Context())
	outcome := make(chan error, 1)
	go func() {
		_, err := b.Publish(ctx, envelope("unflushed"))
		outcome <- err
	}()
	eventually(t, "the flush to begin", func() bool { return disk.begun() > 0 })
	if got := b.record.Position().Highest; got != 10 {
		t.Errorf("while the flush is under way the position is %d, want 10", got)
	}
	state := t.TempDir()
	if err := os.CopyFS(state, os.DirFS(cfg.StateDir)); err != nil {
		t.Fatal(err)
	}
	giveUp()
	<-outcome
	disk.release()
	disk.set(false, nil)
	closeBroker(t, b)

	cfg.StoreDir, cfg.StateDir = before, state // as after a power cut
	b = open(t, cfg)
	if got := publish(t, b, envelope("after")).Sequence; got != 11 {
		t.Errorf("the stream goes on at %d, want 11", got)
	}
}
