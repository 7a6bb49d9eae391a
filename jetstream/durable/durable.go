// Package durable is what makes the files of the queue survive a power cut: the
// flush of a whole file system, the repair after a flush that failed, the
// replacement of a file as a whole, and the lock that keeps a second process out.
//
//	written ─▶ Flusher.Flush ─▶ durable
//	              │ error: every flush fails from now on, a record of it is on disk
//	              ▼
//	           Flusher.Repair: copy, flush and rename each file that changed since
//	           the last good flush ─▶ flush ─▶ durable
//
// It knows files and directories only; the packages of the queue call it.
package durable
