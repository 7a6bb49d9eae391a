//go:build unix

package durable

import "golang.org/x/sys/unix"

// FreeBytes returns the bytes that this process may still write to dir's file
// system, -1 when that can't be known.
func FreeBytes(dir string) int64 {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return -1
	}
	return int64(s.Bavail) * int64(s.Bsize) //nolint:unconvert // its type differs between systems
}
