package process

import (
	"math"
	"math/rand/v2"
	"time"
)

// Policy says how often an event is attempted and how long it waits in between.
type Policy struct {
	MaxAttempts int           // deliveries before an event is given up, at least 1
	Base        time.Duration // wait after the first failed attempt
	Multiplier  float64       // growth from one wait to the next, at least 1
	Jitter      float64       // largest random addition, as a share of the wait: 0.2 is 0 to 20 %
}

// DefaultPolicy is the one of an appliance that is not configured otherwise: waits of 1,
// 2, 4 and 8 seconds.
func DefaultPolicy() Policy {
	return Policy{MaxAttempts: 5, Base: time.Second, Multiplier: 2, Jitter: 0.2}
}

// Delay returns the wait after failed attempt n (1 for the first), without
// jitter: Base × Multiplier^(n−1).
func (p Policy) Delay(n int) time.Duration {
	return time.Duration(float64(p.Base) * math.Pow(p.Multiplier, float64(max(n, 1)-1)))
}

// Delays returns the wait after each failed attempt that another one follows.
func (p Policy) Delays() []time.Duration {
	var delays []time.Duration
	for n := 1; n < p.MaxAttempts; n++ {
		delays = append(delays, p.Delay(n))
	}
	return delays
}

// jittered returns Delay(n) plus its random share, so that events which failed
// together do not come back together.
func (p Policy) jittered(n int) time.Duration {
	d := p.Delay(n)
	return d + time.Duration(rand.Float64()*p.Jitter*float64(d))
}
