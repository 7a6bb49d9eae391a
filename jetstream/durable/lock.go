package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gofrs/flock"
)

// Lock takes the store directory for this Broker alone: two servers on one
// directory would both acknowledge the same sequence. The kernel drops the lock
// when the process ends, however it ends.
func Lock(dir string) (unlock func() error, err error) {
	path := filepath.Join(dir, "lock")
	if err := errors.Join(OwnedDir(dir), Owned(path)); err != nil {
		return nil, fmt.Errorf("lock store directory %s: %w", dir, err)
	}
	lock := flock.New(path, flock.SetPermissions(0o600))
	got, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock store directory %s: %w", dir, err)
	}
	if !got {
		return nil, fmt.Errorf("store directory %s is in use by process %s: stop that process or choose another directory", dir, lockHolder(path))
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("write process id into %s: %w", path, err)
	}
	return lock.Unlock, nil
}

// lockHolder returns the process id that the holder wrote.
func lockHolder(path string) string {
	b, err := os.ReadFile(path)
	if pid := strings.TrimSpace(string(b)); err == nil && pid != "" {
		return pid
	}
	return "(unknown id)"
}
