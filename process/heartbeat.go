package process

import (
	"sync/atomic"
	"time"
)

// phase is what a worker is doing.
type phase int32

const (
	phaseStarting phase = iota
	phasePulling
	phaseWorking
	phaseHolding
	phaseStopped
)

func (p phase) String() string {
	return [...]string{"starting", "pulling", "working", "holding", "stopped"}[p]
}

// Heartbeat is a worker's sign of life. The zero value is that of a worker that has
// not started; it is safe for concurrent use.
type Heartbeat struct {
	phase  atomic.Int32
	at     atomic.Int64 // Unix nanoseconds of the last sign
	events atomic.Int64
	batch  atomic.Int64
	held   atomic.Pointer[Hold]
}

// Hold is why a worker keeps events without handling them.
type Hold struct {
	Since time.Time
	Cause error // of the latest try
}

// HeartbeatState is a reading of a [Heartbeat].
type HeartbeatState struct {
	Phase   string    // starting, pulling, working, holding or stopped
	At      time.Time // of the last sign of life, zero before the first
	Events  int64     // deliveries handled since the start
	Batches int64
	Held    *Hold // nil while events are handled
}

// Read returns the current state.
func (p *Heartbeat) Read() HeartbeatState {
	h := HeartbeatState{Phase: phase(p.phase.Load()).String(), Events: p.events.Load(), Batches: p.batch.Load(), Held: p.held.Load()}
	if at := p.at.Load(); at != 0 {
		h.At = time.Unix(0, at)
	}
	return h
}

func (p *Heartbeat) signal(now phase) { p.phase.Store(int32(now)); p.touch() }

func (p *Heartbeat) touch() { p.at.Store(time.Now().UnixNano()) }

func (p *Heartbeat) handled(n int) { p.events.Add(int64(n)); p.batch.Add(1); p.release() }

// hold says that nothing can be handled because of cause.
func (p *Heartbeat) hold(cause error) {
	since := time.Now()
	if before := p.held.Load(); before != nil {
		since = before.Since
	}
	p.held.Store(&Hold{Since: since, Cause: cause})
	p.signal(phaseHolding)
}

// release says that events are handled again.
func (p *Heartbeat) release() { p.held.Store(nil) }
