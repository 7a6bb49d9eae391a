// Package limits bounds what one courier may take of the intake, so that it leaves enough
// to the others, and what is not verified leaves enough to the courier. In come the
// address of a request, its time and what is known of its signature, out comes whether it
// is within the limits. The intake calls it, once for each stage of a request:
//
//	Admit    before the body and the signature are looked at: networks, what is left of the rates
//	Charge   when the signature was looked at: one request of a rate is used up
//	Enter    when the request is verified: requests in work at once
//
// It holds no request and does no I/O.
package limits

import (
	"math"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/fincart/courier-gateway/ingest/address"
	"github.com/fincart/courier-gateway/ingest/event"
)

// maxRetryAfter bounds the seconds that a courier is asked to wait.
const maxRetryAfter = 24 * 60 * 60

// Config is what one courier may take.
type Config struct {
	Networks      []netip.Prefix // from which it may post; none: any
	RatePerSecond float64        // of its requests, 0 for no limit
	RateBurst     int            // of them at once, after a silence; at least 1 with a rate
	MaxConcurrent int            // of them in work at once, 0 for no limit
}

// Limit is which limit a request met.
type Limit uint8

// The limits; Within is none.
const (
	Within     Limit = iota
	Network          // the courier does not post from this address
	Rate             // the courier's own requests per second
	Unverified       // of an address, requests per second that no signature shows to be the courier's
)

// Outcome is whether a request is within the limits.
type Outcome struct {
	Limit      Limit
	RetryAfter int // full seconds until another request may come, with a rate
}

// Limits are those of one courier. They are safe for concurrent use.
type Limits struct {
	networks   []netip.Prefix   // none: any
	rate       *rate.Limiter    // of verified requests; nil for none
	observed   *rate.Limiter    // of those that are accepted without being verified; nil for none
	unverified *unverifiedRates // of all that are not verified; nil for none
	known      *addressBook     // from which its requests were verified
	maxInWork  int64            // 0: no bound
	inWork     *atomic.Int64    // requests, while there is a bound
}

// New returns the limits of a courier. What those that it had before have counted goes on
// as far as they are the same; before is nil for a new courier. What is wrong with c is
// added to faults, under path; then the limits can't be used.
func New(c Config, before *Limits, faults *event.Faults, path string) *Limits {
	networks, err := address.Networks(c.Networks)
	per := c.RatePerSecond
	faults.Check(err == nil, path, "%v", err)
	faults.Check(per >= 0 && !math.IsInf(per, 0), path, "has a rate of %v requests per second", per)
	faults.Check(per <= 0 || c.RateBurst >= 1, path, "has a rate burst of %d, a rate needs at least 1", c.RateBurst)
	faults.Check(c.MaxConcurrent >= 0, path, "has %d requests at once", c.MaxConcurrent)
	l := &Limits{networks: networks, maxInWork: int64(c.MaxConcurrent), inWork: new(atomic.Int64), known: new(addressBook)}
	if per > 0 {
		l.rate = rate.NewLimiter(rate.Limit(per), c.RateBurst)
		l.observed = rate.NewLimiter(rate.Limit(per), c.RateBurst)
		l.unverified = newUnverifiedRates(per, c.RateBurst)
	}
	if before != nil {
		l.inWork, l.known = before.inWork, before.known
		if r := before.rate; r != nil && l.rate != nil && r.Limit() == l.rate.Limit() && r.Burst() == l.rate.Burst() {
			l.rate, l.observed, l.unverified = r, before.observed, before.unverified
		}
	}
	return l
}

// Admit applies the limits that need neither body nor signature. The courier's rate is
// only looked at: it is charged when the request is verified (see Charge), so that no other
// sender can use it up. When nothing is left of it, the signature makes no difference.
//
// Costly says that the body or the signature costs more than a short look. Such a request
// is not even read when its address has used up its unverified requests.
func (l *Limits) Admit(from netip.Addr, now time.Time, costly bool) Outcome {
	if len(l.networks) > 0 && !address.In(l.networks, from) {
		return Outcome{Limit: Network}
	}
	if l.rate == nil {
		return Outcome{}
	}
	if l.rate.TokensAt(now) < 1 {
		return l.tooOften(now)
	}
	if group := address.Group(from); costly && !l.known.has(group, now) && l.unverified.wait(group, now) > 0 {
		return l.tooManyUnverified(group, now)
	}
	return Outcome{}
}

// Charge counts a request whose signature was looked at: a verified one for its courier,
// any other for its address.
func (l *Limits) Charge(verified bool, from netip.Addr, now time.Time) Outcome {
	switch {
	case !verified:
		return l.ChargeUnverified(from, now)
	case l.rate != nil && !l.rate.AllowN(now, 1):
		return l.tooOften(now)
	default:
		return Outcome{}
	}
}

// ChargeUnverified counts a request for its address.
func (l *Limits) ChargeUnverified(from netip.Addr, now time.Time) Outcome {
	if l.unverified == nil {
		return Outcome{}
	}
	if group := address.Group(from); !l.unverified.take(group, now) {
		return l.tooManyUnverified(group, now)
	}
	return Outcome{}
}

// ChargeObserved counts a request that is accepted although it is not verified.
func (l *Limits) ChargeObserved(now time.Time) Outcome {
	if l.observed != nil && !l.observed.AllowN(now, 1) {
		return l.tooOften(now)
	}
	return Outcome{}
}

// Remember makes the address of a verified request known for a day.
func (l *Limits) Remember(from netip.Addr, now time.Time) { l.known.add(address.Group(from), now) }

// Knows reports whether requests of the courier were verified from this address of late. It
// says nothing about a single request: a sender that shares an address with a courier
// counts as it until the signature is checked.
func (l *Limits) Knows(from netip.Addr, now time.Time) bool {
	return l.known.has(address.Group(from), now)
}

// PerSecond returns the courier's rate; false when it has none.
func (l *Limits) PerSecond() (requests float64, limited bool) {
	if l.rate == nil {
		return 0, false
	}
	return float64(l.rate.Limit()), true
}

func (l *Limits) tooOften(now time.Time) Outcome {
	wait := (1 - l.rate.TokensAt(now)) / float64(l.rate.Limit())
	return Outcome{Limit: Rate, RetryAfter: fullSeconds(wait)}
}

func (l *Limits) tooManyUnverified(group netip.Prefix, now time.Time) Outcome {
	return Outcome{Limit: Unverified, RetryAfter: fullSeconds(l.unverified.wait(group, now).Seconds())}
}

// fullSeconds returns s rounded up, at least one.
func fullSeconds(s float64) int { return int(min(max(math.Ceil(s), 1), maxRetryAfter)) }

// Slot is one of the requests that a courier may have in work. The zero value is none.
type Slot struct{ inWork *atomic.Int64 }

// Enter counts a request in work, until its slot is given back; false when too many are. A
// courier without such a limit needs no slot.
func (l *Limits) Enter(s *Slot) bool {
	if l.maxInWork == 0 {
		return true
	}
	for {
		n := l.inWork.Load()
		if n >= l.maxInWork {
			return false
		}
		if l.inWork.CompareAndSwap(n, n+1) {
			s.inWork = l.inWork
			return true
		}
	}
}

// Leave gives the slot back, if it is one.
func (s *Slot) Leave() {
	if s.inWork != nil {
		s.inWork.Add(-1)
		s.inWork = nil
	}
}
