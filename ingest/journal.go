package ingest

import (
	"fmt"
	"log/slog"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// Lines that one journal may write per second, and at once after a silence.
const (
	linesPerSecond = 5
	linesAtOnce    = 20
)

// journal writes a bounded number of log lines, so that senders can't fill the
// log: each line tells how many were left out before it.
type journal struct {
	logger  *slog.Logger
	limit   *rate.Limiter
	skipped atomic.Int64
}

func newJournal(l *slog.Logger) *journal {
	return &journal{logger: l, limit: rate.NewLimiter(linesPerSecond, linesAtOnce)}
}

// admit reports whether a line may be written now.
func (j *journal) admit() bool {
	if j.limit.Allow() {
		return true
	}
	j.skipped.Add(1)
	return false
}

// warn writes a line, if one may be written.
func (j *journal) warn(msg string, args ...any) {
	if j.admit() {
		j.write(msg, args...)
	}
}

// write writes a line that was admitted.
func (j *journal) write(msg string, args ...any) {
	if n := j.skipped.Swap(0); n > 0 {
		args = append(args, "skipped_lines", n)
	}
	j.logger.Warn(msg, args...) //nolint:sloglint // the callers pass constants
}

// Printf lets fasthttp write to the journal.
func (j *journal) Printf(format string, args ...any) {
	if j.admit() {
		j.write("connection failed", "error", fmt.Sprintf(format, args...))
	}
}
