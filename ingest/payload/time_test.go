package payload

import (
	"testing"
	"time"
)

func TestTimeFormats(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ format, zone, in, want string }{
		{"rfc3339", "Asia/Kolkata", "2026-02-26T12:00:00+01:00", "2026-02-26T11:00:00Z"},
		{"rfc3339", "", "2026-02-26 12:00:00Z", ""},
		{"iso8601", "", "2026-02-26T12:00:00Z", "2026-02-26T12:00:00Z"},
		{"iso8601", "", "2026-02-26 12:00:00.25 +0530", "2026-02-26T06:30:00.25Z"},
		{"iso8601", "", "2026-02-26T12:00-08", "2026-02-26T20:00:00Z"},
		{"iso8601", "", "2026-02-26T12:00:00-02:30", "2026-02-26T14:30:00Z"},
		{"iso8601", "", "2026-02-26T12:00:00", "2026-02-26T12:00:00Z"},
		{"iso8601", "Asia/Kolkata", "2026-02-26T12:00:00.767", "2026-02-26T06:30:00.767Z"},
		{"iso8601", "Asia/Kolkata", "2026-02-26", "2026-02-25T18:30:00Z"},
		{"iso8601", "Europe/Berlin", "2026-07-01 00:30", "2026-06-30T22:30:00Z"},   // summer
		{"iso8601", "Africa/Cairo", "2026-04-24T00:30:00", "2026-04-23T22:30:00Z"}, // an hour that the clocks skipped
		{"iso8601", "-03:00", "2026-02-26T12:00:00", "2026-02-26T15:00:00Z"},
		{"iso8601", "", "2024-02-29T23:59:59", "2024-02-29T23:59:59Z"},
		{"iso8601", "", "2026-02-29", ""}, {"iso8601", "", "2026-02-26T", ""}, {"iso8601", "", "2026-02-26T12", ""},
		{"iso8601", "", "2026-02-26T24:00", "2026-02-27T00:00:00Z"}, {"iso8601", "", "2026-02-26T24:01", ""},
		{"iso8601", "Europe/Berlin", "2026-03-29 24:00", "2026-03-29T22:00:00Z"}, {"iso8601", "", "20260226T093004-05.00", "2026-02-26T14:30:04Z"},
		{"iso8601", "", "20260226T093004+05.30", "2026-02-26T04:00:04Z"}, {"iso8601", "+01:00", "20260226T093004", "2026-02-26T08:30:04Z"},
		{"iso8601", "", "20260226T0930", ""}, {"iso8601", "", "20261326T093004", ""}, {"iso8601", "", "20260226", ""}, {"iso8601", "", "2026-02-26T12:60", ""}, {"iso8601", "", "2026-02-26T12:00:60", ""},
		{"iso8601", "", "2026-02-26T12:00:00.", ""}, {"iso8601", "", "2026-02-26T12:00:00 ", ""}, {"iso8601", "", "2026-02-26T12:00:00+24", ""},
		{"iso8601", "", "2026-02-26T12:00:00+0160", ""}, {"iso8601", "", "2026-02-26T12:00:00  Z", ""}, {"iso8601", "", "2026-02-26T12:00:00 UTC", ""},
		{"iso8601", "", "2026/02/26", ""}, {"iso8601", "", "", ""}, {"iso8601", "", "26-02-2026", ""}, {"iso8601", "", "2026-02-26x12:00", ""},
		{"unix", "", "1772107200", "2026-02-26T12:00:00Z"},
		{"unix", "Asia/Kolkata", "1772107200.125", "2026-02-26T12:00:00.125Z"},
		{"unix", "", "0", "1970-01-01T00:00:00Z"},
		{"unix", "", "-1", ""}, {"unix", "", "1.7e9", ""}, {"unix", "", "", ""}, {"unix", "", "12x", ""}, {"unix", "", "1.", ""},
		{"unix", "", "1000000000000000000", ""}, {"unix_ms", "", "99999999999999999999", ""},
		{"unix_ms", "", "1772107200123", "2026-02-26T12:00:00.123Z"}, {"unix_ms", "", "1772107200123.5", ""},
		{"02 01 2006 15:04:05", "+05:30", "26 02 2026 17:30:00", "2026-02-26T12:00:00Z"},
		{"20060102", "", "20260226", "2026-02-26T00:00:00Z"},
		{"2006-01-02 15:04:05 -0700", "+05:30", "2026-02-26 12:00:00 -0100", "2026-02-26T13:00:00Z"},
		{"02 01 2006 15:04:05", "", "2026-02-26", ""},
	} {
		var c compiler
		clock := c.clock("time", TimeMapping{Formats: []string{tc.format}, Zone: tc.zone}, "")
		if len(c.faults) > 0 {
			t.Fatalf("%s in %q: %v", tc.format, tc.zone, c.faults)
		}
		got, ok := clock.read(tc.in)
		if ok != (tc.want != "") || ok && got.Format(time.RFC3339Nano) != tc.want {
			t.Errorf("%s in %q reads %q as %v, %v, want %q", tc.format, tc.zone, tc.in, got, ok, tc.want)
		}
	}
}

func TestTimeFormatsAreTriedInOrder(t *testing.T) {
	t.Parallel()
	var c compiler
	clock := c.clock("time", TimeMapping{Formats: []string{"20060102", "unix", "rfc3339"}}, "")
	for in, want := range map[string]string{"20260226": "2026-02-26T00:00:00Z", "1772107200": "2026-02-26T12:00:00Z", "2026-02-26T12:00:00Z": "2026-02-26T12:00:00Z"} {
		if got, ok := clock.read(in); !ok || !got.Equal(at(want)) {
			t.Errorf("%q is read as %v, %v, want %s", in, got, ok, want)
		}
	}
}

// FuzzParseISO compares the lenient reading with the strict one: what the strict
// one takes, both read alike.
func FuzzParseISO(f *testing.F) {
	for _, seed := range []string{"2026-02-26T12:00:00Z", "2026-02-26 12:00+0530", "2026-02-26", "2026-02-26T12:00:00.999999999-23:59", "2026-02-26T12:00:00+1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := parseISO(s, time.UTC)
		if want, strict := parseTime(s); strict && (!ok || !got.Equal(want)) {
			t.Errorf("parseISO(%q) = %v, %v, parseTime says %v", s, got, ok, want)
		}
	})
}
