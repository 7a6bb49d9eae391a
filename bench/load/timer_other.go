//go:build !linux

package load

import "time"

// timer waits to about a millisecond.
type timer struct{}

func newTimer() (*timer, error) { return &timer{}, nil }

// wait blocks for d.
func (*timer) wait(d time.Duration) { time.Sleep(d) }

func (*timer) close() {}
