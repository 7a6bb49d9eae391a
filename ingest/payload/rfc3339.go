package payload

import "time"

// parseTime reads an RFC 3339 time, in its one strict form: capital T and Z, a
// full stop before the fraction, offsets below 24 hours, no leap second. Digits
// past the nanosecond are dropped. The result is in UTC.
func parseTime(s string) (t time.Time, ok bool) {
	const form = "dddd-dd-ddTdd:dd:dd"
	if len(s) <= len(form) || !shaped(s[:len(form)], form) {
		return time.Time{}, false
	}
	year, month, day := number(s[0:4]), number(s[5:7]), number(s[8:10])
	hour, minute, second := number(s[11:13]), number(s[14:16]), number(s[17:19])
	nanos, rest := fraction(s[len(form):])
	offset, ok := zone(rest)
	if !ok {
		return time.Time{}, false
	}
	t, ok = civil(year, month, day, hour, minute, second, nanos, time.UTC)
	return t.Add(-offset), ok
}

// civil returns the time that a calendar and a clock in loc show; ok is false
// when there is no such day or hour.
func civil(year, month, day, hour, minute, second, nanos int, loc *time.Location) (t time.Time, ok bool) {
	t = time.Date(year, time.Month(month), day, hour, minute, second, nanos, time.UTC)
	if hour > 23 || minute > 59 || second > 59 || month < 1 || month > 12 || t.Day() != day {
		return time.Time{}, false
	}
	if loc != time.UTC {
		t = time.Date(year, time.Month(month), day, hour, minute, second, nanos, loc)
	}
	return t, true
}

// zone reads the end of an RFC 3339 time: Z, or a sign, hours and minutes.
func zone(s string) (offset time.Duration, ok bool) {
	if s == "Z" {
		return 0, true
	}
	if !shaped(s, "+dd:dd") && !shaped(s, "-dd:dd") {
		return 0, false
	}
	hours, minutes := number(s[1:3]), number(s[4:6])
	offset = time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	if s[0] == '-' {
		offset = -offset
	}
	return offset, hours <= 23 && minutes <= 59
}

// fraction reads "." and digits at the start of s as nanoseconds. Without digits
// behind it the full stop stays in rest.
func fraction(s string) (nanos int, rest string) {
	if len(s) < 2 || s[0] != '.' || s[1]-'0' > 9 {
		return 0, s
	}
	n := 1
	for unit := 100_000_000; n < len(s) && s[n]-'0' <= 9; n++ {
		nanos += int(s[n]-'0') * unit
		unit /= 10
	}
	return nanos, s[n:]
}

// shaped reports whether s has the given form, in which d is any digit.
func shaped(s, form string) bool {
	if len(s) != len(form) {
		return false
	}
	for i := range len(s) {
		if digit := form[i] == 'd'; digit && s[i]-'0' > 9 || !digit && s[i] != form[i] {
			return false
		}
	}
	return true
}

// number returns the value of a few digits.
func number(digits string) int {
	n := 0
	for i := range len(digits) {
		n = n*10 + int(digits[i]-'0')
	}
	return n
}
