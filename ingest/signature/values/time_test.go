package values

import (
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 2, 26, 12, 0, 0, 0, time.UTC)

func TestParseTime(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		unit, text string
		want       time.Time // zero for none
	}{
		{"s", "1772107200", noon},
		{"s", "0001772107200", noon},
		{"s", "999999999999999999", time.Unix(999999999999999999, 0)},
		{"s", "9999999999999999999", time.Time{}},
		{"s", "", time.Time{}},
		{"s", "-1", time.Time{}},
		{"s", "+1", time.Time{}},
		{"s", "1.5", time.Time{}},
		{"s", " 1", time.Time{}},
		{"ms", "1772107200000", noon},
		{"ms", "1772107200001", noon.Add(time.Millisecond)},
		{"rfc3339", "2026-02-26T12:00:00Z", noon},
		{"rfc3339", "2026-02-26T12:00:00.000Z", noon},
		{"rfc3339", "2026-02-26T17:30:00.25+05:30", noon.Add(250 * time.Millisecond)},
		{"rfc3339", "2026-02-26 12:00:00Z", time.Time{}},
		{"rfc3339", "2026-02-26T12:00:00", time.Time{}},
		{"rfc3339", "2026-02-30T12:00:00Z", time.Time{}},
		{"rfc2822", "Thu, 26 Feb 2026 12:00:00 +0000", noon},
		{"rfc2822", "Thu, 26 Feb 2026 12:00:00 GMT", noon},
		{"rfc2822", "26 Feb 2026 12:00:00 UTC", noon},
		{"rfc2822", "26 Feb 2026 07:00:00 -0500", noon},
		{"rfc2822", "26 Feb 2026 17:30:00 +0530", noon},
		{"rfc2822", "6 Feb 2026 12:00:00 +0000", noon.AddDate(0, 0, -20)},
		{"rfc2822", "30 Feb 2026 12:00:00 +0000", time.Time{}},
		{"rfc2822", "26 feb 2026 12:00:00 +0000", time.Time{}},
		{"rfc2822", "26 anF 2026 12:00:00 +0000", time.Time{}},
		{"rfc2822", "Thursday, 26 Feb 2026 12:00:00 +0000", time.Time{}},
		{"rfc2822", "26 Feb 2026 24:00:00 +0000", time.Time{}},
		{"rfc2822", "26 Feb 2026 12:60:00 +0000", time.Time{}},
		{"rfc2822", "26 Feb 2026 12:00:00 +2400", time.Time{}},
		{"rfc2822", "26 Feb 2026 12:00:00 PST", time.Time{}},
		{"rfc2822", "26 Feb 2026 12:00:00 ", time.Time{}},
		{"rfc2822", "26 Feb 2026 12:00", time.Time{}},
		{"rfc2822", "026 Feb 2026 12:00:00 GMT", time.Time{}},
		{"rfc2822", "26-Feb-2026 12:00:00 GMT", time.Time{}},
	} {
		at, ok := ParseTime(tc.unit, []byte(tc.text))
		if ok == tc.want.IsZero() || ok && !at.Equal(tc.want) {
			t.Errorf("%s as %s is %v, %v; want %v", tc.text, tc.unit, at, ok, tc.want)
		}
	}
	for unit := range UnitNames {
		if at, ok := ParseTime(unit, []byte(FormatTime(unit, noon))); !ok || !at.Equal(noon) {
			t.Errorf("%s is written as %s", unit, FormatTime(unit, noon))
		}
	}
}

// FuzzParseMailTime compares with the standard library's parser.
func FuzzParseMailTime(f *testing.F) {
	f.Add("Thu, 26 Feb 2026 12:00:00 +0000")
	f.Add("1 Jan 0001 00:00:00 -2359")
	f.Add("Mon, , ,")
	f.Fuzz(func(t *testing.T, text string) {
		at, ok := parseMailTime([]byte(text))
		if !ok {
			return
		}
		if _, rest, named := strings.Cut(text, ", "); named {
			text = rest
		}
		want, err := time.Parse("2 Jan 2006 15:04:05 -0700", text)
		if err != nil {
			want, err = time.ParseInLocation("2 Jan 2006 15:04:05 MST", text, time.UTC)
		}
		if err != nil || !at.Equal(want) {
			t.Fatalf("%q is read as %v; the library says %v, %v", text, at, want, err)
		}
	})
}
