package ingest

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// maxRetryAfter bounds the seconds that a courier is told to wait.
const maxRetryAfter = 24 * 60 * 60

// limits is what one courier may take of the intake, so that it can't take it
// from the others. What it counts outlives a change of the couriers.
type limits struct {
	networks  []netip.Prefix // none: any
	pace      *rate.Limiter  // nil for none
	maxInWork int64          // 0: no bound
	inWork    *atomic.Int64  // requests, while there is a bound
	known     *addressBook   // from which its requests were verified
	maxBytes  int            // of a body
	tooLarge  string         // said of a larger one
}

// newLimits returns the limits of a courier. Those that the courier had before go
// on as far as they are the same; before is nil for a new courier.
func newLimits(c *Courier, listener int, before *limits) (limits, error) {
	l := limits{maxInWork: int64(c.MaxConcurrent), inWork: new(atomic.Int64), known: new(addressBook), maxBytes: c.MaxBodyBytes}
	if l.maxBytes == 0 {
		l.maxBytes = listener
	}
	l.tooLarge = largerThan(l.maxBytes)
	networks, err := bareNetworks(c.Networks)
	errs := []error{err}
	l.networks = networks
	per := c.RatePerSecond
	switch {
	case math.IsNaN(per) || math.IsInf(per, 0) || per < 0:
		errs = append(errs, fmt.Errorf("has a rate of %v requests per second", per))
	case per > 0 && c.RateBurst < 1:
		errs = append(errs, fmt.Errorf("has a rate burst of %d, a rate needs at least 1", c.RateBurst))
	}
	if c.MaxConcurrent < 0 {
		errs = append(errs, fmt.Errorf("has %d requests at once", c.MaxConcurrent))
	}
	if c.MaxBodyBytes < 0 || c.MaxBodyBytes > listener {
		errs = append(errs, fmt.Errorf("has a limit of %d body bytes, the listener takes 1 to %d", c.MaxBodyBytes, listener))
	}
	if per > 0 {
		l.pace = rate.NewLimiter(rate.Limit(per), c.RateBurst)
	}
	if before != nil {
		l.inWork, l.known = before.inWork, before.known
		if p := before.pace; p != nil && l.pace != nil && p.Limit() == l.pace.Limit() && p.Burst() == l.pace.Burst() {
			l.pace = p
		}
	}
	return l, errors.Join(errs...)
}

// largerThan is what the sender of a body beyond a limit is told.
func largerThan(limit int) string { return fmt.Sprintf("the body is larger than %d bytes", limit) }

// admit applies the limits of the request's courier that need no body, before its
// signature costs anything. So whoever may post from the courier's networks can use up
// its rate, but not that of others.
func (s *Server) admit(c *call) refusal {
	if c.sender == nil {
		return refusal{}
	}
	l := &c.sender.limits
	if len(l.networks) > 0 && !within(l.networks, s.from(c)) {
		return refusal{problem: forbidden, detail: "this courier does not post from this address"}
	}
	if l.pace != nil && !l.pace.AllowN(c.started, 1) {
		return refusal{problem: tooOften, detail: "this courier sends more requests per second than it may", retryAfter: l.wait(c.started)}
	}
	return refusal{}
}

// crowd counts in a request that is all there, so that slow senders keep no others
// out. It is counted out when the call ends.
func (c *call) crowd() refusal {
	if c.sender != nil && !c.sender.limits.enter(c) {
		return refusal{problem: tooMany, detail: "this courier sends more requests at once than it may"}
	}
	return refusal{}
}

// wait returns the full seconds until another request may come, at least one.
func (l *limits) wait(now time.Time) int {
	seconds := math.Ceil((1 - l.pace.TokensAt(now)) / float64(l.pace.Limit()))
	return int(min(max(seconds, 1), maxRetryAfter))
}

// enter counts c in, until leave; false when too many are in work.
func (l *limits) enter(c *call) bool {
	if l.maxInWork == 0 {
		return true
	}
	for {
		n := l.inWork.Load()
		if n >= l.maxInWork {
			return false
		}
		if l.inWork.CompareAndSwap(n, n+1) {
			c.counted = l.inWork
			return true
		}
	}
}

// leave counts the call out.
func (c *call) leave() {
	if c.counted != nil {
		c.counted.Add(-1)
		c.counted = nil
	}
}
