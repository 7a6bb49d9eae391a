package sqlite

import (
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// The write-ahead log collects pages, and a checkpoint writes them to the file and
// flushes it. Pages of random keys are all over the file, more so the larger it is, and
// any other flush waits for them: the queue's flush, which each answer to a courier waits
// for, flushes the whole file system. So while the store has idle time the log is short,
// and no checkpoint takes long. While a backlog drains the log is long, and a page that
// many commits change is written once. Decision 9 has figures.
const (
	shortLog = 250   // pages, 1 MiB
	longLog  = 8_000 // 32 MiB
)

// logLength chooses between the two by how busy the main connection is. Only the holder
// of the connection may call it.
type logLength struct {
	pages    int
	since    time.Time     // when busy was zero
	busy     time.Duration // for how long the connection was in use
	acquired time.Time     // when it was acquired
}

const (
	// busySpan is over how long the use of the connection is measured.
	busySpan = 2 * time.Second
	// muchBusy is the share of it above which the log is long. A backlog that drains
	// takes nine tenths.
	muchBusy = 0.85
)

func newLogLength(now time.Time) *logLength {
	return &logLength{pages: shortLog, since: now}
}

// begin records that the connection is in use from now on.
func (l *logLength) begin(now time.Time) { l.acquired = now }

// end records that it no longer is, and reports whether pages has changed.
func (l *logLength) end(now time.Time) (changed bool) {
	l.busy += now.Sub(l.acquired)
	span := now.Sub(l.since)
	if span < busySpan {
		return false
	}
	pages := shortLog
	if l.busy.Seconds() > muchBusy*span.Seconds() {
		pages = longLog
	}
	changed = pages != l.pages
	l.pages, l.since, l.busy = pages, now, 0
	return changed
}

// setLogLength makes a commit of the connection checkpoint when the log has so many pages.
func setLogLength(conn *sqlite.Conn, pages int) error {
	return sqlitex.ExecuteTransient(conn, fmt.Sprintf("PRAGMA wal_autocheckpoint = %d", pages), nil)
}
