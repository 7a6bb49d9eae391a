package payload

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// clock is where a time is and how it is written.
type clock struct {
	from     []template
	formats  []format
	zone     *time.Location
	received bool
	expected string // what a fault says that the time must be
}

// format is one way of writing a time; layout is for formatLayout only.
type format struct {
	kind   formatKind
	layout string
}

type formatKind uint8

const (
	formatRFC3339 formatKind = iota
	formatISO8601
	formatUnix
	formatUnixMillis
	formatLayout
)

// formatNames are the formats that have a name, in the order of their kinds.
var formatNames = []string{"rfc3339", "iso8601", "unix", "unix_ms"}

func (c *compiler) clock(key string, from TimeMapping, zone string) clock {
	if from.Zone != "" {
		zone = from.Zone
	}
	out := clock{from: c.templates(key+".from", from.From, 0), received: from.Received, zone: time.UTC}
	if location, ok := findZone(zone); ok {
		out.zone = location
	} else if from.Zone != "" {
		c.fault(key+".zone", "%q is neither a time zone that is known here nor an offset such as +05:30", zone)
	}
	texts := given(from.Formats, formatNames[:1])
	for i, text := range texts {
		f := format{kind: formatLayout, layout: text}
		if kind := slices.Index(formatNames, text); kind >= 0 {
			f = format{kind: formatKind(kind)}
		} else if !validLayout(text) {
			c.fault(key+".formats["+strconv.Itoa(i)+"]",
				"%q is none of %s, and no layout that holds a date (and no abbreviated zone, which says no offset)",
				text, strings.Join(formatNames, ", "))
		}
		out.formats = append(out.formats, f)
	}
	out.expected = "must be a time of the form " + strings.Join(texts, " or ")
	return out
}

func findZone(name string) (*time.Location, bool) {
	if len(name) == len("+05:30") && (name[0] == '+' || name[0] == '-') {
		offset, ok := zone(name)
		return time.FixedZone(name, int(offset.Seconds())), ok
	}
	if name == "" || name == "Local" { // the machine's zone is no property of a sender
		return time.UTC, name == ""
	}
	location, err := time.LoadLocation(name)
	return location, err == nil
}

// validLayout reports whether a time written by layout can be read again with its
// date whole.
func validLayout(layout string) bool {
	at := time.Date(2037, 11, 23, 0, 0, 0, 0, time.UTC)
	back, err := time.Parse(layout, at.Format(layout))
	return err == nil && back.Equal(at) && !strings.Contains(layout, "MST")
}

// read reads a time and returns it in UTC.
func (c *clock) read(text string) (at time.Time, ok bool) {
	for _, f := range c.formats {
		switch f.kind {
		case formatRFC3339:
			at, ok = parseTime(text)
		case formatISO8601:
			at, ok = parseISO(text, c.zone)
		case formatUnix:
			at, ok = parseUnix(text)
		case formatUnixMillis:
			at, ok = parseUnixMillis(text)
		case formatLayout:
			var err error
			at, err = time.ParseInLocation(f.layout, text, c.zone)
			ok = err == nil
		}
		if ok {
			return at.UTC(), true
		}
	}
	return time.Time{}, false
}

// parseISO reads the forms of ISO 8601 that senders use: a date, then T or a
// space and a clock of hours, minutes and perhaps seconds with a fraction, then
// perhaps an offset, with a space before it or not. Without one the time was
// written in loc. 24:00 is the end of the day. The basic form, without hyphens and
// colons, is read with a T and seconds.
func parseISO(s string, loc *time.Location) (t time.Time, ok bool) {
	const date, minutes, basic = "dddd-dd-dd", "dd:dd", "ddddddddTdddddd"
	if len(s) >= len(basic) && shaped(s[:len(basic)], basic) {
		s = s[:4] + "-" + s[4:6] + "-" + s[6:11] + ":" + s[11:13] + ":" + s[13:]
	}
	if len(s) < len(date) || !shaped(s[:len(date)], date) {
		return time.Time{}, false
	}
	year, month, day := number(s[0:4]), number(s[5:7]), number(s[8:10])
	rest := s[len(date):]
	if rest == "" {
		return civil(year, month, day, 0, 0, 0, 0, loc)
	}
	if len(rest) < 1+len(minutes) || rest[0] != 'T' && rest[0] != ' ' || !shaped(rest[1:6], minutes) {
		return time.Time{}, false
	}
	hour, minute, second, nanos := number(rest[1:3]), number(rest[4:6]), 0, 0
	rest = rest[6:]
	if len(rest) >= 3 && shaped(rest[:3], ":dd") {
		second = number(rest[1:3])
		nanos, rest = fraction(rest[3:])
	}
	days := 0 // beyond the date that is read
	if hour == 24 && minute+second+nanos == 0 {
		hour, days = 0, 1
	}
	if rest == "" {
		t, ok = civil(year, month, day, hour, minute, second, nanos, loc)
		return t.AddDate(0, 0, days), ok
	}
	offset, ok := looseZone(strings.TrimPrefix(rest, " "))
	if !ok {
		return time.Time{}, false
	}
	t, ok = civil(year, month, day, hour, minute, second, nanos, time.UTC)
	return t.AddDate(0, 0, days).Add(-offset), ok
}

// looseZone is [zone] that accepts +0100, +01 and +01.00 too.
func looseZone(s string) (offset time.Duration, ok bool) {
	if shaped(s, "+dd.dd") || shaped(s, "-dd.dd") {
		s = s[:3] + s[4:]
	}
	switch {
	case shaped(s, "+dddd") || shaped(s, "-dddd"):
		offset = time.Duration(number(s[1:3]))*time.Hour + time.Duration(number(s[3:5]))*time.Minute
		ok = number(s[1:3]) <= 23 && number(s[3:5]) <= 59
	case shaped(s, "+dd") || shaped(s, "-dd"):
		offset = time.Duration(number(s[1:3])) * time.Hour
		ok = number(s[1:3]) <= 23
	default:
		return zone(s)
	}
	if s[0] == '-' {
		offset = -offset
	}
	return offset, ok
}

// maxUnixDigits bounds a count of seconds or milliseconds, so that it fits 64 bits.
const maxUnixDigits = 18

// parseUnix reads seconds since 1970, with a fraction or without.
func parseUnix(s string) (t time.Time, ok bool) {
	whole, rest := digits(s)
	nanos, rest := fraction(rest)
	if whole == "" || rest != "" {
		return time.Time{}, false
	}
	return time.Unix(int64(number(whole)), int64(nanos)), true
}

// parseUnixMillis reads milliseconds since 1970.
func parseUnixMillis(s string) (t time.Time, ok bool) {
	whole, rest := digits(s)
	if whole == "" || rest != "" {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(number(whole))), true
}

// digits splits s behind the digits that it starts with; they are empty when they
// are too many for a time.
func digits(s string) (run, rest string) {
	n := 0
	for n < len(s) && s[n]-'0' <= 9 {
		n++
	}
	if n > maxUnixDigits {
		return "", s
	}
	return s[:n], s[n:]
}
