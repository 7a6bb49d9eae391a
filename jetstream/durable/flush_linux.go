package durable

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// flushFS returns a function that makes all that was written to dir's file
// system durable: files, metadata and directory entries. It keeps one descriptor
// open, because Linux (5.8 and later) reports an error of writing back once to
// each descriptor that was open when it happened. The function's error is
// [errors.ErrUnsupported] where there is no such call.
func flushFS(dir string) (flush, closeFD func() error, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("open store directory for flushing: %w", err)
	}
	flush = func() error {
		if err := unix.Syncfs(int(f.Fd())); err != nil {
			return fmt.Errorf("syncfs %s: %w", dir, err)
		}
		return nil
	}
	return flush, f.Close, nil
}

// InMemory reports whether nothing in dir survives a power cut, as far as is known.
func InMemory(dir string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(dir, &fs) == nil && (fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.RAMFS_MAGIC)
}
