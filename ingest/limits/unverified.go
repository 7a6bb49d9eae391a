package limits

import (
	"math"
	"net/netip"
	"sync"
	"time"
)

// maxUnverified bounds the addresses that are counted for one courier.
const maxUnverified = 1024

// unverifiedRates counts the requests for one courier that no valid signature shows to
// be its own, by address and each at the courier's rate, so that they never use up the
// rate of the courier itself.
//
// An address has one time: that until which its requests are paid for. Each moves it on
// by the time that a request has at this rate; one that would move it further ahead than
// a burst lasts is too many. An address whose time is past is as good as none.
type unverifiedRates struct {
	every time.Duration // of one request
	ahead time.Duration // at most

	mu   sync.Mutex
	paid map[netip.Prefix]int64 // Unix nanoseconds
}

func newUnverifiedRates(perSecond float64, burst int) *unverifiedRates {
	every := min(max(float64(time.Second)/perSecond, 1), float64(maxRetryAfter*time.Second))
	ahead := min(every*float64(burst), math.MaxInt64/4)
	return &unverifiedRates{every: time.Duration(every), ahead: time.Duration(ahead)}
}

// take counts one request; false when it is one too many.
func (u *unverifiedRates) take(address netip.Prefix, now time.Time) bool {
	nanos := now.UnixNano()
	u.mu.Lock()
	defer u.mu.Unlock()
	was, there := u.paid[address]
	paid := max(was, nanos) + int64(u.every)
	if paid-nanos > int64(u.ahead) {
		return false
	}
	if !there && len(u.paid) >= maxUnverified {
		deleteLeast(u.paid, func(paid int64) int64 { return paid }) // which has used least
	}
	if u.paid == nil {
		u.paid = make(map[netip.Prefix]int64)
	}
	u.paid[address] = paid
	return true
}

// wait returns how long an address has to wait for its next request, 0 for not at all.
func (u *unverifiedRates) wait(address netip.Prefix, now time.Time) time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	return max(0, time.Duration(u.paid[address]-now.UnixNano())+u.every-u.ahead)
}
