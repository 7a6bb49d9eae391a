package durable

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
)

// WriteFile replaces the file at path so that either the old or the new content
// is there, whatever happens: a flushed file beside it takes its name, and the
// directory is flushed. The file's mode is 0600.
func WriteFile(path string, content []byte) error {
	if err := replace(path, path+".new", 0o600, func(to *os.File) error {
		_, err := to.Write(content)
		return err
	}); err != nil {
		return err
	}
	return syncPath(filepath.Dir(path), true)
}

// replace writes a flushed file under a temporary name and gives it the name path.
// The directory is not flushed yet.
func replace(path, temporary string, perm os.FileMode, write func(*os.File) error) error {
	to, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, perm)
	if err != nil {
		return err
	}
	err = write(to)
	if err = errors.Join(err, to.Sync(), to.Close()); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

// syncPath flushes one file or directory.
func syncPath(path string, isDir bool) error {
	flag := os.O_RDWR
	if isDir {
		flag = os.O_RDONLY
		if runtime.GOOS == "windows" {
			return nil // directories can't be flushed there
		}
	}
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
