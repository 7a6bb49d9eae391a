package values

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// UnitNames lists the units of [ParseTime], with what people call them.
var UnitNames = map[string]string{
	"s": "in Unix seconds", "ms": "in Unix milliseconds", "rfc3339": "as RFC 3339 has it", "rfc2822": "as RFC 2822 has it",
}

// ParseTime reads a time in one of the units of [UnitNames]; Unix seconds in any other.
func ParseTime(unit string, text []byte) (at time.Time, ok bool) {
	switch unit {
	case "rfc3339":
		err := at.UnmarshalText(text)
		return at, err == nil
	case "rfc2822":
		return parseMailTime(text)
	case "ms":
		n, ok := ParseDigits(text)
		return time.UnixMilli(n), ok
	default:
		n, ok := ParseDigits(text)
		return time.Unix(n, 0), ok
	}
}

// FormatTime writes a time as [ParseTime] reads it.
func FormatTime(unit string, at time.Time) string {
	switch unit {
	case "rfc3339":
		return at.UTC().Format(time.RFC3339)
	case "rfc2822":
		return at.UTC().Format(time.RFC1123Z)
	case "ms":
		return strconv.FormatInt(at.UnixMilli(), 10)
	default:
		return strconv.FormatInt(at.Unix(), 10)
	}
}

// ParseDigits reads 1 to 18 decimal digits, which can't overflow.
func ParseDigits(text []byte) (n int64, ok bool) {
	if len(text) == 0 || len(text) > 18 {
		return 0, false
	}
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// parseMailTime reads "Thu, 26 Feb 2026 12:00:00 +0000" (RFC 2822, section 3.3)
// without folding and comments; the day's name may be absent, the day may have
// one digit, and the zone may be GMT or UTC.
func parseMailTime(text []byte) (at time.Time, ok bool) {
	if name, rest, found := bytes.Cut(text, []byte(", ")); found {
		if len(name) != 3 {
			return at, false
		}
		text = rest
	}
	dayText, text, _ := bytes.Cut(text, []byte(" "))
	day, ok := ParseDigits(dayText)
	const form = "Feb 2026 12:00:00 "
	if !ok || len(dayText) > 2 || len(text) <= len(form) {
		return at, false
	}
	month := strings.Index("JanFebMarAprMayJunJulAugSepOctNovDec", string(text[:3]))
	year, okYear := ParseDigits(text[4:8])
	hour, okHour := ParseDigits(text[9:11])
	minute, okMinute := ParseDigits(text[12:14])
	second, okSecond := ParseDigits(text[15:17])
	offset, okZone := parseMailZone(text[18:])
	if text[3] != ' ' || text[8] != ' ' || text[11] != ':' || text[14] != ':' || text[17] != ' ' ||
		month < 0 || month%3 != 0 || !okYear || !okHour || !okMinute || !okSecond || !okZone ||
		hour > 23 || minute > 59 || second > 59 {
		return at, false
	}
	at = time.Date(int(year), time.Month(month/3+1), int(day), int(hour), int(minute), int(second), 0, time.UTC)
	if at.Day() != int(day) { // no such day in this month
		return at, false
	}
	return at.Add(-offset), true
}

// parseMailZone reads GMT, UTC, or a sign, hours and minutes.
func parseMailZone(text []byte) (offset time.Duration, ok bool) {
	if string(text) == "GMT" || string(text) == "UTC" {
		return 0, true
	}
	if len(text) != 5 || text[0] != '+' && text[0] != '-' {
		return 0, false
	}
	n, ok := ParseDigits(text[1:])
	offset = time.Duration(n/100)*time.Hour + time.Duration(n%100)*time.Minute
	if text[0] == '-' {
		offset = -offset
	}
	return offset, ok && n/100 <= 23 && n%100 <= 59
}
