package terminal

import (
	"fmt"
	"time"
)

// Clip shortens s to n characters, n being at least 1.
func Clip(s string, n int) string {
	runes := []rune(s)
	if len(runes) <= n {
		return s
	}
	return string(runes[:n-1]) + "…"
}

// Clock is the time of now, and the zone in which times are shown.
type Clock struct {
	Now  func() time.Time
	Zone *time.Location
}

// Format shows a time in the local zone with its age, "-" for none.
func (c Clock) Format(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return fmt.Sprintf("%s (%s)", t.In(c.Zone).Format(time.RFC3339), c.Age(t))
}

// Age shows how long ago t was.
func (c Clock) Age(t time.Time) string {
	d := c.Now().Sub(t)
	if d < 0 {
		return "in " + Span(-d)
	}
	return Span(d) + " ago"
}

// Span shows a duration in its one or two largest units.
func Span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < day:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd%02dh", int(d/day), int(d%day/time.Hour))
	}
}

// Size shows a number of bytes in a unit that suits it.
func Size(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/(1<<10), 0
	for value >= 1<<10 && unit < len("KMGTPE")-1 {
		value /= 1 << 10
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTPE"[unit])
}
