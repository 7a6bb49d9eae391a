package sqlite

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/persistence/storetest"
)

// needsMount skips the test where a file system can't be mounted, but never in CI.
func needsMount(t *testing.T, err error) {
	t.Helper()
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatal(err)
	default:
		t.Skipf("needs root, to mount a file system: %v", err)
	}
}

func mountTmpfs(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	needsMount(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size))
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// mountDisk mounts an ext4 file system that becomes read-only at its first error.
func mountDisk(t *testing.T) (dir, device string) {
	t.Helper()
	dir = t.TempDir()
	image := filepath.Join(t.TempDir(), "disk")
	run := func(argv ...string) error {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return errors.New(strings.Join(argv, " ") + ": " + err.Error() + ": " + string(out))
		}
		return nil
	}
	needsMount(t, errors.Join(
		run("truncate", "-s", "32M", image), run("mkfs.ext4", "-q", "-m", "0", image),
		run("mount", "-o", "loop,errors=remount-ro", image, dir)))
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	out := storetest.Must(exec.Command("findmnt", "--noheadings", "--output", "SOURCE", dir).Output())
	return dir, filepath.Base(strings.TrimSpace(string(out)))
}

// fill takes all the space that is left in dir, and returns what gives it back.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "filling")
	f := storetest.Must(os.Create(path))
	defer f.Close()
	for block := make([]byte, 64<<10); len(block) > 0; {
		switch n, err := f.Write(block); {
		case errors.Is(err, unix.ENOSPC):
			block = block[:n/2]
		case err != nil:
			t.Fatal(err)
		}
	}
	storetest.Must(0, f.Sync())
	return func() { storetest.Must(0, os.Remove(path)) }
}

// wantDown fails the test unless err is the store's and names its cause.
func wantDown(t *testing.T, what string, err error, cause string) {
	t.Helper()
	if event.CodeOf(err) != event.DependencyDown || !strings.Contains(err.Error(), cause) {
		t.Errorf("%s: %v, want %s with %q", what, err, event.DependencyDown, cause)
	}
}

// TestFullDisk fills a real disk under an open store, and before one is opened.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	const cause = "no space left on device"
	for _, kind := range []string{"tmpfs", "ext4"} {
		mount := func(t *testing.T) string {
			if kind == "tmpfs" {
				return mountTmpfs(t, "8m")
			}
			dir, _ := mountDisk(t)
			return dir
		}
		change := []event.Change{storetest.Records(storetest.FullRecord("demo", "during")), storetest.DeadLetters(storetest.FullLetter("l", 1))}
		t.Run("open on "+kind, func(t *testing.T) {
			t.Parallel()
			dir := mount(t)
			c := testConfig(t)
			c.Path = filepath.Join(dir, "store.db")
			s := openTest(t, c)
			storetest.CommitAll(t, s.Ledger, storetest.Records(storetest.FullRecord("demo", "before")))
			free := fill(t, dir)
			var err error
			for i := 0; err == nil; i++ { // until the log is at its end
				_, err = s.Ledger.Commit(t.Context(), []event.Change{storetest.Records(event.Record{
					Identity: event.Identity{Courier: "demo", Key: fmt.Sprint(i)}, Status: event.Processed, Message: strings.Repeat("x", 4000),
				})})
			}
			wantDown(t, "commit", err, cause)
			wantDown(t, "ping", s.Ping(t.Context()), cause)
			if _, ok := storetest.GetRecord(t, s.Ledger, event.Identity{Courier: "demo", Key: "before"}); !ok {
				t.Error("a committed record is gone")
			}
			free()
			storetest.Eventually(t, "space to be noticed", func() bool { return s.Ping(t.Context()) == nil })
			storetest.CommitAll(t, s.Ledger, change...)
		})
		t.Run("opened on "+kind, func(t *testing.T) {
			t.Parallel()
			dir := mount(t)
			c := testConfig(t)
			c.Path, c.Reopen = filepath.Join(dir, "store.db"), true
			free := fill(t, dir)
			s := openTest(t, c)
			wantDown(t, "ping", s.Ping(t.Context()), cause)
			_, err := s.Ledger.Commit(t.Context(), change)
			wantDown(t, "commit", err, cause)
			free()
			storetest.Eventually(t, "the store to be open", func() bool { return s.Ping(t.Context()) == nil })
			storetest.CommitAll(t, s.Ledger, change...)
		})
	}
}

// TestReadOnlyDisk has a real disk become read-only under an open store, as the
// kernel does it at an error, and a store opened on it.
func TestReadOnlyDisk(t *testing.T) {
	t.Parallel()
	const cause = "read-only file system"
	dir, device := mountDisk(t)
	c := testConfig(t)
	c.Path, c.Reopen = filepath.Join(dir, "store.db"), true
	s := openTest(t, c)
	storetest.CommitAll(t, s.Ledger, storetest.Records(storetest.FullRecord("demo", "before")))
	needsMount(t, os.WriteFile("/sys/fs/ext4/"+device+"/trigger_fs_error", []byte("1"), 0))
	_, err := s.Ledger.Commit(t.Context(), []event.Change{storetest.Records(storetest.FullRecord("demo", "during"))})
	wantDown(t, "commit", err, cause)
	wantDown(t, "ping", s.Ping(t.Context()), cause)
	if _, ok := storetest.GetRecord(t, s.Ledger, event.Identity{Courier: "demo", Key: "before"}); !ok {
		t.Error("a committed record can't be read any more")
	}
	if problems := s.Problems(); len(problems) > 0 {
		t.Errorf("the file is held to be damaged: %q", problems)
	}
	other := c
	other.Path = filepath.Join(dir, "other.db")
	o := openTest(t, other)
	wantDown(t, "ping of a store opened there", o.Ping(t.Context()), cause)
}
