package ingest

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/fincart/courier-gateway/ingest/address"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/payload"
)

// Refused requests of which a record is kept are those that an operator may want to
// accept later. Many more may be nothing but noise, and nothing tells for certain which
// are which. So the places of one courier are shared:
//
//	by class   what has a valid signature, what comes from an address that is known (see
//	           addressBook), and all the rest each have a rate of their own
//	by key     within a class, by address and by kind of refusal: who has had records of
//	           late leaves some for those who have not
//
// A kind is the code and the reason of a refusal, whether the body can be read as an
// event, and a few bits of the body's hash: a thousand copies of a request are no more
// worth than one of them.

const (
	// reservedPlaces is which part of a burst is left for keys that have had no record
	// of late.
	reservedPlaces = 5
	// forgetting is which part of the rate of records is the rate at which those that a
	// key has had are forgotten.
	forgetting = 50
	// maxShareKeys bounds the keys that are counted in one class.
	maxShareKeys = 256
	// bodyKinds is how many kinds the hash of a body tells apart.
	bodyKinds = 16
	// readingsPerSecond bounds how often a body is read to see whether it is an event.
	readingsPerSecond = 100
)

// recordClass is what is known of a refused request's sender.
type recordClass uint8

const (
	verifiedSender recordClass = iota
	knownSender
	otherSender
	recordClasses
)

// shareKey is what refused requests have in common that share their places.
type shareKey struct {
	address  netip.Prefix
	code     event.Code
	reason   string
	readable bool
	body     uint8
}

// shares are the places for records of one courier.
type shares struct {
	classes  [recordClasses]classShares
	readings *rate.Limiter
}

// classShares are those of one class. A key may not have more than what it leaves to
// others beside the reserve, unless they leave all of it: one key alone has the whole
// rate, when a burst less one is left for others.
type classShares struct {
	places *rate.Limiter
	mu     sync.Mutex
	had    map[shareKey]level
}

// level is how many records a key has had of late.
type level struct {
	n  float64
	at int64 // Unix nanoseconds
}

var bodySeed = maphash.MakeSeed()

func newShares(c RecordsConfig) *shares {
	s := &shares{readings: rate.NewLimiter(readingsPerSecond, readingsPerSecond)}
	for i := range s.classes {
		s.classes[i].places = rate.NewLimiter(rate.Limit(c.PerSecond), c.Burst)
	}
	return s
}

// admit reports whether a request may have a record of its own, and its class.
func (s *shares) admit(c *call, from netip.Addr, known bool, no *refusal) (recordClass, bool) {
	key := shareKey{address: address.Group(from), code: no.code, reason: no.reason, body: uint8(maphash.Bytes(bodySeed, c.body) % bodyKinds)}
	class := otherSender
	switch {
	case c.verified:
		class = verifiedSender
	case known:
		class = knownSender
	}
	places := &s.classes[class]
	if places.take(key, c.started) {
		return class, true
	}
	if key.readable = s.readable(c); !key.readable {
		return class, false
	}
	return class, places.take(key, c.started)
}

// readable reports whether the body of a request that is not verified can be read as
// its courier writes events. Not every one is looked at.
func (s *shares) readable(c *call) bool {
	if c.verified || c.sender == nil || !c.whole || !s.readings.AllowN(c.started, 1) {
		return false
	}
	in := payload.Input{Body: c.body, Headers: c, Received: c.started.UTC()}
	var ev event.Event
	return len(c.sender.decoder.Decode(in, &ev, nil)) == 0
}

// take gives a key one place, if there is one that it may have.
func (s *classShares) take(key shareKey, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	had, there := s.had[key]
	if there {
		had.n = s.now(had, now)
	}
	burst := float64(s.places.Burst())
	if had.n > 0 && s.places.TokensAt(now) < min(had.n+1+burst/reservedPlaces, burst-1) || !s.places.AllowN(now, 1) {
		return false
	}
	if !there && len(s.had) >= maxShareKeys {
		s.giveUpOne(now)
	}
	if s.had == nil {
		s.had = make(map[shareKey]level)
	}
	s.had[key] = level{had.n + 1, now.UnixNano()}
	return true
}

// now returns what is left of a level.
func (s *classShares) now(l level, now time.Time) float64 {
	passed := time.Duration(now.UnixNano() - l.at).Seconds()
	return max(0, l.n-passed*float64(s.places.Limit())/forgetting)
}

// giveUpOne takes out the key of a few, which a map's order chooses, that has had least.
func (s *classShares) giveUpOne(now time.Time) {
	var first shareKey
	least, looked := 0.0, 0
	for key, l := range s.had {
		if n := s.now(l, now); looked == 0 || n < least {
			first, least = key, n
		}
		if looked++; looked == evictionSample {
			break
		}
	}
	delete(s.had, first)
}
