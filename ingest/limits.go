package ingest

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/fincart/courier-gateway/ingest/address"
	"github.com/fincart/courier-gateway/ingest/event"
)

// maxRetryAfter bounds the seconds that a courier is told to wait.
const maxRetryAfter = 24 * 60 * 60

// limits is what one courier may take of the intake, so that it can't take it
// from the others. What it counts outlives a change of the couriers.
type limits struct {
	networks   []netip.Prefix   // none: any
	pace       *rate.Limiter    // of verified requests; nil for none
	observed   *rate.Limiter    // of those that are accepted without being verified; nil for none
	unverified *unverifiedRates // of all that are not verified; nil for none
	maxInWork  int64            // 0: no bound
	inWork     *atomic.Int64    // requests, while there is a bound
	known      *addressBook     // from which its requests were verified
	maxBytes   int              // of a body
	tooLarge   string           // said of a larger one
}

// newLimits returns the limits of a courier. Those that the courier had before go
// on as far as they are the same; before is nil for a new courier.
func newLimits(c *Courier, listener int, before *limits) (limits, error) {
	l := limits{maxInWork: int64(c.MaxConcurrent), inWork: new(atomic.Int64), known: new(addressBook), maxBytes: c.MaxBodyBytes}
	if l.maxBytes == 0 {
		l.maxBytes = listener
	}
	l.tooLarge = largerThan(l.maxBytes)
	networks, err := address.Networks(c.Networks)
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
		l.observed = rate.NewLimiter(rate.Limit(per), c.RateBurst)
		l.unverified = newUnverifiedRates(per, c.RateBurst)
	}
	if before != nil {
		l.inWork, l.known = before.inWork, before.known
		if p := before.pace; p != nil && l.pace != nil && p.Limit() == l.pace.Limit() && p.Burst() == l.pace.Burst() {
			l.pace, l.observed, l.unverified = p, before.observed, before.unverified
		}
	}
	return l, errors.Join(errs...)
}

// largerThan is what the sender of a body beyond a limit is told.
func largerThan(limit int) string { return fmt.Sprintf("the body is larger than %d bytes", limit) }

// admit applies the limits of the request's courier that need neither body nor
// signature. The courier's rate is only looked at: it is charged when the request is
// verified (see charge), so that nobody else can use it up. When nothing is left of it,
// the signature makes no difference.
func (s *Server) admit(c *call) refusal {
	if c.sender == nil {
		return refusal{}
	}
	l := &c.sender.limits
	if len(l.networks) > 0 && !address.In(l.networks, s.from(c)) {
		return refusal{problem: forbidden, detail: "this courier does not post from this address"}
	}
	if l.pace == nil {
		return refusal{}
	}
	if l.pace.TokensAt(c.started) < 1 {
		return l.tooOften(c)
	}
	if c.declaredBytes() > shortBytes || c.sender.scheme.Costly() {
		// What costs more than a short look is not even read: neither a long body nor
		// the signature of one that brings nothing else.
		if from := address.Group(s.from(c)); !l.known.has(from, c.started) && l.unverified.wait(from, c.started) > 0 {
			return l.tooManyUnverified(c, from)
		}
	}
	return refusal{}
}

// charge counts a request whose signature was looked at: a verified one for its
// courier, any other for its address. Why it is refused, if it is, comes back, and no
// unless it is one too many.
func (s *Server) charge(c *call, no refusal) refusal {
	if c.sender == nil || c.sender.limits.pace == nil || no.code == event.IntakeUnavailable {
		return no
	}
	l := &c.sender.limits
	if c.verified {
		if !l.pace.AllowN(c.started, 1) {
			return l.tooOften(c)
		}
		return no
	}
	return s.chargeUnverified(c, no)
}

// chargeUnverified counts a request for its address.
func (s *Server) chargeUnverified(c *call, no refusal) refusal {
	if c.sender == nil || c.sender.limits.unverified == nil {
		return no
	}
	l, from := &c.sender.limits, address.Group(s.from(c))
	if !l.unverified.take(from, c.started) {
		return l.tooManyUnverified(c, from)
	}
	return no
}

// chargeObserved counts a request that is accepted although it is not verified.
func (c *call) chargeObserved() refusal {
	if l := &c.sender.limits; l.observed != nil && !c.verified && !l.observed.AllowN(c.started, 1) {
		return l.tooOften(c)
	}
	return refusal{}
}

func (l *limits) tooOften(c *call) refusal {
	return refusal{problem: tooOften, detail: "this courier sends more requests per second than it may", retryAfter: l.wait(c.started)}
}

func (l *limits) tooManyUnverified(c *call, from netip.Prefix) refusal {
	return refusal{
		problem: tooOften, detail: "more requests per second come from this address than may without a valid signature of this courier",
		retryAfter: fullSeconds(l.unverified.wait(from, c.started).Seconds()),
	}
}

// crowd counts in a request that is verified, so that neither slow senders nor those
// that are nobody's keep others out. It is counted out when the call ends.
func (c *call) crowd() refusal {
	if c.sender != nil && !c.sender.limits.enter(c) {
		return refusal{problem: tooMany, detail: "this courier sends more requests at once than it may"}
	}
	return refusal{}
}

// wait returns the full seconds until another request may come, at least one.
func (l *limits) wait(now time.Time) int {
	return fullSeconds((1 - l.pace.TokensAt(now)) / float64(l.pace.Limit()))
}

func fullSeconds(s float64) int { return int(min(max(math.Ceil(s), 1), maxRetryAfter)) }

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
