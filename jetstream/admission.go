package jetstream

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// reason is a cause for which intake is shut. Several may hold at once; the
// first of them is reported.
type reason uint8

const (
	closing      reason = iota // the process stops
	flushFailed                // the disk refused a flush
	recovering                 // the embedded broker is being restarted
	disconnected               // no connection to the broker
	diskReserve                // too little free space
	silent                     // connected, but the leader of the stream does not answer
	stalled                    // connected, but publishes are not answered
	reasons
)

// admission decides in one atomic load whether an event may be published, and says
// why when not. Safe for concurrent use.
type admission struct {
	refusal atomic.Pointer[refusal] // nil while open

	mu    sync.Mutex
	why   [reasons]string // "" for a reason that doesn't hold
	since [reasons]time.Time
}

type refusal struct {
	err *event.Error
	// trial is set when only a trial can show whether intake may open again:
	// one publish may then pass each trialEvery.
	trial     bool
	lastTrial atomic.Int64 // Unix nanoseconds
}

// trialEvery is how often one publish is let through to a stalled broker.
const trialEvery = 250 * time.Millisecond

// admit returns nil when a publish may be tried.
func (a *admission) admit() error {
	r := a.refusal.Load()
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

// shut shuts intake for r and reports whether it was not shut for r before.
func (a *admission) shut(r reason, why string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	first := a.why[r] == ""
	if first {
		a.since[r] = time.Now()
	}
	a.why[r] = why
	a.update()
	return first
}

// close shuts intake because the process stops.
func (a *admission) close() { a.shut(closing, "the appliance is stopping") }

// open ends the refusal for r and reports whether there was one. It costs one
// atomic load while intake is open.
func (a *admission) open(r reason) bool {
	if a.refusal.Load() == nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	was := a.why[r] != ""
	a.why[r] = ""
	a.update()
	return was
}

// holds reports whether intake is shut for r.
func (a *admission) holds(r reason) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.why[r] != ""
}

// heldFor returns for how long intake has been shut for r, 0 when it isn't.
func (a *admission) heldFor(r reason) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.why[r] == "" {
		return 0
	}
	return time.Since(a.since[r])
}

// problem returns why intake is shut, "" while it is open.
func (a *admission) problem() string {
	r := a.refusal.Load()
	if r == nil {
		return ""
	}
	return r.err.Err.Error()
}

// healthy reports whether publishes are admitted. It costs one atomic load.
func (a *admission) healthy() bool { return a.refusal.Load() == nil }

// update sets refusal from why; mu is held.
func (a *admission) update() {
	old := a.refusal.Load()
	for r, why := range a.why {
		if why == "" {
			continue
		}
		next := &refusal{err: event.Errorf(event.IntakeUnavailable, "publish", "%s", why), trial: reason(r) == stalled}
		next.lastTrial.Store(time.Now().UnixNano())
		if old == nil || old.err.Error() != next.err.Error() {
			a.refusal.Store(next)
		}
		return
	}
	a.refusal.Store(nil)
}
