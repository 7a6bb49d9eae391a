package persistence

import (
	"slices"
	"testing"
	"time"
)

var noon = time.Date(2026, 2, 26, 12, 0, 0, 123_456_789, time.UTC)

func TestTimeText(t *testing.T) {
	t.Parallel()
	for in, want := range map[time.Time]string{
		noon:                              "2026-02-26T12:00:00.123456789Z",
		noon.Truncate(time.Second):        "2026-02-26T12:00:00.000000000Z",
		firstTime:                         "0000-01-01T00:00:00.000000000Z",
		lastTime:                          "9999-12-31T23:59:59.999999999Z",
		lastTime.Add(1):                   "9999-12-31T23:59:59.999999999Z",
		firstTime.Add(-1):                 "0000-01-01T00:00:00.000000000Z",
		noon.In(time.FixedZone("", 7200)): "2026-02-26T12:00:00.123456789Z",
		{}:                                "",
	} {
		if got := TimeText(in); got != want {
			t.Errorf("%v: %s, want %s", in, got, want)
		}
	}
	// Text sorts as time does.
	times := []time.Time{firstTime, {}, time.Unix(0, 0), noon, noon.Add(1), noon.Add(10), noon.Add(time.Second), lastTime}
	var texts []string
	for _, at := range times {
		texts = append(texts, TimeKey(at))
	}
	if !slices.IsSorted(texts) {
		t.Errorf("out of order: %q", texts)
	}
}
