package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fincart/courier-gateway/ingest/event"
)

// smallDisk mounts a file system in memory of so many bytes, and returns it with what
// fills it. Where that is impossible the test is skipped, but never in CI.
func smallDisk(t *testing.T, size string) (dir string, fill func() (free func())) {
	t.Helper()
	dir = t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("mount tmpfs: %v", err)
		}
		t.Skipf("needs root, to mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir, func() (free func()) {
		path := filepath.Join(dir, "filling")
		f, err := os.Create(path)
		must(t, err)
		defer f.Close()
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
		return func() { must(t, os.Remove(path)) }
	}
}

// TestFullStoreDoesNotStopIntake has the store on a disk of its own, which is full at a
// start, and becomes full again. Nothing is lost, no attempt is spent, health says why.
func TestFullStoreDoesNotStopIntake(t *testing.T) {
	t.Parallel()
	cfg := quick(t)
	disk, fill := smallDisk(t, "4m")
	must(t, os.Symlink(filepath.Join(disk, "store.db"), filepath.Join(cfg.DataDir, "store.db")))
	free := fill()
	a := startApp(t, cfg, nil)
	a.accept(eventBody("first", "shp", "in_transit", time.Now()))
	a.reports("degraded", "no space left on device", "workers hold events that they can't handle since")
	free()
	a.reports("healthy")
	if r := a.ends("first", event.Processed); len(r.Attempts) != 1 {
		t.Errorf("the full disk cost attempts: %+v", r.Attempts)
	}

	free = fill()
	a.accept(eventBody("second", "shp", "delivered", time.Now()))
	a.reports("degraded", "no space left on device", "workers hold events that they can't handle since")
	free()
	a.reports("healthy")
	if r := a.ends("second", event.Processed); len(r.Attempts) != 1 {
		t.Errorf("the full disk cost attempts: %+v", r.Attempts)
	}
}

// TestStartOnAFullDisk starts where nothing can be written, not even the token of this
// start: the commands have the last one's, and there is intake once there is room.
func TestStartOnAFullDisk(t *testing.T) {
	t.Parallel()
	cfg := quick(t)
	disk, fill := smallDisk(t, "48m")
	cfg.DataDir = filepath.Join(disk, "data")
	startApp(t, cfg, nil).halt()
	free := fill()
	a := startApp(t, cfg, nil)
	if code, out := a.cli("status"); code != 0 {
		t.Errorf("status: exit %d: %s", code, out)
	}
	a.reports("degraded", "no space left on device")
	free()
	a.reports("healthy")
	a.accept(eventBody("first", "shp", "in_transit", time.Now()))
	a.ends("first", event.Processed)
}
