package mongo

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
)

// problems are what an operator should do about the indexes of the database, and what the
// store does instead until then. It logs each of them once.
type problems struct {
	log *slog.Logger

	mu     sync.Mutex
	open   map[string]string // by collection and key of an index
	warned map[string]bool   // what has been warned of, which is as much as there are indexes
	swept  []sweep           // the collections that no TTL index expires
}

// sweeps returns the collections whose rows the store deletes itself.
func (p *problems) sweeps() []sweep {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.swept)
}

// reportSwept makes the store delete the rows of a collection, as the TTL index w can not
// be made.
func (p *problems) reportSwept(in *table, w index, cause error) {
	p.mu.Lock()
	p.swept = append(slices.DeleteFunc(p.swept, func(s sweep) bool { return s.in == in }), sweep{in, w})
	p.mu.Unlock()
	p.report(in, w, fmt.Errorf("rows are not expired by a TTL index but deleted by the appliance, which costs more: drop the index on %s that is in its place (dropIndex): %w",
		keyText(w.key), cause))
}

// report records what an operator should do about the index w, and warns of it once.
func (p *problems) report(in *table, w index, advice error) {
	p.mu.Lock()
	p.open[in.name()+" "+keyText(w.key)] = "collection " + in.name() + ": " + advice.Error()
	p.mu.Unlock()
	if p.firstWarning(in.name() + " " + keyText(w.key)) {
		p.log.Warn("an index of the database is not as it should be", "collection", in.name(), "error", advice)
	}
}

// resolve removes what was reported about the index w, which is as it should be.
func (p *problems) resolve(in *table, w index) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, in.name()+" "+keyText(w.key))
	if w.expires {
		p.swept = slices.DeleteFunc(p.swept, func(s sweep) bool { return s.in == in })
	}
}

// list returns what an operator should do about the database, in a fixed order. The
// store works all the same.
func (p *problems) list() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Values(p.open))
}

// firstWarning reports whether this is the first warning about something.
func (p *problems) firstWarning(about string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	warned := p.warned[about]
	p.warned[about] = true
	return !warned
}
