package sqlite

import (
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// The write-ahead log gathers pages, and a checkpoint writes them to the file and
// flushes it. Pages of random keys lie all over the file, more so the larger it is,
// and whatever is flushed meanwhile waits for them: the queue's flush, which each
// answer to a courier waits for, takes the whole file system. So while the store has
// time to spare the log is short, and no checkpoint holds anybody up for long. While a
// backlog is worked off the log is long, and a page that many commits touch is written
// once, not time and again. Decision 9 has figures.
const (
	shortLog = 250   // pages, 1 MiB
	longLog  = 8_000 // 32 MiB
)

// logLength chooses between the two by how busy the main connection is. Whoever holds
// the connection may call it.
type logLength struct {
	pages int
	since time.Time     // of what busy is a part
	busy  time.Duration // the connection was in use
	taken time.Time
}

const (
	// busySpan is how long it is looked at how busy the connection is.
	busySpan = 2 * time.Second
	// muchBusy is the share of it from which on there is no time to spare. A backlog
	// that is worked off takes nine tenths.
	muchBusy = 0.85
)

func newLogLength(now time.Time) *logLength {
	return &logLength{pages: shortLog, since: now}
}

// begin says that the connection is in use from now on.
func (l *logLength) begin(now time.Time) { l.taken = now }

// end says that it is not any more, and reports whether pages has changed.
func (l *logLength) end(now time.Time) (changed bool) {
	l.busy += now.Sub(l.taken)
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

// setLogLength has the connection's commits checkpoint from that many pages on.
func setLogLength(conn *sqlite.Conn, pages int) error {
	return sqlitex.ExecuteTransient(conn, fmt.Sprintf("PRAGMA wal_autocheckpoint = %d", pages), nil)
}
