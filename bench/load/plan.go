package load

import "github.com/fincart/courier-gateway/bench"

// Mix says what is sent besides fresh events in their order.
type Mix struct {
	Duplicates bench.Share // repeat an event that was sent shortly before
	Invalid    bench.Share // have to be refused: a broken signature, a bad body, a stale timestamp
	OutOfOrder bench.Share // overtake an earlier event of their shipment, or are overtaken
}

// kind is what a request is, and so how it has to be answered.
type kind uint8

const (
	fresh kind = iota
	duplicate
	tampered // changed after it was signed
	badBody  // signed, and no event
	stale    // signed by a time long past
)

// kinds is how many kinds there are.
const kinds = int(stale) + 1

func (k kind) String() string {
	return [...]string{"fresh", "duplicate", "tampered", "bad body", "stale"}[k]
}

// valid reports whether the request has to be accepted.
func (k kind) valid() bool { return k <= duplicate }

// repeatWithin is how many requests lie at most between an event and its
// duplicate: few enough that some are in flight at once, and that all arrive
// within the broker's window.
const repeatWithin = 1000

// plan says of each request, by its number from 0, what it is. It is a function of the
// generator's seed: nothing has to be remembered to know later what was sent. Request n
// carries event n, unless it repeats another or two events of a shipment have changed
// places.
type plan struct {
	events *bench.Generator
	mix    Mix
	// flaws are the kinds of invalid requests, see [flawsOf]. All of them when there
	// are none.
	flaws []kind
}

// Salts make the draws for different questions independent.
const (
	saltKind = 0x6b696e64 + iota
	saltFlaw
	saltRepeat
	saltSwap
)

func (p *plan) draw(salt, n uint64) uint64 {
	return bench.Spread(p.events.Seed() ^ bench.Spread(salt) ^ bench.Spread(n))
}

// drawn returns what request n is meant to be. A duplicate that finds nothing to
// repeat becomes fresh.
func (p *plan) drawn(n uint64) kind {
	drawn := p.draw(saltKind, n)
	switch {
	case p.mix.Invalid.Includes(drawn):
		return p.flaw(n)
	case p.mix.Duplicates.Includes(bench.Spread(drawn)):
		return duplicate
	default:
		return fresh
	}
}

// allFlaws are the flaws that a courier with a timestamp can have.
var allFlaws = []kind{tampered, badBody, stale}

func (p *plan) flaw(n uint64) kind {
	flaws := p.flaws
	if len(flaws) == 0 {
		flaws = allFlaws
	}
	return flaws[p.draw(saltFlaw, n)%uint64(len(flaws))]
}

// request returns what request n is and which event it carries.
func (p *plan) request(n uint64) (k kind, event uint64) {
	switch k = p.drawn(n); k {
	case duplicate:
		if m, ok := p.repeats(n); ok {
			return duplicate, p.placed(m)
		}
		return fresh, n
	case fresh:
		return fresh, p.placed(n)
	default:
		return k, n
	}
}

// repeats returns the fresh request that duplicate n repeats.
func (p *plan) repeats(n uint64) (m uint64, ok bool) {
	reach := min(n, repeatWithin)
	if reach == 0 {
		return 0, false
	}
	for m = n - p.draw(saltRepeat, n)%reach; m > n-reach; m-- {
		if p.drawn(m-1) == fresh {
			return m - 1, true
		}
	}
	return 0, false
}

// placed returns the event at place n of the order: n, or that of the shipment's
// step beside it when the two have changed places.
func (p *plan) placed(n uint64) uint64 {
	if p.mix.OutOfOrder <= 0 {
		return n
	}
	other := p.events.Partner(n)
	if p.mix.OutOfOrder.Includes(p.draw(saltSwap, min(n, other))) && p.drawn(other) == fresh {
		return other
	}
	return n
}

// requests returns how many requests carry so many fresh events.
func (p *plan) requests(events uint64) uint64 {
	if p.mix.Duplicates <= 0 && p.mix.Invalid <= 0 {
		return events
	}
	n := uint64(0)
	for ; events > 0; n++ {
		if k, _ := p.request(n); k == fresh {
			events--
		}
	}
	return n
}
