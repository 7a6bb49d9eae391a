package persistence

import (
	"strings"
	"time"
	"unicode/utf8"
)

// Where a store has no dates, times are kept as text in one fixed form, RFC 3339 in UTC
// with nine decimals: exact, readable for people who open the store, and in the order of
// time when sorted as text. (An integer of nanoseconds ends in the year 2262, which a
// courier's clock may pass.)
//
//	2026-02-26T12:00:01.000000042Z

const timeBytes = len("2026-02-26T12:00:01.000000042Z")

var (
	firstTime = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	lastTime  = time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC)
)

// InRange returns t in UTC, moved into the years 0 to 9999, which every store can keep.
func InRange(t time.Time) time.Time {
	switch t = t.UTC(); {
	case t.Before(firstTime):
		return firstTime
	case t.After(lastTime):
		return lastTime
	}
	return t
}

// AppendTime appends the text of t, moved into range.
func AppendTime(b []byte, t time.Time) []byte {
	t = InRange(t)
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	b = append(appendDigits(b, year, 4), '-')
	b = append(appendDigits(b, int(month), 2), '-')
	b = append(appendDigits(b, day, 2), 'T')
	b = append(appendDigits(b, hour, 2), ':')
	b = append(appendDigits(b, minute, 2), ':')
	b = append(appendDigits(b, second, 2), '.')
	return append(appendDigits(b, t.Nanosecond(), 9), 'Z')
}

// appendDigits appends n with leading zeros to the given width, at most 9.
func appendDigits(b []byte, n, width int) []byte {
	var digits [9]byte
	for i := width - 1; i >= 0; i-- {
		digits[i] = byte('0' + n%10)
		n /= 10
	}
	return append(b, digits[:width]...)
}

// TimeText returns the text of t, "" for the zero time.
func TimeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return TimeKey(t)
}

// TimeKey returns the text of t, the first of all times for the zero time: what
// rows are sorted by always has one.
func TimeKey(t time.Time) string {
	var scratch [timeBytes]byte
	return string(AppendTime(scratch[:0], t))
}

// ParseTime is the inverse of TimeText. It takes RFC 3339 in any form.
func ParseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	return t.UTC(), err
}

// CleanText returns s with what is no valid UTF-8 replaced by U+FFFD.
func CleanText(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
