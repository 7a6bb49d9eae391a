package record

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/fincart/courier-gateway/ingest/address"
	"github.com/fincart/courier-gateway/ingest/event"
)

const (
	// reservedPlaces is which part of a burst is left for keys that have had no record
	// of late.
	reservedPlaces = 5
	// forgetting is which part of the rate of records is the rate at which those that a
	// key has had are forgotten.
	forgetting = 50
	// maxShareKeys bounds the keys that are counted in one class.
	maxShareKeys = 256
	// bodyKinds is how many kinds the hash of a body distinguishes.
	bodyKinds = 16
	// readingsPerSecond bounds how often a body is read to see whether it is an event.
	readingsPerSecond = 100
	// evictionSample is how many keys of a full map are looked at to find one that is
	// taken out.
	evictionSample = 8
)

// Class is what is known of the sender of a refused request.
type Class uint8

// The classes.
const (
	Verified Class = iota // the request has a valid signature
	Known                 // its courier is known at its address
	Other
	classes
)

// Request is a refused request, as far as its share depends on it.
type Request struct {
	Address  netip.Addr
	Code     event.Code // with Reason, why it is refused
	Reason   string
	Readable bool   // the body can be read as an event
	Body     []byte // as far as it was read
	At       time.Time
}

// shareKey is what refused requests have in common that share their places.
type shareKey struct {
	address  netip.Prefix
	code     event.Code
	reason   string
	readable bool
	body     uint8
}

// Shares are the places for records of single requests of one courier, or of all that
// name none of ours. They are safe for concurrent use.
type Shares struct {
	classes  [classes]classShares
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

// NewShares returns shares of which all are there.
func NewShares(c Config) *Shares {
	s := &Shares{readings: rate.NewLimiter(readingsPerSecond, readingsPerSecond)}
	for i := range s.classes {
		s.classes[i].places = rate.NewLimiter(rate.Limit(c.PerSecond), c.Burst)
	}
	return s
}

// Take gives a request one place, if there is one that it may have.
func (s *Shares) Take(class Class, r *Request) bool {
	key := shareKey{
		address: address.Group(r.Address), code: r.Code, reason: r.Reason, readable: r.Readable,
		body: uint8(maphash.Bytes(bodySeed, r.Body) % bodyKinds),
	}
	return s.classes[class].take(key, r.At)
}

// MayRead reports whether the body of a request may be read now, to see whether it is an
// event. Not every one is.
func (s *Shares) MayRead(now time.Time) bool { return s.readings.AllowN(now, 1) }

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
		s.deleteLeast(now)
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

// deleteLeast takes out the key of a few, which a map's order chooses, that has had least.
func (s *classShares) deleteLeast(now time.Time) {
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
