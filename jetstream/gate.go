package jetstream

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// reason is a cause for which intake is shut. Several may hold at once; the
// first of them is told.
type reason uint8

const (
	closing      reason = iota // the process stops
	flushFailed                // the disk refused a flush
	recovering                 // the embedded broker is being restarted
	disconnected               // no connection to the broker
	diskReserve                // too little free space
	stalled                    // connected, but publishes are not answered
	reasons
)

// gate decides in one atomic load whether an event may be published, and says
// why when not. Safe for concurrent use.
type gate struct {
	refusal atomic.Pointer[refusal] // nil while open

	mu    sync.Mutex
	why   [reasons]string // "" for a reason that doesn't hold
	since [reasons]time.Time
}

type refusal struct {
	err *event.Error
	// trial is set when only a trial can tell whether the gate may open again:
	// one publish may then pass each trialEvery.
	trial     bool
	lastTrial atomic.Int64 // Unix nanoseconds
}

// trialEvery is how often one publish is let through to a stalled broker.
const trialEvery = 250 * time.Millisecond

// admit returns nil when a publish may be tried.
func (g *gate) admit() error {
	r := g.refusal.Load()
	if r == nil {
		return nil
	}
	if r.trial {
		now, last := time.Now().UnixNano(), r.lastTrial.Load()
		if now-last >= int64(trialEvery) && r.lastTrial.CompareAndSwap(last, now) {
			return nil
		}
	}
	return r.err
}

// shut closes the gate for r and reports whether r is news.
func (g *gate) shut(r reason, why string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	news := g.why[r] == ""
	if news {
		g.since[r] = time.Now()
	}
	g.why[r] = why
	g.update()
	return news
}

// open ends the refusal for r and reports whether that is news. It costs one
// atomic load while the gate is open.
func (g *gate) open(r reason) bool {
	if g.refusal.Load() == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	news := g.why[r] != ""
	g.why[r] = ""
	g.update()
	return news
}

// holds reports whether the gate is shut for r.
func (g *gate) holds(r reason) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.why[r] != ""
}

// heldFor returns for how long the gate has been shut for r, 0 when it isn't.
func (g *gate) heldFor(r reason) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.why[r] == "" {
		return 0
	}
	return time.Since(g.since[r])
}

// problem returns why the gate is shut, "" while it is open.
func (g *gate) problem() string {
	r := g.refusal.Load()
	if r == nil {
		return ""
	}
	return r.err.Err.Error()
}

// update sets refusal from why; mu is held.
func (g *gate) update() {
	old := g.refusal.Load()
	for r, why := range g.why {
		if why == "" {
			continue
		}
		next := &refusal{err: event.Errorf(event.IntakeUnavailable, "publish", "%s", why), trial: reason(r) == stalled}
		next.lastTrial.Store(time.Now().UnixNano())
		if old == nil || old.err.Error() != next.err.Error() {
			g.refusal.Store(next)
		}
		return
	}
	g.refusal.Store(nil)
}
