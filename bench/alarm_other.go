//go:build !linux

package bench

import "time"

// alarm waits to about a millisecond.
type alarm struct{}

func newAlarm() (*alarm, error) { return &alarm{}, nil }

// wait blocks for d.
func (*alarm) wait(d time.Duration) { time.Sleep(d) }

func (*alarm) close() {}
