//go:build !unix

package durable

// FreeBytes can't be known here; it returns -1, and the disk reserve is not kept.
func FreeBytes(string) int64 { return -1 }
