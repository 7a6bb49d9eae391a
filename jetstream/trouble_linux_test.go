package jetstream

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// mountTmpfs mounts a file system of the given size. Where that is impossible
// the test is skipped, but never in CI.
func mountTmpfs(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("mount tmpfs: %v", err)
		}
		t.Skipf("needs the right to mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// inode names a file: its number, which may be used again, and its birth.
type inode struct {
	number uint64
	born   unix.StatxTimestamp
}

// blockInodes returns the inode of each message block of the events' stream.
func blockInodes(t *testing.T, storeDir string) map[string]inode {
	t.Helper()
	inodes := map[string]inode{}
	err := filepath.WalkDir(storeDir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".blk") && strings.Contains(path, eventsStream) {
			var s unix.Statx_t
			err = unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_INO|unix.STATX_BTIME, &s)
			inodes[path] = inode{s.Ino, s.Btime}
		}
		return err
	})
	if err != nil || len(inodes) == 0 {
		t.Fatalf("%d blocks found, %v", len(inodes), err)
	}
	return inodes
}
