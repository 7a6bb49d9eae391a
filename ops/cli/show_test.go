package cli

import (
	"bytes"
	"strings"
	"testing"
)

func TestBodyText(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"a":1.0,"a":2}`: "{\n  \"a\": 1.0,\n  \"a\": 2\n}",
		"not json\x1b":    `not json\x1b`,
		"":                "",
	} {
		if got := bodyText([]byte(body)); got != want {
			t.Errorf("bodyText(%q) = %q, want %q", body, got, want)
		}
	}
	long := bodyText(bytes.Repeat([]byte("x"), maxShownBody+1))
	if !strings.Contains(long, "4097 bytes") || len(long) > maxShownBody+100 {
		t.Errorf("a long body: %d bytes: …%s", len(long), long[maxShownBody:])
	}
}
