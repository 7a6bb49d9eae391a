//go:build !linux

package durable

import "errors"

// flushFS returns a function that fails, because no call flushes a whole file system
// and waits for it.
func flushFS(string) (flush, closeFD func() error, err error) {
	return func() error { return errors.ErrUnsupported }, func() error { return nil }, nil
}

// InMemory reports whether nothing in dir survives a power cut, as far as is known.
func InMemory(string) bool { return false }
