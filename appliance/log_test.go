package main

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"unicode"

	"github.com/fincart/courier-gateway/appliance/config"
)

// TestLogsShowNothingThatActs logs what a sender could have written: in no format does it
// reach a terminal as it is, and as JSON it means the same as before.
func TestLogsShowNothingThatActs(t *testing.T) {
	t.Parallel()
	const odd = "a\u202eb\u2066c\u200bd\u200fe\u009bf\x1b[31mg\u0085h\u2028i\ufeffj\U000e0001k\x7fl\u00adm"
	for _, format := range []string{"json", "text"} {
		var out strings.Builder
		newLogger(&out, config.LogConfig{Level: "info", Format: format}).With("courier", odd).Info(odd, slog.String(odd, odd)) //nolint:sloglint // an odd key is what is tried
		line := strings.TrimSuffix(out.String(), "\n")
		if i := strings.IndexFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("%s: there is %q in\n%s", format, line[i:], line)
		}
		var fields map[string]string
		if format == "json" && (json.Unmarshal([]byte(line), &fields) != nil || fields["msg"] != odd || fields["courier"] != odd || fields[odd] != odd) {
			t.Errorf("the line means %q", fields)
		}
	}
}
