package ingest

import (
	"fmt"
	"log/slog"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// Lines that one log may write per second, and at once after a silence.
const (
	linesPerSecond = 5
	linesAtOnce    = 20
)

// rateLimitedLog writes a bounded number of log lines, so that senders can't fill the
// log: each line says how many were left out before it.
type rateLimitedLog struct {
	logger  *slog.Logger
	limit   *rate.Limiter
	skipped atomic.Int64
}

func newRateLimitedLog(logger *slog.Logger) *rateLimitedLog {
	return &rateLimitedLog{logger: logger, limit: rate.NewLimiter(linesPerSecond, linesAtOnce)}
}

// admit reports whether a line may be written now.
func (l *rateLimitedLog) admit() bool {
	if l.limit.Allow() {
		return true
	}
	l.skipped.Add(1)
	return false
}

// Warn writes a line, if one may be written.
func (l *rateLimitedLog) Warn(msg string, args ...any) {
	if l.admit() {
		l.write(msg, args...)
	}
}

// write writes a line that was admitted.
func (l *rateLimitedLog) write(msg string, args ...any) {
	if n := l.skipped.Swap(0); n > 0 {
		args = append(args, "skipped_lines", n)
	}
	l.logger.Warn(msg, args...) //nolint:sloglint // the callers pass constants
}

// Printf is for fasthttp, which logs by it.
func (l *rateLimitedLog) Printf(format string, args ...any) {
	if l.admit() {
		l.write("connection failed", "error", fmt.Sprintf(format, args...))
	}
}
