//go:build !unix

package jetstream

// diskFree can't be known here; it returns -1, and the disk reserve is not kept.
func diskFree(string) int64 { return -1 }
