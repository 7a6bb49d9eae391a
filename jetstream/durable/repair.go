package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// After a flush has failed, the kernel treats the pages that it could not write
// as clean: reading them shows what was written, the disk doesn't hold it, and
// no later flush writes them again. An event refused for that reason would be
// taken for a duplicate when its courier sends it again, and the answer 2xx
// would promise what the disk doesn't have; and at the next power cut the hole
// would cut off the block behind it.
//
// repairStore therefore writes every file of a stopped store that changed at or
// after since once more, under a new inode: copy, flush, rename, flush the
// directory. Blocks have at most some megabytes, so there is little to copy. It
// fails as long as the disk does.
func repairStore(dir string, since time.Time) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil // nothing is stored yet
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case strings.HasSuffix(path, repairSuffix):
			// Left over by an attempt that failed, if it has not been used again since.
			if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return nil
		case d.IsDir():
			return nil
		case !d.Type().IsRegular():
			return nil
		}
		info, err := d.Info()
		if err != nil || info.ModTime().Before(since) {
			return err
		}
		return rewrite(path, info.Mode().Perm())
	})
	if err != nil {
		return fmt.Errorf("rewrite what the failed flush left: %w", err)
	}
	return syncDirs(dir)
}

const repairSuffix = ".repair"

// rewrite replaces the file at path by a flushed copy of itself.
func rewrite(path string, perm fs.FileMode) error {
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	return replace(path, path+repairSuffix, perm, func(to *os.File) error {
		_, err := io.Copy(to, from)
		return err
	})
}

// syncDirs flushes dir and every directory below it.
func syncDirs(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return syncPath(path, true)
	})
}

// flushTree flushes every file and directory below dir, one by one: good enough
// for a start, too slow for each group of publishes.
func flushTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return syncPath(path, d.IsDir())
	})
}
