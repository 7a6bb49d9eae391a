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
	hide    func(text string) string // takes out secrets that a request may hold
	limit   *rate.Limiter
	skipped atomic.Int64
}

func newRateLimitedLog(logger *slog.Logger, hide func(text string) string) *rateLimitedLog {
	return &rateLimitedLog{logger: logger, hide: hide, limit: rate.NewLimiter(linesPerSecond, linesAtOnce)}
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

// write writes a line that was admitted. What it says may quote a request.
func (l *rateLimitedLog) write(msg string, args ...any) {
	for i := 1; i < len(args); i += 2 {
		switch v := args[i].(type) {
		case string:
			args[i] = l.hide(v)
		case error:
			args[i] = l.hide(v.Error())
		}
	}
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
