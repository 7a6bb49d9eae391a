package payload

import (
	"regexp"
	"testing"
	"time"
)

func TestParseTime(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ in, want string }{
		{"2026-02-26T12:00:00Z", "2026-02-26T12:00:00Z"},
		{"2026-02-26T12:00:00.1234567899Z", "2026-02-26T12:00:00.123456789Z"},
		{"2026-02-26T12:00:00.5+05:30", "2026-02-26T06:30:00.5Z"},
		{"2026-01-01T00:00:00+23:59", "2025-12-31T00:01:00Z"},
		{"2024-02-29T23:59:59-00:00", "2024-02-29T23:59:59Z"},
		{"2026-02-29T12:00:00Z", ""}, {"2026-00-10T12:00:00Z", ""}, {"2026-13-10T12:00:00Z", ""},
		{"2026-02-00T12:00:00Z", ""}, {"2026-02-26T24:00:00Z", ""}, {"2026-02-26T12:60:00Z", ""},
		{"2026-02-26T12:00:60Z", ""}, {"2026-02-26 12:00:00Z", ""}, {"2026-02-26t12:00:00Z", ""},
		{"2026-02-26T12:00:00z", ""}, {"2026-02-26T12:00:00", ""}, {"2026-02-26T12:00:00.Z", ""},
		{"2026-02-26T12:00:00,5Z", ""}, {"2026-02-26T12:00:00+24:00", ""}, {"2026-02-26T12:00:00+0100", ""},
		{"2026-02-26T12:00:00+01:60", ""}, {"2026-02-26T12:00Z", ""}, {"2026-2-26T12:00:00Z", ""},
		{"2026-02-26T12:00:00Z ", ""}, {"26-02-26T12:00:00Z", ""}, {"", ""}, {"dddd-dd-ddTdd:dd:ddZ", ""},
	} {
		got, ok := parseTime(tc.in)
		if ok != (tc.want != "") || ok && got.Format(time.RFC3339Nano) != tc.want {
			t.Errorf("parseTime(%q) = %v, %v, want %q", tc.in, got, ok, tc.want)
		}
	}
}

// strictTime is the form of RFC 3339 that parseTime reads; package time, which
// checks the calendar, is more lenient with it.
var strictTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

// FuzzParseTime compares parseTime with package time.
func FuzzParseTime(f *testing.F) {
	for _, seed := range []string{
		"2026-02-26T12:00:00Z", "2024-02-29T23:59:59.999999999+23:59", "2026-02-26T12:00:00.Z",
		"9999-12-31T23:59:59-23:59", "2026-02-26T1:00:00Z", "2026-02-30T12:00:00,5+99:99",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := parseTime(s)
		want, err := time.Parse(time.RFC3339, s)
		if valid := err == nil && strictTime.MatchString(s); ok != valid || ok && !got.Equal(want) {
			t.Errorf("parseTime(%q) = %v, %v, package time says %v, %v", s, got, ok, want, err)
		}
	})
}
