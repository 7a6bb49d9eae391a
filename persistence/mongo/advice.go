package mongo

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
)

// advice is what an operator should do about the indexes of the database, and what the
// store does instead until then.
type advice struct {
	log *slog.Logger

	mu     sync.Mutex
	open   map[string]string // by collection and key of an index
	warned map[string]bool   // what has been warned of, which is as much as there are indexes
	swept  []sweep           // the collections that no TTL index expires
}

// sweeps returns the collections whose rows the store deletes itself.
func (a *advice) sweeps() []sweep {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.swept)
}

// sweepInstead has the rows of a collection deleted by the store, for want of the TTL
// index w.
func (a *advice) sweepInstead(in *table, w index, cause error) {
	a.mu.Lock()
	a.swept = append(slices.DeleteFunc(a.swept, func(s sweep) bool { return s.in == in }), sweep{in, w.ttl})
	a.mu.Unlock()
	a.advise(in, w, fmt.Errorf("rows are not expired by a TTL index but deleted by the appliance, which costs more: drop the index on %s that is in its place (dropIndex): %w",
		keyText(w.key), cause))
}

// advise notes what an operator should do about the index w.
func (a *advice) advise(in *table, w index, advice error) {
	a.mu.Lock()
	a.open[in.name()+" "+keyText(w.key)] = "collection " + in.name() + ": " + advice.Error()
	a.mu.Unlock()
	if a.first(in.name() + " " + keyText(w.key)) {
		a.log.Warn("an index of the database is not as it should be", "collection", in.name(), "error", advice)
	}
}

// resolve forgets what was noted about the index w, which is as it should be.
func (a *advice) resolve(in *table, w index) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.open, in.name()+" "+keyText(w.key))
	if w.expires {
		a.swept = slices.DeleteFunc(a.swept, func(s sweep) bool { return s.in == in })
	}
}

// problems returns what an operator should do about the database, in a fixed order. The
// store works all the same.
func (a *advice) problems() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Sorted(maps.Values(a.open))
}

// first reports whether this is the first warning about something.
func (a *advice) first(about string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	warned := a.warned[about]
	a.warned[about] = true
	return !warned
}
