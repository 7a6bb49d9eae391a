//go:build !linux

package jetstream

import (
	"io/fs"
	"path/filepath"
)

// groupFlush says that there is no call that flushes a whole file system and
// waits for it.
const groupFlush = false

// flushFS returns a function that flushes every file and directory below dir,
// one by one: good enough for a start, too slow for each group.
func flushFS(dir string) (flush, closeFD func() error, err error) {
	flush = func() error {
		return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return syncPath(path, d.IsDir())
		})
	}
	return flush, func() error { return nil }, nil
}
