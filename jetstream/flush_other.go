//go:build !linux

package jetstream

import "errors"

// flushFS returns a function that says that no call flushes a whole file system
// and waits for it.
func flushFS(string) (flush, closeFD func() error, err error) {
	return func() error { return errors.ErrUnsupported }, func() error { return nil }, nil
}

// inMemory reports whether nothing in dir survives a power cut, as far as is known.
func inMemory(string) bool { return false }
