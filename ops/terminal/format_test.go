package terminal

import (
	"testing"
	"time"
)

var noon = time.Date(2026, 2, 26, 12, 0, 0, 0, time.UTC)

func TestAgesAndSizes(t *testing.T) {
	t.Parallel()
	c := Clock{Now: func() time.Time { return noon }, Zone: time.FixedZone("CET", 3600)}
	for ago, want := range map[time.Duration]string{
		0: "0s ago", 59 * time.Second: "59s ago", 61 * time.Second: "1m01s ago", 3*time.Hour + 4*time.Minute: "3h04m ago", 50 * time.Hour: "2d02h ago", -time.Minute: "in 1m00s",
	} {
		if got := c.Age(noon.Add(-ago)); got != want {
			t.Errorf("age of %v: %q, want %q", ago, got, want)
		}
	}
	if got := c.Format(noon.Add(-time.Minute)); got != "2026-02-26T12:59:00+01:00 (1m00s ago)" {
		t.Errorf("Format: %q", got)
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 10 << 30: "10.0 GiB", 1<<63 - 1: "8.0 EiB"} {
		if got := Size(n); got != want {
			t.Errorf("Size(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestClip(t *testing.T) {
	t.Parallel()
	if got := Clip("дважды", 4); got != "два…" {
		t.Errorf("Clip: %q", got)
	}
	if got := Clip("дважды", 6); got != "дважды" {
		t.Errorf("Clip: %q", got)
	}
}
