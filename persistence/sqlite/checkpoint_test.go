package sqlite

import (
	"testing"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/fincart/courier-gateway/persistence/storetest"
)

func TestLogIsLongWhileTheStoreIsBusy(t *testing.T) {
	now := storetest.Noon
	l := newLogLength(now)
	for _, step := range []struct {
		what       string
		busy, idle time.Duration // time and again
		want       int
	}{
		{"rest", 5 * time.Millisecond, 95 * time.Millisecond, shortLog},
		{"events as they come", 30 * time.Millisecond, 10 * time.Millisecond, shortLog},
		{"a backlog", 19 * time.Millisecond, time.Millisecond, longLog},
		{"events as they come again", 30 * time.Millisecond, 10 * time.Millisecond, shortLog},
		{"one long commit", 3 * time.Second, 0, longLog},
		{"silence, and what ends it", time.Millisecond, 4 * time.Second, shortLog},
	} {
		changes := 0
		for before := now; now.Sub(before) < 2*busySpan+time.Second; {
			l.begin(now)
			now = now.Add(step.busy)
			if l.end(now) {
				changes++
			}
			now = now.Add(step.idle)
		}
		if l.pages != step.want || changes > 1 {
			t.Errorf("%s: %d pages after %d changes, want %d", step.what, l.pages, changes, step.want)
		}
	}
}

// TestLogLengthReachesTheConnection has the store believe that it was busy, and then
// that it was not.
func TestLogLengthReachesTheConnection(t *testing.T) {
	t.Parallel()
	s := openTest(t, testConfig(t))
	for _, test := range []struct {
		busy time.Duration
		want int
	}{{0, shortLog}, {busySpan, longLog}, {0, shortLog}} {
		conn, err := s.db.acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s.db.files.Load().log.since, s.db.files.Load().log.busy = time.Now().Add(-busySpan), test.busy
		s.db.release(conn)
		var got int
		if err := s.db.lookUp(t.Context(), "test", func(conn *sqlite.Conn) (err error) {
			got, err = number(conn, "PRAGMA wal_autocheckpoint")
			return err
		}); err != nil || got != test.want {
			t.Errorf("checkpoints from %d pages on, want %d; %v", got, test.want, err)
		}
	}
}
